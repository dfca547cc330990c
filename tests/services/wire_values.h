// SPDX-License-Identifier: Apache-2.0
//
// Random values of everything that travels, and their complete description as text: a field that
// a conversion forgets shows.
#ifndef HONE_TESTS_SERVICES_WIRE_VALUES_H_
#define HONE_TESTS_SERVICES_WIRE_VALUES_H_

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/generator.h"
#include "policy/learner.h"
#include "rollout/rollout_worker.h"
#include "rollout/trajectory.h"
#include "services/convert/worker_config.h"

namespace hone {

class Values {
 public:
  explicit Values(uint64_t seed) : random_(seed) {}

  uint64_t Bits() { return random_(); }
  int64_t In(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Bits() % static_cast<uint64_t>(high - low + 1));
  }
  bool Coin() { return Bits() % 2 == 0; }
  // Any finite float, by its bits: denormals, -0, the largest.
  float Float() {
    for (;;) {
      const uint32_t bits = static_cast<uint32_t>(Bits());
      float value;
      std::memcpy(&value, &bits, sizeof(value));
      if (std::isfinite(value)) return value;
    }
  }
  double Double() {
    for (;;) {
      const uint64_t bits = Bits();
      double value;
      std::memcpy(&value, &bits, sizeof(value));
      if (std::isfinite(value)) return value;
    }
  }
  float Negative() { return -std::abs(Float()); }
  std::string Name() {
    std::string name;
    for (int64_t i = In(0, 12); i > 0; --i) name.push_back(static_cast<char>(In(32, 126)));
    return name + "\xC3\xA9";
  }
  // Any bytes, as a model may write them.
  std::string Text() {
    std::string text;
    for (int64_t i = In(0, 40); i > 0; --i) text.push_back(static_cast<char>(Bits()));
    return text;
  }
  std::string Hex() {
    std::string id;
    for (int i = 0; i < 32; ++i) id.push_back("0123456789abcdef"[In(0, 15)]);
    return id;
  }
  std::vector<float> Floats(size_t n) {
    std::vector<float> values(n);
    for (float& value : values) value = Float();
    return values;
  }
  std::vector<TokenId> Tokens(size_t n) {
    std::vector<TokenId> tokens(n);
    for (TokenId& token : tokens) token = static_cast<TokenId>(In(0, 1 << 30));
    return tokens;
  }
  std::map<std::string, std::string> Texts() {
    std::map<std::string, std::string> map;
    for (int64_t i = In(0, 3); i > 0; --i) map[Name()] = Text();
    return map;
  }

