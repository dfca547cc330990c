// SPDX-License-Identifier: Apache-2.0
//
// Completion and gold from outside, through every verifier, into rewards and advantages. The
// input is the gold, a NUL, and the completion; its first byte picks the options.
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "rewards/advantage.h"
#include "rewards/reward.h"
#include "verifier/verifier.h"

namespace {

const std::vector<std::unique_ptr<hone::Verifier>>& Verifiers() {
  static const auto* verifiers = [] {
    auto* made = new std::vector<std::unique_ptr<hone::Verifier>>;
    for (const hone::VerifierInfo& info : hone::ListVerifiers()) {
      if (info.name == "code") continue;  // it runs programs
      made->push_back(std::move(*hone::MakeVerifier(info.name, {})));
    }
    made->push_back(std::move(
        *hone::MakeVerifier("numeric", {{"tolerance", "1e-3"}, {"relative_tolerance", "1/100"}})));
    return made;
  }();
  return *verifiers;
}

hone::RewardConfig Config() {
  hone::RewardConfig config;
  for (const char* name :
       {"accuracy", "format", "random", "overlong", "length", "verdict.format"}) {
    hone::RewardPartConfig part;
    part.name = name;
    if (part.name == "overlong" || part.name == "length") part.max_tokens = 64;
    if (part.name == "overlong") part.cache_tokens = 16;
    config.parts.push_back(part);
  }
  config.parts.back().gate = "format";
  return config;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const hone::RewardConfig config = Config();
  assert(hone::CheckRewardConfig(config).ok());
  if (size < 2) return 0;
  const uint8_t flags = data[0];
  const absl::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t split = std::min(text.find('\0'), text.size());
  hone::Question question;
  question.segments = {
      {"user", "prompt", (flags & 1) != 0 ? "<think>" : "?"},
      {"assistant", "model", std::string(text.substr(std::min(split + 1, text.size())))}};
  question.answer = std::string(text.substr(0, split));
  question.lenient = (flags & 2) != 0;
  question.bare = (flags & 4) != 0;
  question.truncated = (flags & 8) != 0;
  question.metadata = {{"target", "12"}, {"nums", "[1, 2, 4]"}};
  if ((flags & 16) != 0) question.metadata["nums"] = question.answer;
  std::vector<double> rewards;
  std::vector<int32_t> lengths;
  for (const auto& verifier : Verifiers()) {
    const auto verdicts = verifier->Verify({question});
    assert(verdicts.ok() && verdicts->size() == 1);
    const hone::Verdict& verdict = verdicts->front();
    assert(verdict.outcome != hone::Outcome::kUnspecified && verdict.extracted.size() <= 4096);
    if (!hone::IsVerdict(verdict.outcome)) continue;
    hone::RewardInput input;
    input.verdict = &verdict;
    input.completion_text = question.segments[1].text;
    input.completion_tokens = static_cast<int32_t>(size);
    input.random_key = size * 31 + flags;
    rewards.push_back(hone::ComputeReward(config, input).total);
    lengths.push_back(input.completion_tokens);
    assert(std::isfinite(rewards.back()));
  }
  if (rewards.empty()) return 0;
  for (const char* estimator : {"grpo", "drgrpo", "rloo", "opo"}) {
    hone::AdvantageConfig advantage;
    advantage.estimator = estimator;
    const hone::GroupAdvantage group = hone::ComputeAdvantages(advantage, rewards, lengths);
    for (double value : group.advantages_G) assert(std::isfinite(value));
  }
  return 0;
}
