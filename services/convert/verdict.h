// SPDX-License-Identifier: Apache-2.0
//
// Verdicts, questions and rewards <-> protos. Every FromProto checks what it reads:
// INVALID_ARGUMENT names the field.
#ifndef HONE_SERVICES_CONVERT_VERDICT_H_
#define HONE_SERVICES_CONVERT_VERDICT_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "rewards/reward.h"
#include "verifier/verdict.h"
#include "verifier/verifier.h"

namespace hone::v1 {
class Judgement;
class Question;
class Reward;
class VerifierInfo;
}  // namespace hone::v1

namespace hone::convert {

// One of verdict, skipped, outage, by the outcome. A verdict that is over the wire's limits
// becomes an outage that says so: nothing is cut in silence. An outage keeps neither parts nor an
// extracted answer. kUnspecified gives an empty judgement, which every reader refuses.
void ToProto(const Verdict& from, v1::Judgement* to);
absl::StatusOr<Verdict> FromProto(const v1::Judgement& from);

void ToProto(const Question& from, absl::Time now, v1::Question* to);
absl::StatusOr<Question> FromProto(const v1::Question& from, absl::Time now);

void ToProto(const VerifierInfo& from, v1::VerifierInfo* to);
absl::StatusOr<VerifierInfo> FromProto(const v1::VerifierInfo& from);

void ToProto(const Reward& from, v1::Reward* to);
absl::StatusOr<Reward> FromProto(const v1::Reward& from);

}  // namespace hone::convert

#endif  // HONE_SERVICES_CONVERT_VERDICT_H_
