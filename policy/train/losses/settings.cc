// SPDX-License-Identifier: Apache-2.0
#include "policy/train/losses/settings.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hone {
namespace {

constexpr const char* kAggregations[] = {"token_mean", "seq_mean_token_mean", "seq_mean_token_sum",
                                         "seq_mean_token_sum_norm"};
constexpr const char* kKls[] = {"none", "k1", "k2", "k3"};
constexpr const char* kRatios[] = {"token", "sequence"};

template <typename Rule>
std::string Names(absl::Span<const Rule> rules) {
  if (rules.empty()) return "none";
  return absl::StrJoin(rules, ", ",
                       [](std::string* out, const Rule& rule) { absl::StrAppend(out, rule.name); });
}

template <typename Rule>
const Rule* FindRule(absl::Span<const Rule> rules, absl::string_view name) {
  for (const Rule& rule : rules) {
    if (name == rule.name) return &rule;
  }
  return nullptr;
}

absl::Status ReadOption(const LossSpec& spec, const OptionRule& rule, const std::string& value,
                        LossSettings& settings) {
  for (size_t i = 0; i < rule.values.size(); ++i) {
    if (value == rule.values[i]) {
      settings.*rule.field = static_cast<int32_t>(i);
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("loss '", spec.name, "': option ", rule.name,
                                                 " is '", value, "'; it can be ",
                                                 absl::StrJoin(rule.values, ", ")));
}

}  // namespace

const absl::Span<const char* const> kAggregationValues = kAggregations;
const absl::Span<const char* const> kKlValues = kKls;
const absl::Span<const char* const> kRatioValues = kRatios;

const char* KlEstimatorName(KlEstimator estimator) {
  return kKls[static_cast<size_t>(estimator)];
}

absl::StatusOr<LossSettings> ReadSettings(const LossSpec& spec,
                                          absl::Span<const ParameterRule> parameters,
                                          absl::Span<const OptionRule> options) {
  LossSettings settings;
  for (const ParameterRule& rule : parameters) settings.*rule.field = rule.preset;
  for (const auto& [name, value] : spec.parameters) {
    const ParameterRule* rule = FindRule(parameters, name);
    if (rule == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("loss '", spec.name, "' has no parameter '",
                                                     name, "'; known: ", Names(parameters)));
    }
    if (!(value >= rule->smallest && value <= rule->largest)) {
      return absl::InvalidArgumentError(absl::StrCat("loss '", spec.name, "': ", name, " is ",
                                                     value, "; it must be in [", rule->smallest,
                                                     ", ", rule->largest, "]"));
    }
    settings.*rule->field = value;
  }
  for (const auto& [name, value] : spec.options) {
    const OptionRule* rule = FindRule(options, name);
    if (rule == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("loss '", spec.name, "' has no option '", name,
                                                     "'; known: ", Names(options)));
    }
    const absl::Status status = ReadOption(spec, *rule, value, settings);
    if (!status.ok()) return status;
  }
  return settings;
}

}  // namespace hone