  SampleKey Key() {
    return {Bits(),
            static_cast<Purpose>(In(0, 5)),
            Bits(),
            static_cast<uint32_t>(Bits()),
            static_cast<uint32_t>(Bits()),
            static_cast<uint32_t>(Bits())};
  }
  SamplingParams Sampling() {
    return {static_cast<float>(In(0, 1000)) / 7, static_cast<float>(In(1, 1000)) / 1000,
            static_cast<int32_t>(In(0, 100)), static_cast<int32_t>(In(1, 1 << 30))};
  }
  Routes SomeRoutes(size_t rows) {
    Routes routes;
    routes.moe_layers = static_cast<int32_t>(In(1, 3));
    routes.slots = static_cast<int32_t>(In(1, 3));
    routes.experts.resize(rows * static_cast<size_t>(routes.moe_layers * routes.slots));
    for (uint16_t& expert : routes.experts) expert = static_cast<uint16_t>(Bits());
    return routes;
  }
  Verdict SomeVerdict(Outcome outcome) {
    Verdict verdict;
    verdict.outcome = outcome;
    verdict.detail = Text();
    verdict.evidence = Texts();
    verdict.verifier = Name();
    verdict.elapsed_us = In(0, 1 << 30);
    if (outcome == Outcome::kOutage) return verdict;  // an outage has nothing more
    verdict.extracted = Text();
    verdict.extracted_truncated = Coin();
    for (int64_t i = In(0, 3); i > 0; --i) {
      verdict.parts.push_back({Name(), std::nullopt, std::nullopt});
      if (Coin()) verdict.parts.back().raw = Double();
      if (Coin()) verdict.parts.back().segment = static_cast<int32_t>(In(0, 9));
    }
    return verdict;
  }
  Reward SomeReward() {
    Reward reward;
    for (int64_t i = In(0, 3); i > 0; --i) {
      reward.parts.push_back({Name(), std::nullopt, Double(), Coin(), std::nullopt});
      if (Coin()) reward.parts.back().raw = Double();
      if (Coin()) reward.parts.back().segment = static_cast<int32_t>(In(0, 9));
    }
    reward.total = Double();
    return reward;
  }
  Task SomeTask() {
    Task task;
    task.id = Name();
    task.source = Name();
    task.split = Name();
    task.index = static_cast<int64_t>(Bits());
    task.prompt = Text();
    task.answer = Text();
    task.tests_json = Text();
    task.verifier = Name();
    task.difficulty = Double();
    task.metadata = Texts();
    return task;
  }
  Trajectory SomeTrajectory() {
    Trajectory t;
    const size_t tokens = static_cast<size_t>(In(1, 20));
    t.id = Hex();
    t.group_id = Hex();
    t.key = Key();
    int32_t at = 0;
    for (int i = 0; i < 3; ++i) {
      Segment segment;
      segment.role = Name();
      segment.kind = static_cast<SegmentKind>(In(0, 3));
      segment.first_token = at;
      segment.token_count = static_cast<int32_t>(In(0, static_cast<int64_t>(tokens) - at));
      at += segment.token_count;
      segment.turn = static_cast<int32_t>(In(0, 9));
      segment.loss_mask = Coin();
      segment.version = In(-1, 1 << 30);
      segment.call_id = Name();
      segment.text = Text();
      t.segments.push_back(segment);
    }
    t.tokens = Tokens(tokens);
    t.behaviour_logprobs = Floats(tokens);
    t.entropy = Floats(tokens);
    t.stop_reason = static_cast<StopReason>(In(1, 4));
    t.sampling = Sampling();
    t.backend = Name();
    t.tokenizer_hash = Name();
    t.template_name = Name();
    t.verdict = SomeVerdict(static_cast<Outcome>(In(1, 7)));
    t.verify_attempts = static_cast<int32_t>(In(0, 9));
    if (IsVerdict(t.verdict.outcome)) t.reward = SomeReward();
    t.advantage = Double();
    if (Coin()) t.routes = SomeRoutes(tokens);
    return t;
  }
  Group SomeGroup() {
    Group group;
    group.id = Hex();
    group.task = SomeTask();
    group.key = Key();
    group.iteration = In(0, 1 << 30);
    group.version = In(0, 1 << 30);
    group.asked = static_cast<int32_t>(In(3, 9));
    for (int64_t i = In(0, 3); i > 0; --i) group.trajectories.push_back(SomeTrajectory());
    group.outages = static_cast<int32_t>(In(0, 3));
    group.skipped = static_cast<int32_t>(In(0, 3));
    group.baseline = Double();
    group.reward_std = Double();
    group.flat = Coin();
    group.drop = static_cast<DropReason>(In(0, 5));
    group.generate_us = In(0, 1 << 30);
    group.verify_us = In(0, 1 << 30);
    for (int64_t i = In(0, 2); i > 0; --i) {
      group.lost.push_back(SomeVerdict(Coin() ? Outcome::kOutage : Outcome::kSkipped));
    }
    return group;
  }

 private:
  std::mt19937_64 random_;
};

// Text that differs whenever a value does, to the last bit.
inline std::string Show(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return absl::StrCat(absl::Hex(bits), "f ");
}
inline std::string Show(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return absl::StrCat(absl::Hex(bits), "d ");
}
inline std::string Show(const std::string& text) {
  return absl::StrCat(text.size(), ":", text);
}
template <typename T>
requires std::is_integral_v<T> || std::is_enum_v<T> std::string Show(T value) {
  return absl::StrCat(static_cast<int64_t>(value), " ");
}
template <typename T>
std::string Show(const std::optional<T>& value) {
  return value ? "=" + Show(*value) : "none ";
}
template <typename A, typename B>
std::string Show(const std::map<A, B>& map) {
  std::string out = "{";
  for (const auto& [name, value] : map) out += Show(name) + Show(value);
  return out + "}";
}
std::string Show(const Segment& s);
std::string Show(const Verdict& v);
std::string Show(const Trajectory& t);
std::string Show(const TrainSequence& s);
template <typename T>
std::string Show(const std::vector<T>& values) {
  std::string out = "[";
  for (const T& value : values) out += Show(value);
  return out + "]";
}
inline std::string Show(absl::Time time) {
  return absl::FormatTime(time);
}
template <typename... Fields>
std::string ShowAll(const Fields&... fields) {
  return "(" + (Show(fields) + ...) + ")";
}

