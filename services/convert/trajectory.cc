// SPDX-License-Identifier: Apache-2.0
#include "services/convert/trajectory.h"

#include <limits>
#include <string>
#include <utility>

#include "hone/v1/trainer_service.pb.h"
#include "hone/v1/trajectory.pb.h"
#include "services/convert/check.h"
#include "services/convert/limits.h"
#include "services/convert/values.h"
#include "services/convert/verdict.h"

namespace hone::convert {
namespace {

static_assert(static_cast<int>(SegmentKind::kPrompt) + 1 == v1::SEGMENT_KIND_PROMPT);
static_assert(static_cast<int>(SegmentKind::kEnvironment) + 1 == v1::SEGMENT_KIND_ENVIRONMENT);
static_assert(static_cast<int>(DropReason::kNone) + 1 == v1::DROP_REASON_NONE);
static_assert(static_cast<int>(DropReason::kTruncated) + 1 == v1::DROP_REASON_TRUNCATED);

constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();

void SegmentToProto(const Segment& from, v1::Segment* to) {
  to->set_role(from.role);
  to->set_kind(static_cast<v1::SegmentKind>(static_cast<int>(from.kind) + 1));
  to->set_first_token(from.first_token);
  to->set_token_count(from.token_count);
  to->set_turn(from.turn);
  to->set_loss_mask(from.loss_mask);
  to->set_version(from.version);
  to->set_call_id(from.call_id);
  to->set_text(from.text);
}

absl::StatusOr<Segment> SegmentFromProto(const v1::Segment& from, int64_t tokens) {
  Checker check;
  check.Range("kind", from.kind(), v1::SEGMENT_KIND_PROMPT, v1::SEGMENT_KIND_ENVIRONMENT);
  check.Range("first_token", from.first_token(), 0, tokens);
  check.Range("token_count", from.token_count(), 0, tokens - from.first_token());
  check.Range("turn", from.turn(), 0, kMaxCount);
  check.Require(from.version() >= -1, "version", "is below -1");
  check.Name("role", from.role());
  check.Name("call_id", from.call_id());
  if (!check.ok()) return check.status();
  Segment to;
  to.role = from.role();
  to.kind = static_cast<SegmentKind>(from.kind() - 1);
  to.first_token = from.first_token();
  to.token_count = from.token_count();
  to.turn = from.turn();
  to.loss_mask = from.loss_mask();
  to.version = from.version();
  to.call_id = from.call_id();
  to.text = from.text();
  return to;
}

}  // namespace

void ToProto(const Task& from, v1::Task* to) {
  to->Clear();
  to->set_id(from.id);
  to->set_source(from.source);
  to->set_split(from.split);
  to->set_index(from.index);
  to->set_prompt(from.prompt);
  to->set_answer(from.answer);
  to->set_tests_json(from.tests_json);
  to->set_verifier(from.verifier);
  to->set_difficulty(from.difficulty);
  to->mutable_metadata()->insert(from.metadata.begin(), from.metadata.end());
}

absl::StatusOr<Task> FromProto(const v1::Task& from) {
  Checker check;
  check.Name("id", from.id());
  check.Name("source", from.source());
  check.Name("split", from.split());
  check.Name("verifier", from.verifier());
  check.Finite("difficulty", from.difficulty());
  check.Range("metadata entries", from.metadata_size(), 0, kMaxMapEntries);
  if (!check.ok()) return check.status();
  Task to;
  to.id = from.id();
  to.source = from.source();
  to.split = from.split();
  to.index = from.index();
  to.prompt = from.prompt();
  to.answer = from.answer();
  to.tests_json = from.tests_json();
  to.verifier = from.verifier();
  to.difficulty = from.difficulty();
  to.metadata = {from.metadata().begin(), from.metadata().end()};
  return to;
}

void ToProto(const Trajectory& from, v1::Trajectory* to) {
  to->Clear();
  to->set_id(from.id);
  to->set_group_id(from.group_id);
  ToProto(from.key, to->mutable_key());
  for (const Segment& segment : from.segments) SegmentToProto(segment, to->add_segments());
  to->mutable_tokens()->Assign(from.tokens.begin(), from.tokens.end());
  to->mutable_behaviour_logprobs()->Assign(from.behaviour_logprobs.begin(),
                                           from.behaviour_logprobs.end());
  to->mutable_entropy()->Assign(from.entropy.begin(), from.entropy.end());
  to->set_stop_reason(static_cast<v1::StopReason>(from.stop_reason));
  ToProto(from.sampling, to->mutable_sampling());
  to->set_backend(from.backend);
  to->set_tokenizer_hash(from.tokenizer_hash);
  to->set_template_name(from.template_name);
  ToProto(from.verdict, to->mutable_judgement());
  to->set_verify_attempts(from.verify_attempts);
  ToProto(from.reward, to->mutable_reward());
  to->set_advantage(from.advantage);
  if (from.routes.moe_layers > 0) ToProto(from.routes, to->mutable_routes());
}

namespace {

absl::Status CheckArrays(const v1::Trajectory& from) {
  Checker check;
  const int64_t tokens = from.tokens_size();
  check.Hex32("id", from.id());
  check.Hex32("group_id", from.group_id());
  check.Tokens("tokens", from.tokens());
  check.Length("behaviour_logprobs", from.behaviour_logprobs_size(), tokens);
  check.Length("entropy", from.entropy_size(), tokens);
  check.AllFinite("behaviour_logprobs", from.behaviour_logprobs());
  check.AllFinite("entropy", from.entropy());
  check.Range("number of segments", from.segments_size(), 1, kMaxSegments);
  check.Name("backend", from.backend());
  check.Name("tokenizer_hash", from.tokenizer_hash());
  check.Name("template_name", from.template_name());
  check.Range("verify_attempts", from.verify_attempts(), 0, kMaxCount);
  check.Finite("advantage", from.advantage());
  return check.status();
}

}  // namespace

absl::StatusOr<Trajectory> FromProto(const v1::Trajectory& from) {
  const absl::Status arrays = CheckArrays(from);
  if (!arrays.ok()) return arrays;
  Checker check;
  Trajectory to;
  const int64_t tokens = from.tokens_size();
  for (int i = 0; i < from.segments_size(); ++i) {
    to.segments.emplace_back();
    check.Take(At("segments", i), SegmentFromProto(from.segments(i), tokens), &to.segments.back());
  }
  check.Take("key", FromProto(from.key()), &to.key);
  check.Take("sampling", FromProto(from.sampling()), &to.sampling);
  check.Take("", StopReasonFromProto(from.stop_reason(), false), &to.stop_reason);
  check.Take("judgement", FromProto(from.judgement()), &to.verdict);
  check.Take("reward", FromProto(from.reward()), &to.reward);
  if (from.has_routes()) check.Take("routes", FromProto(from.routes()), &to.routes);
  if (check.ok() && !IsVerdict(to.verdict.outcome)) {
    check.Require(to.reward.parts.empty() && to.reward.total == 0, "reward",
                  "is set although there is no verdict");
  }
  if (check.ok() && to.routes.moe_layers > 0) {
    const int64_t row = int64_t{to.routes.moe_layers} * to.routes.slots;
    check.Range("rows of routes", static_cast<int64_t>(to.routes.experts.size()) / row, 0, tokens);
  }
  if (!check.ok()) return check.status();
  to.id = from.id();
  to.group_id = from.group_id();
  to.tokens = {from.tokens().begin(), from.tokens().end()};
  to.behaviour_logprobs = {from.behaviour_logprobs().begin(), from.behaviour_logprobs().end()};
  to.entropy = {from.entropy().begin(), from.entropy().end()};
  to.backend = from.backend();
  to.tokenizer_hash = from.tokenizer_hash();
  to.template_name = from.template_name();
  to.verify_attempts = from.verify_attempts();
  to.advantage = from.advantage();
  return to;
}

void HeadToProto(const Group& from, v1::Group* to) {
  to->Clear();
  to->set_id(from.id);
  ToProto(from.task, to->mutable_task());
  ToProto(from.key, to->mutable_key());
  to->set_iteration(from.iteration);
  to->set_version(from.version);
  to->set_asked(from.asked);
  to->set_outages(from.outages);
  to->set_skipped(from.skipped);
  to->set_baseline(from.baseline);
  to->set_reward_std(from.reward_std);
  to->set_flat(from.flat);
  to->set_drop(static_cast<v1::DropReason>(static_cast<int>(from.drop) + 1));
  to->set_generate_us(from.generate_us);
  to->set_verify_us(from.verify_us);
  for (const Verdict& lost : from.lost) ToProto(lost, to->add_lost());
}

void ToProto(const Group& from, v1::Group* to) {
  HeadToProto(from, to);
  for (const Trajectory& trajectory : from.trajectories) {
    ToProto(trajectory, to->add_trajectories());
  }
}

absl::StatusOr<Group> FromProto(const v1::Group& from) {
  Checker check;
  Group to;
  check.Hex32("id", from.id());
  check.Range("asked", from.asked(), 0, kMaxItemsPerCall);
  check.Range("number of trajectories", from.trajectories_size(), 0, kMaxItemsPerCall);
  check.Range("outages", from.outages(), 0, from.asked());
  check.Range("skipped", from.skipped(), 0, from.asked());
  check.Range("number of lost", from.lost_size(), 0, kMaxItemsPerCall);
  check.Require(from.iteration() >= 0, "iteration", "is negative");
  check.Require(from.version() >= 0, "version", "is negative");
  check.Require(from.generate_us() >= 0, "generate_us", "is negative");
  check.Require(from.verify_us() >= 0, "verify_us", "is negative");
  check.Finite("baseline", from.baseline());
  check.Finite("reward_std", from.reward_std());
  check.Range("drop", from.drop(), v1::DROP_REASON_NONE, v1::DROP_REASON_TRUNCATED);
  check.Take("task", FromProto(from.task()), &to.task);
  check.Take("key", FromProto(from.key()), &to.key);
  for (int i = 0; check.ok() && i < from.trajectories_size(); ++i) {
    to.trajectories.emplace_back();
    check.Take(At("trajectories", i), FromProto(from.trajectories(i)), &to.trajectories.back());
  }
  for (int i = 0; check.ok() && i < from.lost_size(); ++i) {
    to.lost.emplace_back();
    check.Take(At("lost", i), FromProto(from.lost(i)), &to.lost.back());
  }
  if (!check.ok()) return check.status();
  to.id = from.id();
  to.iteration = from.iteration();
  to.version = from.version();
  to.asked = from.asked();
  to.outages = from.outages();
  to.skipped = from.skipped();
  to.baseline = from.baseline();
  to.reward_std = from.reward_std();
  to.flat = from.flat();
  to.drop = static_cast<DropReason>(from.drop() - 1);
  to.generate_us = from.generate_us();
  to.verify_us = from.verify_us();
  return to;
}

void ToProto(const GroupJob& from, v1::GroupJob* to) {
  ToProto(from.task, to->mutable_task());
  ToProto(from.key, to->mutable_key());
  to->set_iteration(from.iteration);
  to->set_version(from.version);
}

absl::StatusOr<GroupJob> FromProto(const v1::GroupJob& from) {
  Checker check;
  GroupJob to;
  check.Take("task", FromProto(from.task()), &to.task);
  check.Take("key", FromProto(from.key()), &to.key);
  check.Require(from.iteration() >= 0, "iteration", "is negative");
  check.Require(from.version() >= 0, "version", "is negative");
  if (!check.ok()) return check.status();
  to.iteration = from.iteration();
  to.version = from.version();
  return to;
}

}  // namespace hone::convert
