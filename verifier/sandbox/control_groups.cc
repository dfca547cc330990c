// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/control_groups.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "verifier/sandbox/read_file.h"

namespace hone {
namespace {

constexpr absl::string_view kCure =
    "run as root with /sys/fs/cgroup writable (a container: --privileged); on version 2 the "
    "controllers memory and pids must be delegated: systemd's Delegate=yes, or move every process "
    "of the container into a child group and write \"+memory +pids\" to cgroup.subtree_control";

absl::Status Refused(absl::string_view what) {
  return absl::FailedPreconditionError(absl::StrCat(
      "sandbox: control groups: ", what, ": ", strerror(errno), " (errno ", errno, "); ", kCure));
}

bool WriteValue(const std::string& path, absl::string_view value) {
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.open() &&
         write(file.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

// The number after `key` at the start of a line; with no key, the number that is the whole text.
int64_t NumberAt(absl::string_view text, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    int64_t value = 0;
    if (absl::ConsumePrefix(&line, key) && absl::SimpleAtoi(line, &value)) return value;
  }
  return 0;
}

bool IsFolder(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string StartTime(int64_t pid) {
  const std::string stat = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  const size_t after_name = stat.rfind(')');
  if (after_name == std::string::npos) return {};
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(after_name + 1), ' ');
  return fields.size() > 20 ? fields[20] : "";  // field 22 of the line
}

// A group may still hold processes on their way out; it is retried for a second.
void RemoveGroup(const std::string& folder) {
  for (int i = 0; i < 200 && rmdir(folder.c_str()) != 0 && errno == EBUSY; ++i) usleep(5000);
}

std::vector<std::string> Children(const std::string& folder) {
  std::vector<std::string> names;
  DIR* entries = opendir(folder.c_str());
  if (entries == nullptr) return names;
  while (const dirent* entry = readdir(entries)) {
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(entries);
  return names;
}

void RemoveTree(const std::string& folder) {
  for (const std::string& name : Children(folder)) rmdir(absl::StrCat(folder, "/", name).c_str());
  rmdir(folder.c_str());
}

// Folders hone-PID-START-N whose process is gone. One that still holds something stays.
void SweepDead(const std::string& root) {
  for (const std::string& name : Children(root)) {
    const std::vector<std::string> parts = absl::StrSplit(name, '-');
    int64_t pid = 0;
    if (parts.size() != 4 || parts[0] != "hone" || !absl::SimpleAtoi(parts[1], &pid)) continue;
    if (StartTime(pid) != parts[2]) RemoveTree(absl::StrCat(root, "/", name));
  }
}

struct Hierarchy {
  std::string mount_point, mount_root;
};

// Keyed by controller; version 2 under "".
std::map<std::string, Hierarchy> ParseMounts(const std::string& mountinfo) {
  std::map<std::string, Hierarchy> found;
  for (absl::string_view line : absl::StrSplit(mountinfo, '\n')) {
    const std::vector<std::string> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2) continue;
    const std::vector<std::string> left = absl::StrSplit(halves[0], ' ');
    const std::vector<std::string> right = absl::StrSplit(halves[1], ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    const Hierarchy here = {left[4], left[3]};
    if (right[0] == "cgroup2") found[""] = here;
    if (right[0] != "cgroup") continue;
    for (absl::string_view controller : absl::StrSplit(right[2], ',')) {
      found[std::string(controller)] = here;
    }
  }
  return found;
}

// Keyed by controller; version 2 under "".
std::map<std::string, std::string> ParseMembership(const std::string& membership) {
  std::map<std::string, std::string> found;
  for (absl::string_view line : absl::StrSplit(membership, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    for (absl::string_view controller : absl::StrSplit(parts[1], ',')) {
      found[std::string(controller)] = parts[2];
    }
  }
  return found;
}

// Our own group below the mount, or the mount where a namespace hides it.
std::string OwnFolder(const Hierarchy& hierarchy, absl::string_view path) {
  if (hierarchy.mount_root != "/") absl::ConsumePrefix(&path, hierarchy.mount_root);
  const std::string folder = absl::StrCat(hierarchy.mount_point, path == "/" ? "" : path);
  return IsFolder(folder) ? folder : hierarchy.mount_point;
}

bool HasControllers(const std::string& file) {
  const std::vector<std::string> names =
      absl::StrSplit(absl::StripAsciiWhitespace(ReadFile(file)), ' ');
  const auto has = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return has("memory") && has("pids");
}

// On version 2 a group with processes cannot have children with controllers; then it is the
// parent that may.
absl::StatusOr<std::string> DelegatedFolder(const std::string& own) {
  for (const std::string& folder : {own, own.substr(0, own.rfind('/'))}) {
    if (HasControllers(absl::StrCat(folder, "/cgroup.subtree_control"))) return folder;
    if (WriteValue(absl::StrCat(folder, "/cgroup.subtree_control"), "+memory +pids")) {
      return folder;
    }
  }
  return Refused(absl::StrCat("enabling memory and pids below ", own));
}

absl::StatusOr<GroupUsage> ParseUsage(const std::vector<std::string>& folders, bool version2) {
  GroupUsage usage;
  if (version2) {
    usage.cpu_us = NumberAt(ReadFile(folders[0] + "/cpu.stat"), "usage_usec ");
    usage.memory_peak_bytes = NumberAt(ReadFile(folders[0] + "/memory.peak"), "");
    usage.oom_kills = NumberAt(ReadFile(folders[0] + "/memory.events"), "oom_kill ");
    usage.refused_forks = NumberAt(ReadFile(folders[0] + "/pids.events"), "max ");
    return usage;
  }
  const std::string cpu = ReadFile(folders[2] + "/cpuacct.usage");
  if (cpu.empty()) return absl::UnavailableError("sandbox: a control group vanished");
  usage.cpu_us = NumberAt(cpu, "") / 1000;
  usage.memory_peak_bytes = NumberAt(ReadFile(folders[0] + "/memory.max_usage_in_bytes"), "");
  usage.oom_kills = NumberAt(ReadFile(folders[0] + "/memory.oom_control"), "oom_kill ");
  usage.refused_forks = NumberAt(ReadFile(folders[1] + "/pids.events"), "max ");
  return usage;
}

bool SetLimits(const std::vector<std::string>& folders, bool version2,
               const SandboxLimits& limits) {
  const std::string memory = absl::StrCat(limits.memory_bytes);
  if (version2) {
    WriteValue(folders[0] + "/memory.swap.max", "0");  // not there without swap
    WriteValue(folders[0] + "/memory.oom.group", "1");
    return WriteValue(folders[0] + "/memory.max", memory) &&
           WriteValue(folders[0] + "/pids.max", absl::StrCat(limits.processes));
  }
  if (!WriteValue(folders[0] + "/memory.limit_in_bytes", memory)) return false;
  WriteValue(folders[0] + "/memory.memsw.limit_in_bytes", memory);  // not there without swap
  return WriteValue(folders[1] + "/pids.max", absl::StrCat(limits.processes));
}

}  // namespace

absl::StatusOr<GroupRoots> FindGroupRoots(const std::string& mountinfo,
                                          const std::string& membership) {
  const std::map<std::string, Hierarchy> mounts = ParseMounts(mountinfo);
  const std::map<std::string, std::string> own = ParseMembership(membership);
  GroupRoots roots;
  const auto add = [&](const std::string& controller) {
    const auto mount = mounts.find(controller);
    const auto path = own.find(controller);
    if (mount == mounts.end() || path == own.end()) return false;
    roots.folders.push_back(OwnFolder(mount->second, path->second));
    return true;
  };
  if (add("memory") && add("pids") && add("cpuacct")) return roots;
  roots.folders.clear();
  roots.version2 = true;
  if (add("")) return roots;
  return absl::NotFoundError("neither memory, pids and cpuacct (version 1) nor version 2 mounted");
}

RunGroup::~RunGroup() {
  for (const std::string& folder : folders_) RemoveGroup(folder);
}

std::vector<int> RunGroup::entrances() const {
  std::vector<int> numbers;
  for (const Descriptor& entrance : entrances_) numbers.push_back(entrance.get());
  return numbers;
}

int64_t RunGroup::CpuUs() const {
  char text[256];
  const ssize_t size = pread(cpu_.get(), text, sizeof text, 0);
  if (size <= 0) return 0;
  const absl::string_view read(text, static_cast<size_t>(size));
  return version2_ ? NumberAt(read, "usage_usec ") : NumberAt(read, "") / 1000;
}

absl::StatusOr<GroupUsage> RunGroup::Usage() const {
  return ParseUsage(folders_, version2_);
}

absl::StatusOr<std::unique_ptr<ControlGroups>> ControlGroups::Make() {
  absl::StatusOr<GroupRoots> roots =
      FindGroupRoots(ReadFile("/proc/self/mountinfo"), ReadFile("/proc/self/cgroup"));
  if (!roots.ok()) {
    errno = ENOENT;
    return Refused(roots.status().message());
  }
  if (roots->version2) {
    absl::StatusOr<std::string> folder = DelegatedFolder(roots->folders[0]);
    if (!folder.ok()) return folder.status();
    roots->folders[0] = *folder;
  }
  static std::atomic<int> instances{0};
  const std::string name =
      absl::StrCat("hone-", getpid(), "-", StartTime(getpid()), "-", instances.fetch_add(1));
  auto groups = std::unique_ptr<ControlGroups>(new ControlGroups());
  groups->version2_ = roots->version2;
  for (const std::string& root : roots->folders) {
    SweepDead(root);
    const std::string folder = absl::StrCat(root, "/", name);
    if (mkdir(folder.c_str(), 0755) != 0) return Refused(absl::StrCat("making ", folder));
    groups->folders_.push_back(folder);
  }
  if (groups->version2_) {
    if (!WriteValue(groups->folders_[0] + "/cgroup.subtree_control", "+memory +pids")) {
      return Refused(absl::StrCat("enabling memory and pids in ", groups->folders_[0]));
    }
  } else {
    WriteValue(groups->folders_[0] + "/memory.use_hierarchy", "1");  // always so since Linux 5.11
  }
  return groups;
}

ControlGroups::~ControlGroups() {
  for (const std::string& folder : folders_) RemoveTree(folder);
}

absl::StatusOr<std::unique_ptr<RunGroup>> ControlGroups::MakeRun(const SandboxLimits& limits) {
  const std::string name = absl::StrCat("/run-", next_.fetch_add(1));
  // One thread joins by itself: "tasks" then needs no machine-wide lock (12 ms here), which
  // cgroup.procs takes and version 2 has nothing else for.
  const char* const entrance = version2_ ? "/cgroup.procs" : "/tasks";
  auto group = std::unique_ptr<RunGroup>(new RunGroup());
  group->version2_ = version2_;
  for (const std::string& parent : folders_) {
    const std::string folder = parent + name;
    if (mkdir(folder.c_str(), 0755) != 0) {
      return absl::UnavailableError(
          absl::StrCat("sandbox: making ", folder, ": ", strerror(errno)));
    }
    group->folders_.push_back(folder);
    group->entrances_.emplace_back(open((folder + entrance).c_str(), O_WRONLY | O_CLOEXEC));
    if (!group->entrances_.back().open()) {
      return absl::UnavailableError(
          absl::StrCat("sandbox: opening ", folder, entrance, ": ", strerror(errno)));
    }
  }
  group->cpu_ = Descriptor(
      open((group->folders_.back() + (version2_ ? "/cpu.stat" : "/cpuacct.usage")).c_str(),
           O_RDONLY | O_CLOEXEC));
  if (!group->cpu_.open() || !SetLimits(group->folders_, version2_, limits)) {
    return absl::UnavailableError(
        absl::StrCat("sandbox: setting limits in ", group->folders_[0], ": ", strerror(errno)));
  }
  return group;
}

}  // namespace hone
