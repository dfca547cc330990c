// SPDX-License-Identifier: Apache-2.0
//
// Tasks, trajectories, groups and jobs <-> protos. Every FromProto checks what it reads:
// INVALID_ARGUMENT names the field. Whether a group answers its job is CheckGroup's question
// (rollout/scheduler.h), not this one's.
#ifndef HONE_SERVICES_CONVERT_TRAJECTORY_H_
#define HONE_SERVICES_CONVERT_TRAJECTORY_H_

#include "absl/status/statusor.h"
#include "rollout/rollout_worker.h"
#include "rollout/trajectory.h"

namespace hone::v1 {
class Group;
class GroupJob;
class Task;
class Trajectory;
}  // namespace hone::v1

namespace hone::convert {

void ToProto(const Task& from, v1::Task* to);
absl::StatusOr<Task> FromProto(const v1::Task& from);

void ToProto(const Trajectory& from, v1::Trajectory* to);
absl::StatusOr<Trajectory> FromProto(const v1::Trajectory& from);

// A group without its trajectories, which may need messages of their own.
void HeadToProto(const Group& from, v1::Group* to);
void ToProto(const Group& from, v1::Group* to);
absl::StatusOr<Group> FromProto(const v1::Group& from);

void ToProto(const GroupJob& from, v1::GroupJob* to);
absl::StatusOr<GroupJob> FromProto(const v1::GroupJob& from);

}  // namespace hone::convert

#endif  // HONE_SERVICES_CONVERT_TRAJECTORY_H_
