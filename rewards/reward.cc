// SPDX-License-Identifier: Apache-2.0
#include "rewards/reward.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "verifier/rules/format_rule.h"

namespace hone {
namespace {

constexpr size_t kMaxParts = 64;
constexpr double kMaxWeight = 1e6;
constexpr double kMaxRaw = 1e9;
constexpr absl::string_view kVerdictPrefix = "verdict.";

absl::Status Invalid(const RewardPartConfig& part, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("reward part \"", part.name, "\": ", what));
}

bool IsVerdictPartName(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, kVerdictPrefix) || name.empty() || name.size() > 64) return false;
  for (unsigned char c : name) {
    if (!absl::ascii_isalnum(c) && c != '_') return false;
  }
  return true;
}

absl::Status CheckName(const RewardPartConfig& part) {
  for (absl::string_view known : {"accuracy", "format", "overlong", "length", "random"}) {
    if (part.name == known) return absl::OkStatus();
  }
  if (IsVerdictPartName(part.name)) return absl::OkStatus();
  if (part.name == "reflection") {
    return Invalid(part,
                   "reflection is measured (reflection/* metrics), not rewarded: a reward for "
                   "words teaches the words; remove it");
  }
  return Invalid(part,
                 "there is no such part; use accuracy, format, overlong, length, random or "
                 "verdict.NAME for a part of the verdict");
}

// Fields that this part does not read must be left alone.
absl::Status CheckFields(const RewardPartConfig& part) {
  const bool is_overlong = part.name == "overlong";
  const bool has_length = is_overlong || part.name == "length";
  if (part.name == "format") {
    const absl::StatusOr<FormatRule> rule = FormatRuleFromName(part.rule);
    if (!rule.ok()) return Invalid(part, rule.status().message());
  } else if (part.rule != RewardPartConfig().rule) {
    return Invalid(part, "rule applies to format only; remove it");
  }
  if (has_length && part.max_tokens <= 0) return Invalid(part, "max_tokens must be more than 0");
  if (!has_length && part.max_tokens != 0) {
    return Invalid(part, "max_tokens applies to overlong and length only; remove it");
  }
  if (is_overlong && (part.cache_tokens < 1 || part.cache_tokens > part.max_tokens)) {
    return Invalid(part, "cache_tokens must be from 1 to max_tokens");
  }
  if (!is_overlong && part.cache_tokens != 0) {
    return Invalid(part, "cache_tokens applies to overlong only; remove it");
  }
  if (!std::isfinite(part.weight) || std::fabs(part.weight) > kMaxWeight) {
    return Invalid(part, "weight must be finite and at most 1e6 in magnitude");
  }
  return absl::OkStatus();
}

// earlier: the parts before this one.
absl::Status CheckGate(const RewardPartConfig& part, absl::Span<const RewardPartConfig> earlier) {
  if (part.gate.empty()) {
    if (part.gate_min == RewardPartConfig().gate_min) return absl::OkStatus();
    return Invalid(part, "gate_min applies where gate names a part; remove it or name one");
  }
  if (!std::isfinite(part.gate_min)) return Invalid(part, "gate_min must be finite");
  for (const RewardPartConfig& other : earlier) {
    if (other.name == part.gate) return absl::OkStatus();
  }
  return Invalid(part, absl::StrCat("its gate \"", part.gate, "\" is no part before it"));
}

// none unless it is a figure that can be counted.
std::optional<double> Countable(std::optional<double> raw) {
  if (!raw || !std::isfinite(*raw) || std::fabs(*raw) > kMaxRaw) return std::nullopt;
  return raw;
}

const VerdictPart* FindPart(const Verdict& verdict, absl::string_view name) {
  for (const VerdictPart& part : verdict.parts) {
    if (part.name == name) return &part;
  }
  return nullptr;
}

double Overlong(const RewardPartConfig& part, int32_t tokens) {
  const double over = static_cast<double>(tokens) - (part.max_tokens - part.cache_tokens);
  return -std::clamp(over / part.cache_tokens, 0.0, 1.0);
}

double Length(const RewardPartConfig& part, int32_t tokens) {
  return std::clamp(static_cast<double>(tokens) / part.max_tokens, 0.0, 1.0);
}

// splitmix64's finaliser: one bit of it is a fair coin even for keys that count up.
double Coin(uint64_t key) {
  key += 0x9e3779b97f4a7c15;
  key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9;
  key = (key ^ key >> 27) * 0x94d049bb133111eb;
  return static_cast<double>((key ^ key >> 31) >> 63);
}

// The part before weight and gate.
RewardPart MakePart(const RewardPartConfig& config, const RewardInput& input) {
  RewardPart part;
  part.name = config.name;
  part.weight = config.weight;
  const bool from_verdict = config.name.rfind("verdict.", 0) == 0;
  if (from_verdict || config.name == "accuracy") {
    const VerdictPart* found = FindPart(
        *input.verdict, from_verdict ? config.name.substr(kVerdictPrefix.size()) : config.name);
    if (found != nullptr) {
      part.raw = Countable(found->raw);
      part.segment = found->segment;
    } else if (!from_verdict) {
      part.raw = input.verdict->outcome == Outcome::kCorrect ? 1.0 : 0.0;
    }
  } else if (config.name == "format") {
    const absl::StatusOr<FormatRule> rule = FormatRuleFromName(config.rule);
    assert(rule.ok());
    const bool cut_off = IsTruncated(input.stop_reason);
    part.raw = CheckFormat(*rule, input.completion_text, cut_off).ok ? 1.0 : 0.0;
  } else if (config.name == "overlong") {
    part.raw = Overlong(config, input.completion_tokens);
  } else if (config.name == "length") {
    part.raw = Length(config, input.completion_tokens);
  } else {
    assert(config.name == "random");
    part.raw = Coin(input.random_key);
  }
  return part;
}

bool IsGateClosed(const RewardPartConfig& config, const std::vector<RewardPart>& earlier) {
  if (config.gate.empty()) return false;
  for (const RewardPart& part : earlier) {
    if (part.name == config.gate) return !part.raw || *part.raw < config.gate_min;
  }
  assert(false && "CheckRewardConfig refuses a gate that names no earlier part");
  return true;
}

}  // namespace

absl::Status CheckRewardConfig(const RewardConfig& config) {
  if (config.parts.empty() || config.parts.size() > kMaxParts) {
    return absl::InvalidArgumentError(
        absl::StrCat("a reward has 1 to ", kMaxParts, " parts, not ", config.parts.size()));
  }
  for (size_t i = 0; i < config.parts.size(); ++i) {
    const RewardPartConfig& part = config.parts[i];
    const absl::Span<const RewardPartConfig> earlier(config.parts.data(), i);
    absl::Status status = CheckName(part);
    if (status.ok()) status = CheckFields(part);
    if (status.ok()) status = CheckGate(part, earlier);
    if (!status.ok()) return status;
    for (const RewardPartConfig& other : earlier) {
      if (other.name == part.name) return Invalid(part, "it is given twice; merge the two");
    }
  }
  return absl::OkStatus();
}

Reward ComputeReward(const RewardConfig& config, const RewardInput& input) {
  assert(input.verdict != nullptr && IsVerdict(input.verdict->outcome));
  assert(input.completion_tokens >= 0);
  Reward reward;
  reward.parts.reserve(config.parts.size());
  for (const RewardPartConfig& part_config : config.parts) {
    RewardPart part = MakePart(part_config, input);
    part.gated = IsGateClosed(part_config, reward.parts);
    reward.total += part.value();
    reward.parts.push_back(part);
  }
  return reward;
}

}  // namespace hone
