// SPDX-License-Identifier: Apache-2.0
//
// The control groups of the jails, version 1 (memory, pids, cpuacct apart) or 2 (one tree). Groups
// of this process lie in a folder hone-PID-START-N below its own group; START, the process's start
// time, tells a dead owner from a reused pid.
#ifndef HONE_VERIFIER_SANDBOX_CONTROL_GROUPS_H_
#define HONE_VERIFIER_SANDBOX_CONTROL_GROUPS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "verifier/sandbox/descriptor.h"
#include "verifier/sandbox/sandbox.h"

namespace hone {

struct GroupUsage {
  int64_t cpu_us = 0;
  int64_t memory_peak_bytes = 0;
  int64_t oom_kills = 0;
  int64_t refused_forks = 0;
};

// Of one run; the folders go with the object. The processes in it must have ended.
class RunGroup {
 public:
  ~RunGroup();
  // tasks or cgroup.procs of each hierarchy: who writes "0" to them all is in.
  std::vector<int> entrances() const;
  int64_t CpuUs() const;
  absl::StatusOr<GroupUsage> Usage() const;

 private:
  friend class ControlGroups;
  bool version2_ = false;
  std::vector<std::string> folders_;  // memory, pids, cpuacct; or the one
  std::vector<Descriptor> entrances_;
  Descriptor cpu_;
};

// Where the hierarchies are mounted and which group this process is in.
struct GroupRoots {
  bool version2 = false;
  std::vector<std::string> folders;  // memory, pids, cpuacct; or the one
};
// `mountinfo` and `membership`: texts of /proc/self/mountinfo and /proc/self/cgroup. NOT_FOUND:
// neither version is there with what is needed.
absl::StatusOr<GroupRoots> FindGroupRoots(const std::string& mountinfo,
                                          const std::string& membership);

// Thread-safe.
class ControlGroups {
 public:
  // Removes what dead processes left, then makes this process's folders. FAILED_PRECONDITION.
  static absl::StatusOr<std::unique_ptr<ControlGroups>> Make();
  ~ControlGroups();

  absl::StatusOr<std::unique_ptr<RunGroup>> MakeRun(const SandboxLimits& limits);
  const std::vector<std::string>& folders() const { return folders_; }

 private:
  bool version2_ = false;
  std::vector<std::string> folders_;
  std::atomic<int64_t> next_{0};
};

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_CONTROL_GROUPS_H_
