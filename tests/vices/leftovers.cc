// SPDX-License-Identifier: Apache-2.0
#include "tests/vices/leftovers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "verifier/sandbox/read_file.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

// By read: a stream throws where a process dies between open and read.
struct Process {
  int parent = 0;
  std::string name, state;
};

std::map<int, Process> Processes() {
  std::map<int, Process> all;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    const std::string stat = ReadFile(entry.path().string() + "/stat");
    const size_t open = stat.find('('), close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos) continue;
    const std::vector<std::string> fields = absl::StrSplit(stat.substr(close + 2), ' ');
    Process process;
    process.name = stat.substr(open + 1, close - open - 1);
    process.state = fields[0] == "Z" ? "zombie" : "";
    (void)absl::SimpleAtoi(fields[1], &process.parent);
    all[pid] = process;
  }
  return all;
}

// Without pidfds: a few of jails that the kernel is still taking down are held on purpose.
size_t CountDescriptors(const std::string& folder) {
  std::error_code error;
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    count += fs::read_symlink(entry.path(), error) != "anon_inode:[pidfd]";
  }
  return count;
}

}  // namespace

std::vector<std::string> ControlGroupsNamed(const std::string& part) {
  std::vector<std::string> found, open = {"/sys/fs/cgroup"};
  while (!open.empty()) {  // by hand: a folder that somebody else removes must not end the search
    const std::string folder = open.back();
    open.pop_back();
    std::error_code error;
    for (auto at = fs::directory_iterator(folder, error); !error && at != fs::directory_iterator();
         at.increment(error)) {
      if (!at->is_directory(error) || at->is_symlink(error)) continue;
      open.push_back(at->path().string());
      if (absl::StrContains(open.back(), part)) found.push_back(open.back());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<int> SpawnerPids() {
  std::vector<int> pids;
  for (const auto& [pid, process] : Processes()) {
    if (process.parent == getpid() && process.name == "hone-sandbox") pids.push_back(pid);
  }
  return pids;
}

Footprint SettledFootprint() {
  Footprint found = TakeFootprint();
  for (int i = 0; i < 1000 && found.processes.size() != SpawnerPids().size(); ++i) {
    usleep(10000);
    found = TakeFootprint();
  }
  return found;
}

Footprint TakeFootprint() {
  Footprint found;
  const std::map<int, Process> all = Processes();
  std::set<int> family = {getpid()};
  for (bool grown = true; grown;) {
    grown = false;
    for (const auto& [pid, process] : all) {
      if (family.count(process.parent) != 0 && family.insert(pid).second) grown = true;
    }
  }
  family.erase(getpid());
  for (const int pid : family) {
    found.processes.push_back(absl::StrCat(pid, " ", all.at(pid).name, " ", all.at(pid).state));
  }
  found.mounts.push_back(ReadFile("/proc/self/mountinfo"));
  for (const int pid : SpawnerPids()) {
    found.mounts.push_back(ReadFile(absl::StrCat("/proc/", pid, "/mountinfo")));
    found.spawner_descriptors += CountDescriptors(absl::StrCat("/proc/", pid, "/fd"));
  }
  found.our_descriptors = CountDescriptors("/proc/self/fd");
  found.control_groups = ControlGroupsNamed(absl::StrCat("hone-", getpid(), "-"));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/tmp", error)) {
    struct stat status;
    if (lstat(entry.path().c_str(), &status) == 0 && status.st_uid >= 61184 &&
        status.st_uid < 61184 + 1024) {
      found.files.push_back(entry.path().string());
    }
  }
  return found;
}

std::string Footprint::ToString() const {
  return absl::StrCat("processes:\n", absl::StrJoin(processes, "\n"), "\ncontrol groups:\n",
                      absl::StrJoin(control_groups, "\n"), "\nfiles:\n", absl::StrJoin(files, "\n"),
                      "\ndescriptors: ", our_descriptors, " and ", spawner_descriptors,
                      "\nmounts:\n", absl::StrJoin(mounts, "\n"));
}

}  // namespace hone
