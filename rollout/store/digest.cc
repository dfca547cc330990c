// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/digest.h"

#include <bit>
#include <cstring>
#include <utility>

#include "policy/hash.h"

namespace hone {
namespace {

template <typename T>
void WriteArray(const std::vector<T>& values, CanonicalWriter* out) {
  out->Text(
      absl::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
}

void WriteKey(const SampleKey& key, CanonicalWriter* out) {
  out->Int(static_cast<int64_t>(key.run_seed));
  out->Int(static_cast<int64_t>(key.purpose));
  out->Int(static_cast<int64_t>(key.group_ordinal));
  out->Int(key.attempt);
  out->Int(key.sample);
  out->Int(key.turn);
}

void WriteMap(const std::map<std::string, std::string>& map, CanonicalWriter* out) {
  out->Int(static_cast<int64_t>(map.size()));
  for (const auto& [name, value] : map) {
    out->Text(name);
    out->Text(value);
  }
}

void WriteOptional(const std::optional<double>& value, CanonicalWriter* out) {
  value ? out->Real(*value) : out->Null();
}

void WriteOptional(const std::optional<int32_t>& value, CanonicalWriter* out) {
  value ? out->Int(*value) : out->Null();
}

void WriteTask(const Task& task, CanonicalWriter* out) {
  for (const std::string* text : {&task.id, &task.source, &task.split, &task.prompt, &task.answer,
                                  &task.tests_json, &task.verifier}) {
    out->Text(*text);
  }
  out->Int(task.index);
  out->Real(task.difficulty);
  WriteMap(task.metadata, out);
}

void WriteVerdict(const Verdict& verdict, CanonicalWriter* out) {
  out->Int(static_cast<int64_t>(verdict.outcome));
  out->Int(static_cast<int64_t>(verdict.parts.size()));
  for (const VerdictPart& part : verdict.parts) {
    out->Text(part.name);
    WriteOptional(part.raw, out);
    WriteOptional(part.segment, out);
  }
  out->Text(verdict.extracted);
  out->Int(verdict.extracted_truncated);
  out->Text(verdict.detail);
  WriteMap(verdict.evidence, out);
  out->Text(verdict.verifier);
}

void WriteReward(const Reward& reward, CanonicalWriter* out) {
  out->Int(static_cast<int64_t>(reward.parts.size()));
  for (const RewardPart& part : reward.parts) {
    out->Text(part.name);
    WriteOptional(part.raw, out);
    out->Real(part.weight);
    out->Int(part.gated);
    WriteOptional(part.segment, out);
  }
  out->Real(reward.total);
}

void WriteTrajectory(const Trajectory& trajectory, CanonicalWriter* out) {
  out->Text(trajectory.id);
  WriteKey(trajectory.key, out);
  out->Int(static_cast<int64_t>(trajectory.segments.size()));
  for (const Segment& segment : trajectory.segments) {
    out->Text(segment.role);
    out->Int(static_cast<int64_t>(segment.kind));
    out->Int(segment.first_token);
    out->Int(segment.token_count);
    out->Int(segment.turn);
    out->Int(segment.loss_mask);
    out->Int(segment.version);
    out->Text(segment.call_id);
    out->Text(segment.text);
  }
  WriteArray(trajectory.tokens, out);
  WriteArray(trajectory.behaviour_logprobs, out);
  WriteArray(trajectory.entropy, out);
  out->Int(static_cast<int64_t>(trajectory.stop_reason));
  out->Real(trajectory.sampling.temperature);
  out->Real(trajectory.sampling.top_p);
  out->Int(trajectory.sampling.top_k);
  out->Int(trajectory.sampling.max_tokens);
  out->Text(trajectory.tokenizer_hash);
  out->Text(trajectory.template_name);
  WriteVerdict(trajectory.verdict, out);
  WriteReward(trajectory.reward, out);
  out->Real(trajectory.advantage);
  out->Int(trajectory.routes.moe_layers);
  out->Int(trajectory.routes.slots);
  WriteArray(trajectory.routes.experts, out);
}

}  // namespace

void CanonicalWriter::Varint(uint64_t value) {
  while (value >= 0x80) {
    bytes_.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  bytes_.push_back(static_cast<char>(value));
}

void CanonicalWriter::Int(int64_t value) {
  bytes_.push_back('i');
  const uint64_t bits = static_cast<uint64_t>(value);
  Varint(bits << 1 ^ (value < 0 ? ~uint64_t{0} : 0));  // zigzag: small ones are short
}

void CanonicalWriter::Real(double value) {
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  bytes_.push_back('r');
  bytes_.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
}

void CanonicalWriter::Text(absl::string_view bytes) {
  bytes_.push_back('t');
  Varint(bytes.size());
  bytes_.append(bytes.data(), bytes.size());
}

void CanonicalWriter::Null() {
  bytes_.push_back('n');
}

std::string CanonicalWriter::TakeBytes() {
  return std::exchange(bytes_, std::string());
}

std::string CanonicalWriter::Sha256Digest() {
  Sha256 hash;
  hash.Update(bytes_);
  bytes_.clear();
  const std::array<uint8_t, 32> digest = hash.Finish();
  return std::string(digest.begin(), digest.end());
}

// Two lanes of multiply and fold, 16 bytes a step. docs/store.md states it: stores keep it.
std::string CanonicalWriter::Fingerprint() {
  const Fingerprint128 made = FingerprintOf(bytes_.data(), bytes_.size());
  bytes_.clear();
  std::string digest(16, '\0');
  std::memcpy(digest.data(), &made.low, 8);
  std::memcpy(digest.data() + 8, &made.high, 8);
  return digest;
}

void WriteGroupContent(const Group& group, CanonicalWriter* out_pointer) {
  CanonicalWriter& out = *out_pointer;
  out.Text(group.id);
  WriteTask(group.task, &out);
  WriteKey(group.key, &out);
  out.Int(group.iteration);
  out.Int(group.version);
  out.Int(group.asked);
  out.Int(group.outages);
  out.Int(group.skipped);
  out.Real(group.baseline);
  out.Real(group.reward_std);
  out.Int(group.flat);
  out.Int(static_cast<int64_t>(group.drop));
  out.Int(static_cast<int64_t>(group.trajectories.size()));
  for (const Trajectory& trajectory : group.trajectories) WriteTrajectory(trajectory, &out);
}

std::string GroupFingerprint(const Group& group) {
  CanonicalWriter out;
  WriteGroupContent(group, &out);
  return out.Fingerprint();
}

}  // namespace hone
