// SPDX-License-Identifier: Apache-2.0
//
// policy/generator.h <-> hone/v1/policy_service.proto. Every FromProto checks what it reads:
// INVALID_ARGUMENT names the field. What only the policy can know (vocabulary, context, options
// offered) it checks itself.
#ifndef HONE_SERVICES_CONVERT_POLICY_H_
#define HONE_SERVICES_CONVERT_POLICY_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "policy/generator.h"

namespace hone::v1 {
class GenerateRequest_Item;
class GenerateResponse;
class InfoResponse;
class ScoreRequest;
class ScoreResponse_Sequence;
class TokenSequence;
}  // namespace hone::v1

namespace hone::convert {

void ToProto(const GenerateRequest& from, absl::Time now, v1::GenerateRequest_Item* to);
absl::StatusOr<GenerateRequest> FromProto(const v1::GenerateRequest_Item& from, absl::Time now);

void ToProto(const GenerateChunk& from, v1::GenerateResponse* to);
absl::StatusOr<GenerateChunk> FromProto(const v1::GenerateResponse& from);

// Everything but the sequences, which are cut into messages.
void SettingsToProto(const ScoreRequest& from, v1::ScoreRequest* to);
absl::StatusOr<ScoreRequest> SettingsFromProto(const v1::ScoreRequest& from);
// Sequence i, with its route override where there is one.
void SequenceToProto(const ScoreRequest& from, size_t i, v1::TokenSequence* to);
// Appends to `to`, which has its settings. override_routes: the sequence must have routes.
absl::Status AppendFromProto(const v1::TokenSequence& from, bool override_routes, ScoreRequest* to);

void SequenceToProto(const ScoreResult& from, size_t i, v1::ScoreResponse_Sequence* to);
// Checks against the number of tokens asked; NaN only at index 0.
absl::Status AppendFromProto(const v1::ScoreResponse_Sequence& from, size_t tokens,
                             bool with_routes, ScoreResult* to);

void ToProto(const PolicyInfo& from, v1::InfoResponse* to);
absl::StatusOr<PolicyInfo> FromProto(const v1::InfoResponse& from);

}  // namespace hone::convert

#endif  // HONE_SERVICES_CONVERT_POLICY_H_
