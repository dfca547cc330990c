// SPDX-License-Identifier: Apache-2.0
//
// What a run could leave behind, listed before and after: descriptors, mounts, control groups and
// processes of this program and of the spawner.
#ifndef HONE_TESTS_VICES_LEFTOVERS_H_
#define HONE_TESTS_VICES_LEFTOVERS_H_

#include <string>
#include <vector>

namespace hone {

struct Footprint {
  std::vector<std::string> processes;       // our descendants: "pid name state"
  std::vector<std::string> mounts;          // ours and the spawner's
  std::vector<std::string> control_groups;  // folders below hone-PID-*
  std::vector<std::string> files;           // of the host's /tmp that are a jail uid's
  size_t our_descriptors = 0, spawner_descriptors = 0;
  bool operator==(const Footprint&) const = default;
  std::string ToString() const;
};

Footprint TakeFootprint();

// The kernel takes down a jail's mounts a moment after its run: this waits until none is on its way
// (ten seconds at most).
Footprint SettledFootprint();

// Folders below /sys/fs/cgroup whose path holds `part`.
std::vector<std::string> ControlGroupsNamed(const std::string& part);

// Descendants of this process whose name is hone-sandbox and whose parent is this process.
std::vector<int> SpawnerPids();

}  // namespace hone

#endif  // HONE_TESTS_VICES_LEFTOVERS_H_
