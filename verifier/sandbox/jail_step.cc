// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/jail_step.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace hone {
namespace {

constexpr absl::string_view kPrivilege =
    "run as root; in a container with --privileged, or with CAP_SYS_ADMIN and seccomp and AppArmor "
    "profiles that permit clone, unshare, mount and pivot_root";
constexpr absl::string_view kReport = "try again; if it stays, the machine lacks memory or files";

constexpr absl::string_view kFilterCure =
    "use a kernel with CONFIG_SECCOMP_FILTER, libseccomp 2.5, and a container that permits seccomp";

struct StepWords {
  absl::string_view what, cure;
};

StepWords Words(JailStep step) {
  switch (step) {
    case JailStep::kNone:
      return {"nothing", ""};
    case JailStep::kSocket:
      return {"talking to hone-sandbox", kReport};
    case JailStep::kMountNamespace:
      return {"making a mount namespace", kPrivilege};
    case JailStep::kTree:
      return {"building the read-only tree", kPrivilege};
    case JailStep::kDevices:
      return {"making devices", kPrivilege};
    case JailStep::kPivot:
      return {"entering the tree (pivot_root)", kPrivilege};
    case JailStep::kFilterBuild:
      return {"building the system call filter", kFilterCure};
    case JailStep::kPython:
      return {"starting Python", "install Debian's python3 (scripts/install.sh)"};
    case JailStep::kLandlockProbe:
      return {"looking for Landlock", "use Linux 5.13 or later with \"landlock\" in lsm="};
    case JailStep::kNamespaces:
      return {"making namespaces", kPrivilege};
    case JailStep::kUidMap:
      return {"writing the uid map", "it needs CAP_SETUID and uids 61184 to 62207 mapped here"};
    case JailStep::kProc:
      return {"mounting /proc", "Linux 5.8, and a /proc with nothing mounted over it"};
    case JailStep::kTmp:
      return {"mounting /tmp", kReport};
    case JailStep::kBox:
      return {"filling /box", kReport};
    case JailStep::kProgramFile:
      return {"reading the program", kReport};
    case JailStep::kFork:
      return {"forking", kReport};
    case JailStep::kDescriptors:
      return {"placing descriptors", kReport};
    case JailStep::kControlGroups:
      return {"joining control groups", kReport};
    case JailStep::kResourceLimits:
      return {"setting resource limits", kReport};
    case JailStep::kUser:
      return {"becoming nobody", kPrivilege};
    case JailStep::kLandlock:
      return {"restricting files (Landlock)", kReport};
    case JailStep::kFilter:
      return {"installing the system call filter", kFilterCure};
  }
  return {"an unknown step", "rebuild hone and hone-sandbox together"};
}

}  // namespace

std::string JailStepSentence(JailStep step, int error, const std::string& detail) {
  StepWords words = Words(step);
  if (step == JailStep::kNamespaces && error == ENOSPC) {
    words.cure = "raise the sysctls user.max_*_namespaces";
  }
  return absl::StrCat("sandbox: ", words.what, detail.empty() ? "" : " (", detail,
                      detail.empty() ? "" : ")", ": ", strerror(error), " (errno ", error, "); ",
                      words.cure);
}

}  // namespace hone
