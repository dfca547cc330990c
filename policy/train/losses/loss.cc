// SPDX-License-Identifier: Apache-2.0
#include "policy/train/losses/loss.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/train/losses/builtin.h"

namespace hone {
namespace {

const std::vector<const Loss*>& AllLosses() {
  static const std::vector<const Loss*> losses = {&PpoClipLoss(), &CispoLoss(), &ReinforceLoss(),
                                                  &CrossEntropyLoss(), &CustomLoss()};
  return losses;
}

absl::Status CheckArray(const std::vector<float>& values, size_t length, absl::string_view where,
                        absl::string_view what) {
  if (values.empty()) return absl::OkStatus();
  if (values.size() != length) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", what, " has ", values.size(),
                                                   " entries for ", length, " tokens"));
  }
  for (size_t t = 1; t < length; ++t) {
    if (!std::isfinite(values[t])) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": ", what, "[", t, "] is ", values[t], ", not a finite number"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMask(const TrainSequence& sequence, absl::string_view where) {
  if (sequence.loss_mask.size() != sequence.tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": loss_mask has ",
                                                   sequence.loss_mask.size(), " entries for ",
                                                   sequence.tokens.size(), " tokens"));
  }
  for (size_t t = 1; t < sequence.loss_mask.size(); ++t) {
    if (sequence.loss_mask[t] != 0 && sequence.loss_mask[t] != 1) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": loss_mask[", t, "] is ",
                                                     sequence.loss_mask[t], "; it must be 0 or 1"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

MetricSums::Entry& MetricSums::At(absl::string_view name, Kind kind) {
  const auto [at, fresh] = entries_.try_emplace(std::string(name));
  if (fresh) {
    at->second.kind = kind;
    if (kind == Kind::kMax) at->second.value = -std::numeric_limits<double>::infinity();
  }
  assert(at->second.kind == kind);
  return at->second;
}

void MetricSums::AddSum(absl::string_view name, double value) {
  At(name, Kind::kSum).value += value;
}

void MetricSums::AddMean(absl::string_view name, double sum, double weight) {
  Entry& entry = At(name, Kind::kMean);
  entry.value += sum;
  entry.weight += weight;
}

void MetricSums::AddMax(absl::string_view name, double value) {
  Entry& entry = At(name, Kind::kMax);
  entry.value = std::max(entry.value, value);
}

void MetricSums::Merge(const MetricSums& other) {
  for (const auto& [name, entry] : other.entries_) {
    Entry& mine = At(name, entry.kind);
    mine.value =
        entry.kind == Kind::kMax ? std::max(mine.value, entry.value) : mine.value + entry.value;
    mine.weight += entry.weight;
  }
}

std::map<std::string, double> MetricSums::Finish() const {
  std::map<std::string, double> out;
  for (const auto& [name, entry] : entries_) {
    if (entry.kind == Kind::kMean && entry.weight == 0) continue;
    out[name] = entry.kind == Kind::kMean ? entry.value / entry.weight : entry.value;
  }
  return out;
}

absl::StatusOr<LossSettings> Loss::Configure(const LossSpec& spec) const {
  auto settings = ReadSettings(spec, parameters(), options());
  if (!settings.ok()) return settings.status();
  const absl::Status together = CheckTogether(*settings);
  if (!together.ok()) return together;
  return settings;
}

absl::Status Loss::CheckTogether(const LossSettings& /*settings*/) const {
  return absl::OkStatus();
}

absl::Status Loss::Check(const LossSettings& /*settings*/, const TrainSequence& sequence,
                         absl::string_view where) const {
  absl::Status status = CheckMask(sequence, where);
  const std::pair<const std::vector<float>*, absl::string_view> arrays[] = {
      {&sequence.advantages, "advantages"},
      {&sequence.behaviour_logprobs, "behaviour_logprobs"},
      {&sequence.proximal_logprobs, "proximal_logprobs"},
      {&sequence.reference_logprobs, "reference_logprobs"},
      {&sequence.d_logprobs, "d_logprobs"}};
  for (const auto& [values, what] : arrays) {
    if (status.ok()) status = CheckArray(*values, sequence.tokens.size(), where, what);
  }
  if (!status.ok()) return status;
  if (!sequence.d_logprobs.empty() && name() != "custom") {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " has d_logprobs, which only loss 'custom' reads"));
  }
  if (!std::isfinite(sequence.weight)) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": weight is not a finite number"));
  }
  return absl::OkStatus();
}

absl::StatusOr<const Loss*> FindLoss(absl::string_view name) {
  for (const Loss* loss : AllLosses()) {
    if (loss->name() == name) return loss;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "there is no loss '", name,
      "'; known: ", absl::StrJoin(AllLosses(), ", ", [](std::string* out, const Loss* loss) {
        absl::StrAppend(out, loss->name());
      })));
}

std::vector<LossDescription> ListLosses() {
  std::vector<LossDescription> out;
  for (const Loss* loss : AllLosses()) {
    LossDescription one{std::string(loss->name()), std::string(loss->description()), {}, {}};
    for (const ParameterRule& rule : loss->parameters()) {
      one.parameters.push_back(absl::StrCat(rule.name, " = ", rule.preset, ": ", rule.meaning));
    }
    for (const OptionRule& rule : loss->options()) {
      one.options.push_back(absl::StrCat(rule.name, " = ", absl::StrJoin(rule.values, " | ")));
    }
    out.push_back(std::move(one));
  }
  return out;
}

double CountLossTokens(const TrainSequence& sequence) {
  double tokens = 0;
  for (size_t t = 1; t < sequence.loss_mask.size(); ++t) tokens += sequence.loss_mask[t];
  return tokens;
}

LossTotals CountTotals(absl::Span<const TrainSequence> sequences) {
  LossTotals totals;
  for (const TrainSequence& sequence : sequences) {
    const double tokens = CountLossTokens(sequence);
    totals.loss_tokens += tokens;
    totals.sequences += tokens > 0;
  }
  return totals;
}

}  // namespace hone
