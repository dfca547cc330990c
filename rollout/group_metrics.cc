// SPDX-License-Identifier: Apache-2.0
//
// An iteration's figures from its groups: content and clocks, kept apart.
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "rollout/reflection.h"
#include "rollout/statistics.h"
#include "rollout/train_batch.h"

namespace hone {
namespace {

using Metrics = std::map<std::string, double>;

double Share(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Figures of judged completions.
struct Completions {
  std::vector<double> rewards;
  std::vector<double> lengths;
  std::map<std::string, std::pair<double, int64_t>> parts;  // sum of raw values, how many
  std::vector<int64_t> words;                               // by reflection word
  int64_t correct = 0;
  int64_t truncated = 0;
  int64_t reflecting = 0;
  int64_t reflecting_correct = 0;

  int64_t count() const { return static_cast<int64_t>(rewards.size()); }

  void Add(const Trajectory& t, const std::vector<std::string>& reflection_words) {
    const bool right = t.verdict.outcome == Outcome::kCorrect;
    rewards.push_back(t.reward.total);
    lengths.push_back(t.completion_tokens());
    correct += right ? 1 : 0;
    truncated += IsTruncated(t.stop_reason) ? 1 : 0;
    for (const RewardPart& part : t.reward.parts) {
      if (!part.raw.has_value()) continue;
      parts[part.name].first += *part.raw;
      ++parts[part.name].second;
    }
    bool reflects = false;
    words.resize(reflection_words.size());
    for (size_t i = 0; i < reflection_words.size(); ++i) {
      const int64_t found = CountWord(t.completion(), reflection_words[i]);
      words[i] += found;
      reflects = reflects || found > 0;
    }
    reflecting += reflects ? 1 : 0;
    reflecting_correct += reflects && right ? 1 : 0;
  }

  void Report(const std::vector<std::string>& reflection_words, Metrics& metrics) const {
    metrics["reward/mean"] = Mean(rewards);
    metrics["reward/std"] = UnbiasedStd(rewards);
    for (const auto& [name, sum] : parts) {
      const double mean = sum.first / static_cast<double>(sum.second);
      metrics[absl::StrCat("reward/", name, "/mean")] = mean;
      if (name == "format") metrics["format/mean"] = mean;
    }
    metrics["accuracy/mean"] = Share(correct, count());
    metrics["completion/length_mean"] = Mean(lengths);
    metrics["completion/length_median"] = Median(lengths);
    metrics["completion/truncated_share"] = Share(truncated, count());
    for (size_t i = 0; i < reflection_words.size(); ++i) {
      metrics[absl::StrCat("reflection/", absl::AsciiStrToLower(reflection_words[i]),
                           "_per_completion")] = Share(words[i], count());
    }
    if (reflecting > 0) {
      metrics["reflection/accuracy_given"] = Share(reflecting_correct, reflecting);
    }
    if (!reflection_words.empty() && reflecting < count()) {
      metrics["reflection/accuracy_without"] =
          Share(correct - reflecting_correct, count() - reflecting);
    }
  }
};

}  // namespace

std::map<std::string, double> GroupMetrics(const std::vector<Group>& groups,
                                           const std::vector<std::string>& reflection_words) {
  Metrics metrics;
  Completions completions;
  int64_t asked = 0, outages = 0, skipped = 0;
  int64_t judged_groups = 0, flat = 0, all_right = 0, all_wrong = 0;
  double generated = 0;
  for (const Group& group : groups) {
    asked += group.asked;
    outages += group.outages;
    skipped += group.skipped;
    int64_t right = 0;
    for (const Trajectory& t : group.trajectories) {
      completions.Add(t, reflection_words);
      right += t.verdict.outcome == Outcome::kCorrect ? 1 : 0;
      generated += t.completion_tokens();
    }
    if (group.trajectories.empty()) continue;
    ++judged_groups;
    flat += group.flat ? 1 : 0;
    all_right += right == static_cast<int64_t>(group.trajectories.size()) ? 1 : 0;
    all_wrong += right == 0 ? 1 : 0;
  }
  if (completions.count() > 0) {
    completions.Report(reflection_words, metrics);
    metrics["group/flat_share"] = Share(flat, judged_groups);
    metrics["group/all_right_share"] = Share(all_right, judged_groups);
    metrics["group/all_wrong_share"] = Share(all_wrong, judged_groups);
    metrics["tokens/generated"] = generated;
  }
  if (asked > 0) {
    metrics["verifier/outage_share"] = Share(outages, asked);
    metrics["verifier/skipped_share"] = Share(skipped, asked);
  }
  return metrics;
}

std::map<std::string, double> ObservedGroupMetrics(const std::vector<Group>& groups) {
  std::vector<double> latencies_ms;
  double verify_us = 0;
  double generate_us = 0;
  for (const Group& group : groups) {
    verify_us += static_cast<double>(group.verify_us);
    generate_us += static_cast<double>(group.generate_us);
    for (const Trajectory& t : group.trajectories) {
      latencies_ms.push_back(static_cast<double>(t.verdict.elapsed_us) * 1e-3);
    }
  }
  Metrics metrics;
  if (!latencies_ms.empty()) metrics["verifier/latency_p50_ms"] = Median(latencies_ms);
  metrics["time/verify_s"] = verify_us * 1e-6;
  metrics["time/generate_s"] = generate_us * 1e-6;
  return metrics;
}

}  // namespace hone
