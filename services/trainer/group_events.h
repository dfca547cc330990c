// SPDX-License-Identifier: Apache-2.0
//
// What TensorBoard shows of an iteration's groups beside figures.
#ifndef HONE_SERVICES_TRAINER_GROUP_EVENTS_H_
#define HONE_SERVICES_TRAINER_GROUP_EVENTS_H_

#include <vector>

#include "rollout/trajectory.h"
#include "services/trainer/event_file.h"

namespace hone {

// distribution/reward, /advantage, /completion_length (tokens), /entropy and /logprob (of sampled
// tokens), over the judged completions of all groups.
void AddDistributions(const std::vector<Group>& groups, EventRecord* record);

// sample/best, sample/worst: completions of the highest and the lowest reward, the first of them;
// sample/first: whatever the first group's first one is. Prompt and completion are shown as they
// are, made safe to look at, as a code block; at most kMaxSampleBytes of each, and it says so.
inline constexpr size_t kMaxSampleBytes = 8192;
void AddSamples(const std::vector<Group>& groups, EventRecord* record);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_GROUP_EVENTS_H_
