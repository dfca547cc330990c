// SPDX-License-Identifier: Apache-2.0
//
// policy/types.h <-> hone/v1/trajectory.proto: keys, sampling, routes, enums. Every FromProto
// checks what it reads: INVALID_ARGUMENT names the field.
#ifndef HONE_SERVICES_CONVERT_VALUES_H_
#define HONE_SERVICES_CONVERT_VALUES_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "policy/types.h"

namespace hone::v1 {
class SampleKey;
class SamplingParams;
class Routes;
}  // namespace hone::v1

namespace hone::convert {

void ToProto(const SampleKey& from, v1::SampleKey* to);
absl::StatusOr<SampleKey> FromProto(const v1::SampleKey& from);

void ToProto(const SamplingParams& from, v1::SamplingParams* to);
absl::StatusOr<SamplingParams> FromProto(const v1::SamplingParams& from);

void ToProto(const Routes& from, v1::Routes* to);
absl::StatusOr<Routes> FromProto(const v1::Routes& from);

// The wire's number of a stop reason is ours. kNone only where `may_be_running`.
absl::StatusOr<StopReason> StopReasonFromProto(int from, bool may_be_running);

// Clocks of two machines are never compared: deadlines travel as the time left.
int64_t MicrosLeft(absl::Time deadline, absl::Time now);
absl::Time DeadlineOf(int64_t time_left_us, absl::Time now);

}  // namespace hone::convert

#endif  // HONE_SERVICES_CONVERT_VALUES_H_
