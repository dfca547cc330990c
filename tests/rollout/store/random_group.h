// SPDX-License-Identifier: Apache-2.0
//
// Groups for store tests: random ones that use every field, and comparing them bit by bit.
#ifndef HONE_TESTS_ROLLOUT_STORE_RANDOM_GROUP_H_
#define HONE_TESTS_ROLLOUT_STORE_RANDOM_GROUP_H_

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "rollout/store/store.h"

namespace hone {

constexpr char kRunId[] = "00112233445566778899aabbccddeeff";

// A folder that goes away with its owner; in memory where it can be, for fsync's sake.
class Folder {
 public:
  Folder() {
    std::string name = (access("/dev/shm", W_OK) == 0 ? std::filesystem::path("/dev/shm")
                                                      : std::filesystem::temp_directory_path()) /
                       "hone_store_XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string File(const std::string& name = "store.sqlite") const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::unique_ptr<Store> OpenStore(const std::string& path, Store::Mode mode) {
  absl::StatusOr<std::unique_ptr<Store>> store = Store::Open(path, mode);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

inline RunRecord TestRun() {
  RunRecord run;
  run.id = kRunId;
  run.name = "test";
  run.config = "seed: 7";
  run.config_hash = "c0ffee";
  run.code_version = "0.1";
  return run;
}

class RandomGroups {
 public:
  explicit RandomGroups(uint64_t seed) : random_(seed) {}

  // Sizes of real runs: `samples` completions of about `tokens` tokens.
  Group Make(uint64_t ordinal, int samples, int tokens);
  // Any bytes, extreme figures, holes: everything PutGroup takes.
  Group MakeWild(uint64_t ordinal);

  int64_t Int(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }
  double Real() { return std::normal_distribution<double>()(random_); }
  std::string Words(int count);
  std::string Bytes();

 private:
  std::map<std::string, std::string> Map();
  void FillVerdict(Trajectory* trajectory, bool wild);
  void FillTokens(Trajectory* trajectory, int prompt, int tokens);

  std::mt19937_64 random_;
};

inline std::string RandomGroups::Words(int count) {
  static constexpr const char* kWords[] = {"wait",  "so",      "12",  "7",   "+",  "let",
                                           "me",    "recheck", "the", "sum", "is", "3",
                                           "minus", "answer",  "x",   "="};
  std::string text;
  for (int i = 0; i < count; ++i) text += std::string(i ? " " : "") + kWords[Int(0, 15)];
  return text;
}

inline std::string RandomGroups::Bytes() {
  static const std::string kHostile[] = {std::string("a\0b", 3),
                                         "\xff\xfe",
                                         "\xed\xa0\x80",
                                         "\xc0\x80",
                                         "",
                                         "'; DROP TABLE run; --",
                                         "{\"a\": 1}",
                                         "\x1b[2J",
                                         "\xf0\x9f\x98\x80 \xe6\xb0\xb4",
                                         "tab\tnew\nline\"quote\\",
                                         "1e309",
                                         std::string(3000, 'y'),
                                         std::string(1, '\0'),
                                         "\xe2\x80\xae"};
  return kHostile[Int(0, std::size(kHostile) - 1)] + (Int(0, 1) ? Words(2) : "");
}

inline std::map<std::string, std::string> RandomGroups::Map() {
  std::map<std::string, std::string> map;
  for (int64_t i = Int(0, 3); i > 0; --i) map[Int(0, 1) ? Words(1) : Bytes()] = Bytes();
  return map;
}

inline void RandomGroups::FillTokens(Trajectory* t, int prompt, int tokens) {
  const int total = prompt + tokens;
  for (int i = 0; i < total; ++i) {
    t->tokens.push_back(static_cast<TokenId>(Int(0, 9999)));
    const bool sampled = i >= prompt;
    t->behaviour_logprobs.push_back(sampled ? static_cast<float>(-std::abs(Real())) : 0.0f);
    t->entropy.push_back(sampled ? static_cast<float>(std::abs(Real())) : 0.0f);
  }
  Segment first;
  first.role = "user";
  first.token_count = prompt;
  Segment second;
  second.role = "assistant";
  second.kind = SegmentKind::kModel;
  second.first_token = prompt;
  second.token_count = tokens;
  second.loss_mask = true;
  second.version = 3;
  second.text = Words(tokens);
  t->segments = {first, second};
}

inline void RandomGroups::FillVerdict(Trajectory* t, bool wild) {
  t->verdict.outcome = static_cast<Outcome>(Int(1, 5));
  t->verdict.extracted = wild ? Bytes() : std::to_string(Int(0, 99));
  t->verdict.detail = wild ? Bytes() : "compared 12 with 13";
  t->verdict.verifier = wild ? Bytes() : "math/1/0123456789abcdef";
  t->verdict.parts = {{"accuracy", t->verdict.outcome == Outcome::kCorrect ? 1.0 : 0.0, {}}};
  t->verdict.evidence = {{"gold", "13"}};
  t->reward.parts = {{"accuracy", t->verdict.parts[0].raw, 1.0, false, {}},
                     {"format", 1.0, 0.1, false, {}}};
  t->reward.total = t->reward.parts[0].value() + 0.1;
  t->advantage = Real();
  if (!wild) return;
  t->verdict.extracted_truncated = Int(0, 1);
  t->verdict.evidence = Map();
  t->verdict.parts.push_back({Bytes(), std::nullopt, static_cast<int32_t>(Int(0, 3))});
  t->reward.parts.push_back({Bytes(), std::nullopt, -0.0, true, 1});
  t->reward.parts.push_back({"inf", INFINITY, 5e-324, false, {}});
  t->reward.total = Int(0, 1) ? -0.0 : 1e300;
  t->advantage = Int(0, 1) ? -0.0 : -INFINITY;
}

inline Group RandomGroups::Make(uint64_t ordinal, int samples, int tokens) {
  Group group;
  group.key = {7, Purpose::kTrain, ordinal, 0, 0, 0};
  group.id = GroupId(kRunId, group.key);
  group.iteration = 1 + static_cast<int64_t>(ordinal) / 4;
  group.version = group.iteration - 1;
  group.asked = samples;
  group.task.id = "task-" + std::to_string(ordinal);
  group.task.source = "mini_countdown";
  group.task.split = "train";
  group.task.index = static_cast<int64_t>(ordinal);
  group.task.prompt = "Make " + std::to_string(Int(1, 99)) + " from 3 7 12";
  group.task.metadata = {{"nums", "[3,7,12]"}};
  const std::string prompt = "Question: " + group.task.prompt + "\nAnswer:";
  for (int i = 0; i < samples; ++i) {
    Trajectory& t = group.trajectories.emplace_back();
    t.key = group.key;
    t.key.sample = static_cast<uint32_t>(i);
    t.id = TrajectoryId(kRunId, t.key);
    t.group_id = group.id;
    FillTokens(&t, 12, tokens);
    t.segments[0].text = prompt;
    t.stop_reason = StopReason::kStopToken;
    t.sampling.max_tokens = 64;
    t.backend = "cpu/avx512/abc";
    t.tokenizer_hash = std::string(64, 'a');
    t.template_name = "plain";
    FillVerdict(&t, false);
  }
  group.baseline = 0.25;
  group.reward_std = 0.4;
  return group;
}

inline Group RandomGroups::MakeWild(uint64_t ordinal) {
  Group group = Make(ordinal, static_cast<int>(Int(0, 4)), static_cast<int>(Int(0, 300)));
  group.key.run_seed = ~uint64_t{0} - ordinal;
  group.key.purpose = static_cast<Purpose>(Int(0, 5));
  group.key.attempt = ~0u;
  group.outages = static_cast<int32_t>(Int(0, 2));
  group.skipped = 1;
  group.baseline = -0.0;
  group.flat = Int(0, 1);
  group.drop = static_cast<DropReason>(Int(0, 5));
  group.task.prompt = Bytes();
  group.task.answer = Bytes();
  group.task.tests_json = Bytes();
  group.task.difficulty = -1.5;
  group.task.metadata = Map();
  for (Trajectory& t : group.trajectories) {
    FillVerdict(&t, true);
    for (Segment& segment : t.segments) segment.text = Bytes();
    Segment tool;
    tool.role = Bytes();
    tool.kind = Int(0, 1) ? SegmentKind::kTool : SegmentKind::kEnvironment;
    tool.first_token = static_cast<int32_t>(t.tokens.size());
    tool.turn = 1;
    tool.call_id = Bytes();
    tool.text = t.segments[0].text;
    t.segments.push_back(tool);
    t.stop_reason = static_cast<StopReason>(Int(1, 4));
    t.sampling = {0.7f, 0.95f, static_cast<int32_t>(Int(0, 5)), 1 << 20};
    t.backend = Bytes();
    t.verify_attempts = 3;
    if (Int(0, 2) == 0) t.entropy.clear();
    if (Int(0, 2) == 0 && !t.tokens.empty()) {
      t.tokens[0] = -1;                 // wide ids
      t.behaviour_logprobs[0] = -0.0f;  // a value that was not sampled
    }
    if (Int(0, 1)) {
      t.routes.moe_layers = 2;
      t.routes.slots = 3;
      for (size_t i = 0; i < t.tokens.size() * 6; ++i) {
        t.routes.experts.push_back(static_cast<uint16_t>(Int(0, 255)));
      }
    }
  }
  return group;
}

// The bits, so that -0.0 and 0.0 differ.
inline std::vector<uint64_t> RealBits(const std::vector<double>& values) {
  std::vector<uint64_t> bits;
  for (const double value : values) bits.push_back(std::bit_cast<uint64_t>(value));
  return bits;
}
inline std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
  return bits;
}

inline void ExpectSameVerdict(const Trajectory& a, const Trajectory& b) {
  EXPECT_EQ(a.verdict.outcome, b.verdict.outcome);
  ASSERT_EQ(a.verdict.parts.size(), b.verdict.parts.size());
  for (size_t i = 0; i < a.verdict.parts.size(); ++i) {
    EXPECT_EQ(a.verdict.parts[i].name, b.verdict.parts[i].name);
    EXPECT_EQ(a.verdict.parts[i].raw, b.verdict.parts[i].raw);
    EXPECT_EQ(a.verdict.parts[i].segment, b.verdict.parts[i].segment);
  }
  EXPECT_EQ(a.verdict.extracted, b.verdict.extracted);
  EXPECT_EQ(a.verdict.extracted_truncated, b.verdict.extracted_truncated);
  EXPECT_EQ(a.verdict.detail, b.verdict.detail);
  EXPECT_EQ(a.verdict.evidence, b.verdict.evidence);
  EXPECT_EQ(a.verdict.verifier, b.verdict.verifier);
  EXPECT_EQ(a.verify_attempts, b.verify_attempts);
  ASSERT_EQ(a.reward.parts.size(), b.reward.parts.size());
  for (size_t i = 0; i < a.reward.parts.size(); ++i) {
    EXPECT_EQ(a.reward.parts[i].name, b.reward.parts[i].name);
    EXPECT_EQ(a.reward.parts[i].raw, b.reward.parts[i].raw);
    EXPECT_EQ(RealBits({a.reward.parts[i].weight}), RealBits({b.reward.parts[i].weight}));
    EXPECT_EQ(a.reward.parts[i].gated, b.reward.parts[i].gated);
    EXPECT_EQ(a.reward.parts[i].segment, b.reward.parts[i].segment);
  }
  EXPECT_EQ(RealBits({a.reward.total, a.advantage}), RealBits({b.reward.total, b.advantage}));
}

inline void ExpectSameTrajectory(const Trajectory& a, const Trajectory& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.group_id, b.group_id);
  EXPECT_EQ(a.key, b.key);
  ASSERT_EQ(a.segments.size(), b.segments.size());
  for (size_t i = 0; i < a.segments.size(); ++i) {
    const Segment &x = a.segments[i], &y = b.segments[i];
    EXPECT_EQ(x.role, y.role);
    EXPECT_EQ(x.kind, y.kind);
    EXPECT_EQ(x.first_token, y.first_token);
    EXPECT_EQ(x.token_count, y.token_count);
    EXPECT_EQ(x.turn, y.turn);
    EXPECT_EQ(x.loss_mask, y.loss_mask);
    EXPECT_EQ(x.version, y.version);
    EXPECT_EQ(x.call_id, y.call_id);
    EXPECT_EQ(x.text, y.text);
  }
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(Bits(a.behaviour_logprobs), Bits(b.behaviour_logprobs));
  EXPECT_EQ(Bits(a.entropy), Bits(b.entropy));
  EXPECT_EQ(a.stop_reason, b.stop_reason);
  EXPECT_EQ(a.sampling, b.sampling);
  EXPECT_EQ(a.backend, b.backend);
  EXPECT_EQ(a.tokenizer_hash, b.tokenizer_hash);
  EXPECT_EQ(a.template_name, b.template_name);
  EXPECT_EQ(a.routes.moe_layers, b.routes.moe_layers);
  EXPECT_EQ(a.routes.slots, b.routes.slots);
  EXPECT_EQ(a.routes.experts, b.routes.experts);
  ExpectSameVerdict(a, b);
}

inline void ExpectSameGroup(const Group& a, const Group& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.task.Hash(), b.task.Hash());
  EXPECT_EQ(a.task.metadata, b.task.metadata);
  EXPECT_EQ(a.key, b.key);
  EXPECT_EQ(a.iteration, b.iteration);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.asked, b.asked);
  EXPECT_EQ(a.outages, b.outages);
  EXPECT_EQ(a.skipped, b.skipped);
  EXPECT_EQ(RealBits({a.baseline, a.reward_std}), RealBits({b.baseline, b.reward_std}));
  EXPECT_EQ(a.flat, b.flat);
  EXPECT_EQ(a.drop, b.drop);
  ASSERT_EQ(a.trajectories.size(), b.trajectories.size());
  for (size_t i = 0; i < a.trajectories.size(); ++i) {
    ExpectSameTrajectory(a.trajectories[i], b.trajectories[i]);
  }
}

// A record of iteration i whose update trains on the group's trajectories.
inline IterationRecord MakeIteration(int64_t iteration, const Group& group) {
  IterationRecord record;
  record.iteration = iteration;
  UpdateRecord& update = record.updates.emplace_back();
  update.iteration = iteration;
  update.update_id = "update-" + std::to_string(iteration);
  update.slots = 8;
  for (const Trajectory& t : group.trajectories) {
    update.order.push_back(t.id);
    record.channels[t.id]["current_logprobs"] = t.behaviour_logprobs;
  }
  update.learning_rate = 1e-3;
  update.loss_json = "{\"name\":\"grpo\"}";
  update.hash_before = "w" + std::to_string(iteration - 1);
  update.hash_after = "w" + std::to_string(iteration);
  record.versions.push_back({iteration, iteration - 1, update.hash_after, "o", "r", "{}", {}});
  record.metrics = {{"reward/mean", 0.5 * static_cast<double>(iteration)}, {"nan", NAN}};
  record.observed = {{"time/generate_s", 0.1}};
  return record;
}

}  // namespace hone

#endif  // HONE_TESTS_ROLLOUT_STORE_RANDOM_GROUP_H_
