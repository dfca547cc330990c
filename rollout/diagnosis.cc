// SPDX-License-Identifier: Apache-2.0
#include "rollout/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "rollout/statistics.h"

namespace hone {
namespace {

// The first or the last fifth of a curve, two values or more.
enum class End { kFirst, kLast };
double MeanOf(const std::vector<double>& values, End end) {
  const size_t n = std::min(values.size(), std::max<size_t>(2, values.size() / 5));
  const auto first = end == End::kFirst ? values.begin() : values.end() - static_cast<long>(n);
  return Mean(std::vector<double>(first, first + static_cast<long>(n)));
}

std::string Percent(double share) {
  return absl::StrFormat("%.1f %%", 100 * share);
}

double Share(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

class Checks {
 public:
  explicit Checks(const RunFigures& figures) : figures_(figures) {}

  std::vector<Finding> Run() {
    Reward();
    Evaluations();
    Funnel();
    DeadGroups();
    Headroom();
    Truncation();
    Format();
    Parts();
    Verifier();
    Entropy();
    Clipping();
    Divergence();
    StepSize();
    Exactness();
    Experts();
    return std::move(findings_);
  }

 private:
  const std::vector<double>* Curve(const std::string& name) const {
    const auto found = figures_.metrics.find(name);
    return found == figures_.metrics.end() || found->second.empty() ? nullptr : &found->second;
  }

  void Add(Severity severity, std::string check, std::string says, std::string advice = "") {
    if (severity == Severity::kFine) advice.clear();
    findings_.push_back({severity, std::move(check), std::move(says), std::move(advice)});
  }

  void Evaluations() {
    for (const EvaluationFigures& e : figures_.evaluations) {
      const std::string says = absl::StrCat(
          e.name, " ", Percent(e.first), " [", Percent(e.first_low), ", ", Percent(e.first_high),
          "] after iteration ", e.first_iteration, ", ", Percent(e.last), " [", Percent(e.last_low),
          ", ", Percent(e.last_high), "] after ", e.last_iteration);
      if (e.last_high < e.first_low) {
        Add(Severity::kProblem, "evaluation", says,
            "answers on tasks that are not trained on got worse: lower the learning rate, evaluate "
            "as rollouts are sampled (evaluation.temperature), go back to an earlier checkpoint");
      } else if (e.last_low > e.first_high) {
        Add(Severity::kFine, "evaluation", says);
      } else {
        Add(Severity::kNotice, "evaluation", says,
            "the two cannot be told apart: more iterations, or more tasks (evaluation.limit)");
      }
    }
  }

  // Rises by less than two standard errors of its own noise: not told from standing still.
  void Reward() {
    const std::vector<double>* curve = Curve("reward/mean");
    if (curve == nullptr || curve->size() < 4) return;
    const double before = MeanOf(*curve, End::kFirst), after = MeanOf(*curve, End::kLast);
    double step = 0;  // noise from neighbours' differences, which a slow trend hardly moves
    for (size_t i = 1; i < curve->size(); ++i) step += std::pow((*curve)[i] - (*curve)[i - 1], 2);
    const double noise = std::sqrt(step / 2 / static_cast<double>(curve->size() - 1));
    const double n = std::max(2.0, std::floor(static_cast<double>(curve->size()) / 5));
    const double error = noise * std::sqrt(2 / n);
    const std::string says = absl::StrFormat("mean reward %.3f at first, %.3f at last (noise %.3f)",
                                             before, after, error);
    if (after < before - 2 * error) {
      Add(Severity::kProblem, "reward", says + ": it falls",
          "look at entropy and policy/update_to_weight below; a lower learning rate is the first "
          "thing to try");
    } else if (after < before + 2 * error) {
      Add(Severity::kNotice, "reward", says + ": no rise to be told from noise",
          "the checks below say where the signal is lost");
    } else {
      Add(Severity::kFine, "reward", says);
    }
  }

  void Funnel() {
    const SampleFunnel& f = figures_.funnel;
    if (f.asked == 0) return;
    const double share = Share(f.trained, f.asked);
    const std::string says =
        absl::StrCat(Percent(share), " of the completions asked for were trained on");
    Add(share < 0.25  ? Severity::kProblem
        : share < 0.5 ? Severity::kNotice
                      : Severity::kFine,
        "funnel", says, "the largest step of the funnel says where the others were lost");
  }

  void DeadGroups() {
    const GroupFigures& g = figures_.groups;
    if (g.judged == 0) return;
    const double wrong = Share(g.judged - g.solved, g.judged);
    const double right = Share(g.all_right, g.judged);
    const std::string says = absl::StrCat(Percent(wrong), " of groups all wrong, ", Percent(right),
                                          " all right: those teach nothing about accuracy");
    if (wrong >= 0.5) {
      Add(Severity::kProblem, "dead_groups", says,
          "tasks are too hard for this policy: easier ones, a difficulty band, a larger "
          "rollout.group_size, or a stronger base");
    } else if (right >= 0.5) {
      Add(Severity::kNotice, "dead_groups", says,
          "tasks are too easy by now: harder ones, a pass-rate filter, or the run is done");
    } else {
      Add(Severity::kFine, "dead_groups", says);
    }
  }

  void Headroom() {
    const GroupFigures& g = figures_.groups;
    const auto correct = figures_.outcomes.find("correct");
    const int64_t right = correct == figures_.outcomes.end() ? 0 : correct->second;
    if (g.judged == 0) return;
    const double pass_1 = Share(right, figures_.funnel.judged);
    const double pass_g = Share(g.solved, g.judged);
    const std::string says = absl::StrCat("pass@1 ", Percent(pass_1), ", pass@G ", Percent(pass_g),
                                          ": the gap is what RL can amplify");
    if (pass_g < 0.05) {
      Add(Severity::kProblem, "headroom", says,
          "the policy hardly ever finds a right answer, so there is nothing to amplify: pretrain "
          "on traces that hold some, or take easier tasks");
    } else if (pass_g - pass_1 < 0.02) {
      Add(Severity::kNotice, "headroom", says,
          "completions of a group agree: a higher temperature or harder tasks");
    } else {
      Add(Severity::kFine, "headroom", says);
    }
  }

  void Truncation() {
    const std::vector<double>* curve = Curve("completion/truncated_share");
    if (curve == nullptr) return;
    const double share = MeanOf(*curve, End::kLast);
    Add(share > 0.2    ? Severity::kProblem
        : share > 0.05 ? Severity::kNotice
                       : Severity::kFine,
        "truncation", absl::StrCat(Percent(share), " of completions cut off lately"),
        "raise rollout.max_tokens; overlong shaping (preset dapo) keeps length in hand");
  }

  void Format() {
    const auto part = std::find_if(figures_.parts.begin(), figures_.parts.end(),
                                   [](const PartFigures& p) { return p.name == "format"; });
    const auto correct = figures_.outcomes.find("correct");
    const int64_t right = correct == figures_.outcomes.end() ? 0 : correct->second;
    if (part != figures_.parts.end() && part->count > 0) {
      const double conflict = Share(figures_.right_without_format, right);
      const std::string says = absl::StrCat("format holds for ", Percent(part->mean), "; ",
                                            Percent(conflict), " of right answers break it");
      if (part->max == 0) {
        Add(Severity::kProblem, "format", says,
            "no completion keeps the format rule: does the prompt already end in <think>? Then "
            "the rule is strict_prefilled");
      } else {
        Add(conflict > 0.2 || part->mean < 0.2 ? Severity::kNotice : Severity::kFine, "format",
            says, "format and accuracy pull apart: look at some with hone inspect --outcome");
      }
    }
    const auto unparsable = figures_.outcomes.find("unparsable");
    if (unparsable == figures_.outcomes.end()) return;
    const double share = Share(unparsable->second, figures_.funnel.judged);
    Add(share > 0.5   ? Severity::kProblem
        : share > 0.2 ? Severity::kNotice
                      : Severity::kFine,
        "unparsable", absl::StrCat(Percent(share), " of completions hold no answer to be read"),
        "hone inspect RUN --outcome unparsable shows them; truncation and format are the usual "
        "causes");
  }

  void Parts() {
    for (const PartFigures& part : figures_.parts) {
      if (part.count == 0) {
        Add(Severity::kProblem, "reward_part", absl::StrCat(part.name, " was never computed"),
            "its verifier gives no such figure, or its gate never opened");
      } else if (part.min == part.max) {
        Add(Severity::kNotice, "reward_part",
            absl::StrFormat("%s is always %g: it moves nothing", part.name, part.min),
            "a part that never varies gives no advantage: drop it, or look at its verifier");
      }
    }
  }

  void Verifier() {
    const SampleFunnel& f = figures_.funnel;
    if (f.asked == 0) return;
    const double outage = Share(f.outages, f.asked), skipped = Share(f.skipped, f.asked);
    const std::string says = absl::StrCat(Percent(outage), " of verdicts lost to outages, ",
                                          Percent(skipped), " skipped");
    Add(outage > 0.05 || skipped > 0.2 ? Severity::kProblem
        : outage + skipped > 0.01      ? Severity::kNotice
                                       : Severity::kFine,
        "verifier", says,
        "outages: is the verifier service up, are its limits too tight? Skipped: golds or tests "
        "that cannot be read (hone data)");
  }

  void Entropy() {
    const std::vector<double>* curve = Curve("policy/entropy");
    if (curve == nullptr || curve->size() < 2) return;
    const double before = MeanOf(*curve, End::kFirst), after = MeanOf(*curve, End::kLast);
    const std::string says =
        absl::StrFormat("entropy %.4f at first, %.4f at last, nats a token", before, after);
    if (after < 0.1 * before || after < 1e-3) {
      Add(Severity::kNotice, "entropy", says + ": collapsed",
          "the policy stopped exploring: clip-higher (preset dapo), a lower learning rate, or a "
          "KL to the reference");
    } else if (after > 2 * before) {
      Add(Severity::kProblem, "entropy", says + ": it drifts towards noise",
          "a lower learning rate, or a KL to the reference");
    } else {
      Add(Severity::kFine, "entropy", says);
    }
  }

  void Clipping() {
    const std::vector<double>* high = Curve("policy/clip_high_share");
    const std::vector<double>* low = Curve("policy/clip_low_share");
    if (high == nullptr || low == nullptr) return;
    const double share = Mean(*high) + Mean(*low);
    Add(share > 0.3   ? Severity::kProblem
        : share > 0.1 ? Severity::kNotice
                      : Severity::kFine,
        "clipping", absl::StrCat(Percent(share), " of tokens had their ratio clipped"),
        "fewer minibatches or epochs an iteration, or a lower learning rate");
  }

  void Divergence() {
    for (const auto& [name, curve] : figures_.metrics) {
      if (!absl::StartsWith(name, "policy/kl_") || curve.empty()) continue;
      const double kl = MeanOf(curve, End::kLast);
      Add(kl > 1     ? Severity::kProblem
          : kl > 0.2 ? Severity::kNotice
                     : Severity::kFine,
          "kl", absl::StrFormat("%s %.4f nats a token lately", name, kl),
          "the policy left its reference: a larger KL coefficient, or a reset of the reference");
    }
  }

  void StepSize() {
    const std::vector<double>* curve = Curve("policy/update_to_weight");
    if (curve == nullptr) return;
    const double ratio = MeanOf(*curve, End::kLast);
    const std::string says =
        absl::StrFormat("an update moves weights by %.2g of their size", ratio);
    if (ratio == 0) {
      Add(Severity::kProblem, "step_size", says,
          "nothing is updated: are all groups flat, or is the learning rate 0?");
    } else {
      Add(ratio < 1e-6 || ratio > 1e-2 ? Severity::kNotice : Severity::kFine, "step_size", says,
          ratio < 1e-6 ? "that is hardly a step: raise learner.optimizer.learning_rate"
                       : "that is a large step: lower learner.optimizer.learning_rate");
    }
  }

  void Exactness() {
    if (const std::vector<double>* gap = Curve("train/generator_learner_gap")) {
      const double most = *std::max_element(gap->begin(), gap->end());
      Add(most == 0 ? Severity::kFine : Severity::kProblem, "generator_learner_gap",
          absl::StrFormat("largest gap between sampling and training logprobs %g", most),
          "generator and learner do not compute the same policy: different builds or kernels?");
    }
    if (const std::vector<double>* stale = Curve("train/staleness_mean")) {
      const double mean = Mean(*stale);
      Add(mean > 1 ? Severity::kNotice : Severity::kFine, "staleness",
          absl::StrFormat("completions are %.2f versions behind on average", mean),
          "fewer iterations in flight");
    }
  }

  void Experts() {
    const std::vector<double>* load = Curve("moe/load_max_over_mean");
    if (load == nullptr) return;
    const double ratio = MeanOf(*load, End::kLast);
    Add(ratio > 4 ? Severity::kNotice : Severity::kFine, "expert_load",
        absl::StrFormat("the busiest expert has %.2f times the mean load", ratio),
        "a router bias update or balance loss in pretraining spreads it");
  }

  const RunFigures& figures_;
  std::vector<Finding> findings_;
};

}  // namespace

const std::vector<std::string>& DiagnosedMetrics() {
  static const auto* const names = new std::vector<std::string>{"completion/truncated_share",
                                                                "moe/load_max_over_mean",
                                                                "policy/clip_high_share",
                                                                "policy/clip_low_share",
                                                                "policy/entropy",
                                                                "policy/kl_k1",
                                                                "policy/kl_k2",
                                                                "policy/kl_k3",
                                                                "policy/update_to_weight",
                                                                "reward/mean",
                                                                "train/generator_learner_gap",
                                                                "train/staleness_mean"};
  return *names;
}

const char* SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kFine:
      return "fine";
    case Severity::kNotice:
      return "notice";
    case Severity::kProblem:
      return "problem";
  }
  return "fine";
}

std::vector<Finding> Diagnose(const RunFigures& figures) {
  return Checks(figures).Run();
}

}  // namespace hone