inline std::string Show(const SampleKey& k) {
  return ShowAll(k.run_seed, k.purpose, k.group_ordinal, k.attempt, k.sample, k.turn);
}
inline std::string Show(const SamplingParams& s) {
  return ShowAll(s.temperature, s.top_p, s.top_k, s.max_tokens);
}
inline std::string Show(const Routes& r) {
  return ShowAll(r.moe_layers, r.slots, r.experts);
}
inline std::string Show(const Segment& s) {
  return ShowAll(s.role, s.kind, s.first_token, s.token_count, s.turn, s.loss_mask, s.version,
                 s.call_id, s.text);
}
inline std::string Show(const Verdict& v) {
  std::string parts;
  for (const VerdictPart& p : v.parts) parts += ShowAll(p.name, p.raw, p.segment);
  return parts + ShowAll(v.outcome, v.extracted, v.extracted_truncated, v.detail, v.evidence,
                         v.verifier, v.elapsed_us);
}
inline std::string Show(const Reward& r) {
  std::string parts;
  for (const RewardPart& p : r.parts) {
    parts += ShowAll(p.name, p.raw, p.weight, p.gated, p.segment);
  }
  return parts + Show(r.total);
}
inline std::string Show(const Task& t) {
  return ShowAll(t.id, t.source, t.split, t.index, t.prompt, t.answer, t.tests_json, t.verifier,
                 t.difficulty, t.metadata);
}
inline std::string Show(const Trajectory& t) {
  return ShowAll(t.id, t.group_id, t.segments, t.tokens, t.behaviour_logprobs, t.entropy,
                 t.stop_reason, t.backend, t.tokenizer_hash, t.template_name, t.verify_attempts,
                 t.advantage) +
         Show(t.key) + Show(t.sampling) + Show(t.verdict) + Show(t.reward) + Show(t.routes);
}
inline std::string Show(const Group& g) {
  return ShowAll(g.id, g.iteration, g.version, g.asked, g.outages, g.skipped, g.baseline,
                 g.reward_std, g.flat, g.drop, g.generate_us, g.verify_us, g.trajectories, g.lost) +
         Show(g.task) + Show(g.key);
}
inline std::string Show(const GenerateRequest& r) {
  return ShowAll(r.request_id, r.prompt, r.n, r.stop_tokens, r.required_version, r.allow_switch,
                 r.adapter_id, r.top_logprobs, r.return_routes, r.prefix_handle, r.deadline) +
         Show(r.key) + Show(r.sampling);
}
inline std::string Show(const TrainSequence& s) {
  return ShowAll(s.tokens, s.loss_mask, s.advantages, s.behaviour_logprobs, s.proximal_logprobs,
                 s.reference_logprobs, s.d_logprobs, s.weight) +
         Show(s.routes);
}
inline std::string Show(const Question& q) {
  std::string segments;
  for (const QuestionSegment& s : q.segments) segments += ShowAll(s.role, s.kind, s.text);
  return segments + ShowAll(q.item_id, q.stop_reason, q.truncated, q.answer, q.tests_json,
                            q.metadata, q.lenient, q.bare, q.seed, q.deadline, q.attempt);
}
inline std::string Show(const WorkerSetup& w) {
  std::string out;
  for (const RewardPartConfig& p : w.rollout.reward.parts) {
    out += ShowAll(p.name, p.weight, p.gate, p.gate_min, p.rule, p.max_tokens, p.cache_tokens);
  }
  for (const VerifierSetup& v : w.verifiers) out += ShowAll(v.name, v.verifier, v.options);
  const RolloutOptions& r = w.rollout;
  return out +
         ShowAll(r.run_id, r.group_size, r.prompt_template, r.eos, r.advantage.estimator,
                 r.advantage.epsilon, r.advantage.clip, r.default_verifier, r.verify_attempts,
                 absl::ToInt64Microseconds(r.verify_deadline), r.min_judged_share, r.keep_routes,
                 w.tokenizer_json, w.tokenizer_configs, w.policy_address,
                 absl::ToInt64Microseconds(w.heartbeat), w.jobs_per_lease) +
         Show(r.sampling);
}

}  // namespace hone

#endif  // HONE_TESTS_SERVICES_WIRE_VALUES_H_
