// SPDX-License-Identifier: Apache-2.0
#include "services/replay/compare_groups.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"
#include "rollout/group_rewards.h"
#include "rollout/rollout_worker.h"

namespace hone {
namespace {

// Text of a token as the difference shows it.
std::string TokenText(const std::vector<TokenId>& tokens, size_t t) {
  return t < tokens.size() ? absl::StrCat(tokens[t]) : std::string("no token");
}

std::string FloatText(const std::vector<float>& values, size_t t) {
  return t < values.size() ? ExactText(values[t]) : std::string("none");
}

class TrajectoryComparison {
 public:
  TrajectoryComparison(const Trajectory& stored, const Trajectory& replayed, int64_t iteration,
                       ReplayReport& report)
      : stored_(stored), replayed_(replayed), iteration_(iteration), report_(report) {}

  void Sampling() {
    Array("token", stored_.tokens, replayed_.tokens, TokenText);
    Array("logprob of token", stored_.behaviour_logprobs, replayed_.behaviour_logprobs, FloatText);
    Array("entropy of token", stored_.entropy, replayed_.entropy, FloatText);
    Texts("sampling", "stop reason", StopReasonName(stored_.stop_reason),
          StopReasonName(replayed_.stop_reason));
    Texts("sampling", "text", stored_.completion(), replayed_.completion());
    if (!stored_.routes.experts.empty()) {
      Array("expert", stored_.routes.experts, replayed_.routes.experts,
            [](const std::vector<uint16_t>& experts, size_t i) {
              return i < experts.size() ? absl::StrCat(experts[i]) : std::string("none");
            });
    }
  }

  void Verification() {
    const Verdict& stored = stored_.verdict;
    const Verdict& replayed = replayed_.verdict;
    Texts("verification", "outcome", OutcomeName(stored.outcome), OutcomeName(replayed.outcome));
    Texts("verification", "extracted answer", stored.extracted, replayed.extracted);
    Texts("verification", "detail", stored.detail, replayed.detail);
    Texts("verification", "verifier", stored.verifier, replayed.verifier);
    report_.Compare("verification", About("verdict's parts"),
                    static_cast<int64_t>(stored.parts.size()),
                    static_cast<int64_t>(replayed.parts.size()));
    for (size_t i = 0; i < std::min(stored.parts.size(), replayed.parts.size()); ++i) {
      Part("verification", absl::StrCat("verdict part ", stored.parts[i].name), stored.parts[i],
           replayed.parts[i]);
    }
    Evidence(stored.evidence, replayed.evidence);
  }

  void Rewards() {
    const std::vector<RewardPart>& stored = stored_.reward.parts;
    const std::vector<RewardPart>& replayed = replayed_.reward.parts;
    report_.Compare("rewards", About("reward parts"), static_cast<int64_t>(stored.size()),
                    static_cast<int64_t>(replayed.size()));
    for (size_t i = 0; i < std::min(stored.size(), replayed.size()); ++i) {
      const std::string what = absl::StrCat("reward part ", stored[i].name);
      Part("rewards", what, stored[i], replayed[i]);
      report_.Compare("rewards", About(what + " (weight)"), stored[i].weight, replayed[i].weight);
      report_.Compare("rewards", About(what + " (gate closed)"), int64_t{stored[i].gated},
                      int64_t{replayed[i].gated});
    }
    report_.Compare("rewards", About("reward"), stored_.reward.total, replayed_.reward.total);
  }

  void Advantage() {
    report_.Compare("advantages", About("advantage"), stored_.advantage, replayed_.advantage);
  }

 private:
  ReplayDifference About(std::string what) const {
    ReplayDifference about;
    about.iteration = iteration_;
    about.trajectory = stored_.id;
    about.what = std::move(what);
    return about;
  }

  void Texts(absl::string_view stage, const char* what, absl::string_view stored,
             absl::string_view replayed) {
    report_.Compare(stage, About(what), stored, replayed);
  }

