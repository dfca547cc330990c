// SPDX-License-Identifier: Apache-2.0
//
// policy/learner.h <-> hone/v1/policy_service.proto. Every FromProto checks what it reads:
// INVALID_ARGUMENT names the field. Which losses, parameters and arrays belong together the
// learner checks itself.
#ifndef HONE_SERVICES_CONVERT_LEARNING_H_
#define HONE_SERVICES_CONVERT_LEARNING_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "policy/learner.h"

namespace hone::v1 {
class ForwardBackwardRequest;
class ForwardBackwardResponse;
class ForwardBackwardResponse_Sequence;
class OptimStepRequest;
class OptimStepResponse;
class TrainSequence;
}  // namespace hone::v1

namespace hone::convert {

void ToProto(const TrainSequence& from, v1::TrainSequence* to);
absl::StatusOr<TrainSequence> FromProto(const v1::TrainSequence& from);

// Everything but the sequences, which are cut into messages.
void SettingsToProto(const ForwardBackwardRequest& from, v1::ForwardBackwardRequest* to);
absl::StatusOr<ForwardBackwardRequest> SettingsFromProto(const v1::ForwardBackwardRequest& from);

void MetricsToProto(const ForwardBackwardResult& from, v1::ForwardBackwardResponse* to);
absl::Status MetricsFromProto(const v1::ForwardBackwardResponse& from, ForwardBackwardResult* to);
void SequenceToProto(const ForwardBackwardResult& from, size_t i,
                     v1::ForwardBackwardResponse_Sequence* to);
// Checks lengths against the number of tokens sent. Numbers may be NaN: a run that diverges must
// be able to say so.
absl::Status AppendFromProto(const v1::ForwardBackwardResponse_Sequence& from, size_t tokens,
                             ForwardBackwardResult* to);

void ToProto(const OptimStepRequest& from, v1::OptimStepRequest* to);
absl::StatusOr<OptimStepRequest> FromProto(const v1::OptimStepRequest& from);
void ToProto(const OptimStepResult& from, v1::OptimStepResponse* to);
absl::StatusOr<OptimStepResult> FromProto(const v1::OptimStepResponse& from);

}  // namespace hone::convert

#endif  // HONE_SERVICES_CONVERT_LEARNING_H_
