// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "verifier/sandbox/descriptor.h"
#include "verifier/sandbox/spawner/filter.h"

namespace hone {
namespace {

// The kernel's interface, newer than Debian's header. Access rights by the version that brought
// them.
struct Ruleset {
  uint64_t files;
  uint64_t network;  // version 4
  uint64_t scoped;   // version 6
};
struct [[gnu::packed]] PathRule {
  uint64_t allowed;
  int32_t directory;
};
constexpr int kPathRule = 1;

constexpr uint64_t kExecute = 1 << 0, kWriteFile = 1 << 1, kReadFile = 1 << 2, kReadDir = 1 << 3;
constexpr uint64_t kRemove = 1 << 4 | 1 << 5;                    // directories, files
constexpr uint64_t kMake = 1 << 7 | 1 << 8 | 1 << 10 | 1 << 12;  // directory, file, fifo, link
constexpr uint64_t kMakeOther = 1 << 6 | 1 << 9 | 1 << 11;       // devices, sockets
constexpr uint64_t kRefer = 1 << 13, kTruncate = 1 << 14, kDeviceControl = 1 << 15;

bool Permit(int ruleset, const char* path, uint64_t allowed) {
  const Descriptor directory(open(path, O_PATH | O_CLOEXEC));
  const PathRule rule = {allowed, directory.get()};
  return directory.open() && syscall(SYS_landlock_add_rule, ruleset, kPathRule, &rule, 0) == 0;
}

}  // namespace

bool RestrictFiles(int landlock_version) {
  Ruleset wanted = {};
  wanted.files = kExecute | kWriteFile | kReadFile | kReadDir | kRemove | kMake | kMakeOther;
  if (landlock_version >= 2) wanted.files |= kRefer;
  if (landlock_version >= 3) wanted.files |= kTruncate;
  if (landlock_version >= 5) wanted.files |= kDeviceControl;
  if (landlock_version >= 4) wanted.network = 3;  // bind and connect
  if (landlock_version >= 6) wanted.scoped = 3;   // abstract sockets and signals
  const size_t size = landlock_version >= 6 ? 24 : landlock_version >= 4 ? 16 : 8;
  const Descriptor ruleset(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &wanted, size, 0)));
  const uint64_t all = wanted.files;
  return ruleset.open() && Permit(ruleset.get(), "/", kExecute | kReadFile | kReadDir) &&
         Permit(ruleset.get(), "/tmp", all & ~(kExecute | kMakeOther | kDeviceControl)) &&
         Permit(ruleset.get(), "/dev", (kReadFile | kWriteFile | kTruncate) & all) &&
         syscall(SYS_landlock_restrict_self, ruleset.get(), 0) == 0;
}

}  // namespace hone
