// SPDX-License-Identifier: Apache-2.0
#include "rollout/trajectory.h"

#include <array>
#include <bit>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "policy/hash.h"

namespace hone {
namespace {

constexpr size_t kIdBytes = 16;

// What a group's and a trajectory's id have in common.
void UpdateKey(Sha256& hash, absl::string_view kind, const std::string& run_id,
               const SampleKey& key) {
  hash.UpdateField(kind);
  hash.UpdateField(run_id);
  hash.UpdateU64(static_cast<uint64_t>(key.purpose));
  hash.UpdateU64(key.group_ordinal);
  hash.UpdateU64(key.attempt);
}

std::string FinishId(Sha256& hash) {
  const std::array<uint8_t, 32> digest = hash.Finish();
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), kIdBytes));
}

}  // namespace

std::string Task::Hash() const {
  Sha256 hash;
  hash.UpdateField("task/1");
  hash.UpdateField(id);
  hash.UpdateField(source);
  hash.UpdateField(split);
  hash.UpdateU64(static_cast<uint64_t>(index));
  hash.UpdateField(prompt);
  hash.UpdateField(answer);
  hash.UpdateField(tests_json);
  hash.UpdateField(verifier);
  hash.UpdateU64(std::bit_cast<uint64_t>(difficulty));
  hash.UpdateU64(metadata.size());
  for (const auto& [name, value] : metadata) {
    hash.UpdateField(name);
    hash.UpdateField(value);
  }
  return hash.FinishHex();
}

std::string GroupId(const std::string& run_id, const SampleKey& key) {
  Sha256 hash;
  UpdateKey(hash, "group/1", run_id, key);
  return FinishId(hash);
}

std::string TrajectoryId(const std::string& run_id, const SampleKey& key) {
  Sha256 hash;
  UpdateKey(hash, "trajectory/1", run_id, key);
  hash.UpdateU64(key.sample);
  return FinishId(hash);
}

const char* SegmentKindName(SegmentKind kind) {
  switch (kind) {
    case SegmentKind::kPrompt:
      return "prompt";
    case SegmentKind::kModel:
      return "model";
    case SegmentKind::kTool:
      return "tool";
    case SegmentKind::kEnvironment:
      return "environment";
  }
  return "unknown";
}

const char* DropReasonName(DropReason reason) {
  switch (reason) {
    case DropReason::kNone:
      return "none";
    case DropReason::kFlat:
      return "flat";
    case DropReason::kOutage:
      return "outage";
    case DropReason::kStale:
      return "stale";
    case DropReason::kPassRate:
      return "pass_rate";
    case DropReason::kTruncated:
      return "truncated";
  }
  return "unknown";
}

int32_t Trajectory::completion_tokens() const {
  int32_t count = 0;
  for (const Segment& segment : segments) {
    if (segment.loss_mask) count += segment.token_count;
  }
  return count;
}

const std::string& Trajectory::completion() const {
  static const std::string none;
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    if (segment->kind == SegmentKind::kModel) return segment->text;
  }
  return none;
}

}  // namespace hone
