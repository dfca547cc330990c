// SPDX-License-Identifier: Apache-2.0
#include "services/convert/values.h"

#include <algorithm>

#include "hone/v1/trajectory.pb.h"
#include "services/convert/check.h"
#include "services/convert/limits.h"

namespace hone::convert {

static_assert(static_cast<int>(Purpose::kTrain) + 1 == v1::PURPOSE_TRAIN);
static_assert(static_cast<int>(Purpose::kInit) + 1 == v1::PURPOSE_INIT);
static_assert(static_cast<int>(StopReason::kStopToken) == v1::STOP_REASON_STOP_TOKEN);
static_assert(static_cast<int>(StopReason::kCancelled) == v1::STOP_REASON_CANCELLED);

void ToProto(const SampleKey& from, v1::SampleKey* to) {
  to->set_run_seed(from.run_seed);
  to->set_purpose(static_cast<v1::Purpose>(static_cast<int>(from.purpose) + 1));
  to->set_group_ordinal(from.group_ordinal);
  to->set_attempt(from.attempt);
  to->set_sample(from.sample);
  to->set_turn(from.turn);
}

absl::StatusOr<SampleKey> FromProto(const v1::SampleKey& from) {
  Checker check;
  check.Range("purpose", from.purpose(), v1::PURPOSE_TRAIN, v1::PURPOSE_INIT);
  if (!check.ok()) return check.status();
  SampleKey to;
  to.run_seed = from.run_seed();
  to.purpose = static_cast<Purpose>(from.purpose() - 1);
  to.group_ordinal = from.group_ordinal();
  to.attempt = from.attempt();
  to.sample = from.sample();
  to.turn = from.turn();
  return to;
}

void ToProto(const SamplingParams& from, v1::SamplingParams* to) {
  to->set_temperature(from.temperature);
  to->set_top_p(from.top_p);
  to->set_top_k(from.top_k);
  to->set_max_tokens(from.max_tokens);
}

absl::StatusOr<SamplingParams> FromProto(const v1::SamplingParams& from) {
  Checker check;
  check.Finite("temperature", from.temperature());
  check.Require(from.temperature() >= 0, "temperature", "is negative");
  check.Require(from.top_p() > 0 && from.top_p() <= 1, "top_p", "is not in (0, 1]");
  check.Require(from.top_k() >= 0, "top_k", "is negative");
  check.Require(from.max_tokens() > 0, "max_tokens", "is not positive");
  if (!check.ok()) return check.status();
  SamplingParams to;
  to.temperature = from.temperature();
  to.top_p = from.top_p();
  to.top_k = from.top_k();
  to.max_tokens = from.max_tokens();
  return to;
}

void ToProto(const Routes& from, v1::Routes* to) {
  to->set_moe_layers(from.moe_layers);
  to->set_slots(from.slots);
  to->mutable_experts()->Assign(from.experts.begin(), from.experts.end());
}

absl::StatusOr<Routes> FromProto(const v1::Routes& from) {
  Checker check;
  check.Range("moe_layers", from.moe_layers(), 0, 1024);
  check.Range("slots", from.slots(), 0, 1024);
  if (!check.ok()) return check.status();
  const int64_t row = int64_t{from.moe_layers()} * from.slots();
  check.Require(row == 0 ? from.experts_size() == 0 : from.experts_size() % row == 0, "experts",
                "are not a multiple of moe_layers * slots");
  check.Range("experts of a sequence", row == 0 ? 0 : from.experts_size() / row, 0,
              kMaxSequenceTokens);
  for (uint32_t expert : from.experts()) check.Range("experts", expert, 0, 65535);
  if (!check.ok()) return check.status();
  Routes to;
  to.moe_layers = from.moe_layers();
  to.slots = from.slots();
  to.experts.assign(from.experts().begin(), from.experts().end());
  return to;
}

absl::StatusOr<StopReason> StopReasonFromProto(int from, bool may_be_running) {
  Checker check;
  check.Range("stop_reason", from, may_be_running ? 0 : 1, v1::STOP_REASON_CANCELLED);
  if (!check.ok()) return check.status();
  return static_cast<StopReason>(from);
}

namespace {
constexpr int64_t kMaxMicros = int64_t{1000000} * 3600 * 24 * 365;
}  // namespace

int64_t MicrosLeft(absl::Time deadline, absl::Time now) {
  const int64_t left = absl::ToInt64Microseconds(deadline - now);
  return std::clamp(left, -kMaxMicros, kMaxMicros);
}

absl::Time DeadlineOf(int64_t time_left_us, absl::Time now) {
  return now + absl::Microseconds(std::clamp(time_left_us, -kMaxMicros, kMaxMicros));
}

}  // namespace hone::convert
