// SPDX-License-Identifier: Apache-2.0
#include "rollout/diagnosis.h"

#include "gtest/gtest.h"

namespace hone {
namespace {

// A run that learns, with nothing to say against it.
RunFigures Healthy() {
  RunFigures f;
  f.first_iteration = 1;
  f.last_iteration = 10;
  f.funnel = {100, 800, 0, 0, 800, 80, 0, 720};
  f.groups = {100, 90, 10};
  f.outcomes = {{"correct", 400}, {"wrong", 380}, {"unparsable", 20}};
  f.stops = {{"stop_token", 790}, {"length", 10}};
  f.parts = {{"accuracy", 800, 0, 0, 0, 1, 0.5}, {"format", 800, 0, 0, 0, 1, 0.95}};
  f.metrics = {{"reward/mean", {0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65}},
               {"completion/truncated_share", {0.02, 0.01}},
               {"policy/entropy", {0.5, 0.45, 0.4}},
               {"policy/clip_high_share", {0.01}},
               {"policy/clip_low_share", {0.01}},
               {"policy/kl_k3", {0.01}},
               {"policy/update_to_weight", {1e-4}},
               {"train/generator_learner_gap", {0, 0}},
               {"train/staleness_mean", {0}},
               {"moe/load_max_over_mean", {1.2}}};
  return f;
}

// The severity of a check, or "absent".
std::string Of(const RunFigures& figures, const std::string& check) {
  for (const Finding& finding : Diagnose(figures)) {
    if (finding.check == check) return SeverityName(finding.severity);
  }
  return "absent";
}

TEST(DiagnosisTest, NothingIsWrongWithARunThatLearns) {
  for (const Finding& finding : Diagnose(Healthy())) {
    EXPECT_EQ(finding.severity, Severity::kFine) << finding.check << ": " << finding.says;
    EXPECT_EQ(finding.advice, "") << finding.check;
  }
  EXPECT_EQ(Diagnose(Healthy()).size(), 15u);
}

TEST(DiagnosisTest, EachIllnessIsNamedAndComesWithAdvice) {
  struct Row {
    const char* check;
    const char* severity;
    void (*harm)(RunFigures&);
  };
  const Row rows[] = {
      {"reward", "problem",
       [](RunFigures& f) { f.metrics["reward/mean"] = {0.9, 0.8, 0.7, 0.6, 0.5, 0.4}; }},
      {"reward", "notice",
       [](RunFigures& f) { f.metrics["reward/mean"] = {0.5, 0.6, 0.4, 0.55, 0.45, 0.5}; }},
      {"funnel", "problem", [](RunFigures& f) { f.funnel.trained = 100; }},
      {"dead_groups", "problem", [](RunFigures& f) { f.groups.solved = 40; }},
      {"dead_groups", "notice", [](RunFigures& f) { f.groups.all_right = 60; }},
      {"headroom", "problem", [](RunFigures& f) { f.groups.solved = 1; }},
      {"headroom", "notice", [](RunFigures& f) { f.groups.solved = 51; }},
      {"truncation", "problem",
       [](RunFigures& f) {
         f.metrics["completion/truncated_share"] = {0.1, 0.5};
       }},
      {"format", "problem", [](RunFigures& f) { f.parts[1].max = f.parts[1].mean = 0; }},
      {"format", "notice", [](RunFigures& f) { f.right_without_format = 200; }},
      {"unparsable", "problem", [](RunFigures& f) { f.outcomes["unparsable"] = 600; }},
      {"reward_part", "notice", [](RunFigures& f) { f.parts[0].min = 1; }},
      {"reward_part", "problem", [](RunFigures& f) { f.parts[0].count = 0; }},
      {"verifier", "problem", [](RunFigures& f) { f.funnel.outages = 100; }},
      {"entropy", "notice",
       [](RunFigures& f) {
         f.metrics["policy/entropy"] = {0.5, 0.5, 0.01, 0.01};
       }},
      {"entropy", "problem",
       [](RunFigures& f) {
         f.metrics["policy/entropy"] = {0.5, 0.5, 2, 2};
       }},
      {"clipping", "problem", [](RunFigures& f) { f.metrics["policy/clip_high_share"] = {0.4}; }},
      {"kl", "problem", [](RunFigures& f) { f.metrics["policy/kl_k3"] = {2}; }},
      {"step_size", "problem", [](RunFigures& f) { f.metrics["policy/update_to_weight"] = {0}; }},
      {"step_size", "notice", [](RunFigures& f) { f.metrics["policy/update_to_weight"] = {1e-8}; }},
      {"generator_learner_gap", "problem",
       [](RunFigures& f) {
         f.metrics["train/generator_learner_gap"] = {0, 1e-7};
       }},
      {"staleness", "notice", [](RunFigures& f) { f.metrics["train/staleness_mean"] = {2}; }},
      {"expert_load", "notice", [](RunFigures& f) { f.metrics["moe/load_max_over_mean"] = {6}; }},
  };
  for (const Row& row : rows) {
    RunFigures figures = Healthy();
    row.harm(figures);
    EXPECT_EQ(Of(figures, row.check), row.severity) << row.check;
    for (const Finding& finding : Diagnose(figures)) {
      EXPECT_EQ(finding.advice.empty(), finding.severity == Severity::kFine) << finding.check;
    }
  }
}

TEST(DiagnosisTest, AnEvaluationThatFellIsAProblemWhateverTheRewardDid) {
  RunFigures f = Healthy();
  f.evaluations = {{"held", 0, 10, 0.5, 0.45, 0.55, 0.2, 0.16, 0.24}};
  EXPECT_EQ(Of(f, "evaluation"), SeverityName(Severity::kProblem));
  f.evaluations[0].last_high = 0.46;
  EXPECT_EQ(Of(f, "evaluation"), SeverityName(Severity::kNotice));
  f.evaluations = {{"held", 0, 10, 0.2, 0.16, 0.24, 0.5, 0.45, 0.55}};
  EXPECT_EQ(Of(f, "evaluation"), SeverityName(Severity::kFine));
}

TEST(DiagnosisTest, AnEmptyRunHasNoFindings) {
  EXPECT_TRUE(Diagnose(RunFigures()).empty());
}

}  // namespace
}  // namespace hone