  // By bits; every place that differs is counted.
  template <typename T, typename Text>
  void Array(const char* what, const std::vector<T>& stored, const std::vector<T>& replayed,
             Text text) {
    const size_t size = std::max(stored.size(), replayed.size());
    int64_t same = 0;
    for (size_t t = 0; t < size; ++t) {
      if (t < stored.size() && t < replayed.size() &&
          std::memcmp(&stored[t], &replayed[t], sizeof(T)) == 0) {
        ++same;
        continue;
      }
      ReplayDifference difference = About(what);
      difference.index = static_cast<int64_t>(t);
      difference.stored = text(stored, t);
      difference.replayed = text(replayed, t);
      report_.Differs("sampling", std::move(difference));
    }
    report_.Same("sampling", same);
  }

  template <typename P>
  void Part(absl::string_view stage, const std::string& what, const P& stored, const P& replayed) {
    report_.Compare(stage, About(what + " (name)"), stored.name, replayed.name);
    if (stored.raw && replayed.raw) {
      report_.Compare(stage, About(what), *stored.raw, *replayed.raw);
      return;
    }
    report_.Compare(stage, About(what), stored.raw ? ExactText(*stored.raw) : "none",
                    replayed.raw ? ExactText(*replayed.raw) : "none");
  }

  void Evidence(const std::map<std::string, std::string>& stored,
                const std::map<std::string, std::string>& replayed) {
    std::set<std::string> names;
    for (const auto& [name, text] : stored) names.insert(name);
    for (const auto& [name, text] : replayed) names.insert(name);
    for (const std::string& name : names) {
      const auto ours = stored.find(name);
      const auto theirs = replayed.find(name);
      report_.Compare("verification", About("evidence " + name),
                      ours == stored.end() ? "" : ours->second,
                      theirs == replayed.end() ? "" : theirs->second);
    }
  }

  const Trajectory& stored_;
  const Trajectory& replayed_;
  const int64_t iteration_;
  ReplayReport& report_;
};

}  // namespace

void CompareTrajectory(const Trajectory& stored, const Trajectory& replayed, int64_t iteration,
                       ReplayReport& report) {
  TrajectoryComparison comparison(stored, replayed, iteration, report);
  comparison.Sampling();
  comparison.Verification();
  comparison.Rewards();
  comparison.Advantage();
}

void CompareGroup(const Group& stored, const Group& replayed, ReplayReport& report) {
  ReplayDifference about;
  about.iteration = stored.iteration;
  const std::string group = absl::StrCat("group ", stored.id);
  about.what = group + " (policy version)";
  report.Compare("sampling", about, stored.version, replayed.version);
  about.what = group + " (trajectories)";
  report.Compare("sampling", about, static_cast<int64_t>(stored.trajectories.size()),
                 static_cast<int64_t>(replayed.trajectories.size()));
  const size_t both = std::min(stored.trajectories.size(), replayed.trajectories.size());
  for (size_t i = 0; i < both; ++i) {
    CompareTrajectory(stored.trajectories[i], replayed.trajectories[i], stored.iteration, report);
  }
  about.what = group + " (mean reward)";
  report.Compare("advantages", about, stored.baseline, replayed.baseline);
  about.what = group + " (reward spread)";
  report.Compare("advantages", about, stored.reward_std, replayed.reward_std);
  about.what = group + " (flat)";
  report.Compare("advantages", about, int64_t{stored.flat}, int64_t{replayed.flat});
}

void KeepSamplesOf(const Group& like, const AdvantageConfig& config, Group& group) {
  group.drop = like.drop == DropReason::kOutage ? DropReason::kOutage : DropReason::kNone;
  if (like.outages + like.skipped == 0) return;
  std::set<uint32_t> kept;
  for (const Trajectory& t : like.trajectories) kept.insert(t.key.sample);
  auto& all = group.trajectories;
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&](const Trajectory& t) { return kept.count(t.key.sample) == 0; }),
            all.end());
  group.outages = like.outages;
  group.skipped = like.skipped;
  group.lost.clear();
  SetAdvantages(config, group);
}

}  // namespace hone
