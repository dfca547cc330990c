// SPDX-License-Identifier: Apache-2.0
#include "rollout/import_traces.h"

#include "gtest/gtest.h"
#include "rollout/evaluate.h"

namespace hone {
namespace {

using Json = nlohmann::ordered_json;

Json Row(const char* model, const char* prompt_id, bool correct) {
  return {{"model", model},
          {"set", "sums"},
          {"prompt_id", prompt_id},
          {"prompt", "1+1?"},
          {"response", "so 2"},
          {"answer", "2"},
          {"pred", correct ? Json("2") : Json()},
          {"correct", correct},
          {"score", correct ? 1.0 : 0.25}};
}

TEST(TraceImportTest, GroupsByModelAndPromptInTheOrderOfTheFile) {
  TraceImport import;
  int64_t line = 0;
  for (const auto& row :
       {Row("b", "p", true), Row("a", "p", false), Row("b", "q", false), Row("b", "p", false)}) {
    ASSERT_TRUE(import.Add(++line, row).ok());
  }
  const auto models = import.Finish("run");
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0].name, "b");
  EXPECT_EQ(models[0].iteration, 1);
  EXPECT_EQ(models[0].samples, 2);
  ASSERT_EQ(models[0].sources.size(), 1u);
  const std::vector<Group>& groups = models[0].sources[0].second;
  ASSERT_EQ(groups.size(), 2u);
  const Group& p = groups[0];
  ASSERT_EQ(p.trajectories.size(), 2u);
  EXPECT_EQ(p.trajectories[0].verdict.outcome, Outcome::kCorrect);
  EXPECT_EQ(p.trajectories[1].verdict.outcome, Outcome::kUnparsable);
  EXPECT_DOUBLE_EQ(p.baseline, 0.625);
  EXPECT_GT(p.trajectories[0].advantage, 0);
  EXPECT_EQ(p.trajectories[0].completion(), "so 2");
  EXPECT_EQ(p.trajectories[0].completion_tokens(), 4);
  EXPECT_NE(p.trajectories[0].id, p.trajectories[1].id);
  EXPECT_NE(p.id, groups[1].id);
  EXPECT_EQ(groups[1].asked, 2);
  EXPECT_TRUE(groups[1].flat);
}

TEST(TraceImportTest, PassAtKCountsMissingSamplesAsNotRight) {
  TraceImport import;
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(import.Add(i + 1, Row("m", "p", i == 0)).ok());
  ASSERT_TRUE(import.Add(5, Row("m", "q", true)).ok());
  auto models = import.Finish("run");
  const Evaluation evaluation =
      EvaluationOf("sums", models[0].samples, std::move(models[0].sources[0].second));
  EXPECT_EQ(evaluation.n, 2);
  EXPECT_EQ(evaluation.k, 4);
  EXPECT_DOUBLE_EQ(evaluation.accuracy, 0.25);
  EXPECT_DOUBLE_EQ(evaluation.pass_at_k.at(2), 0.5);  // 1 - C(3,2)/C(4,2) for each
}

TEST(TraceImportTest, RowsWithoutAnIdGoByTheirPrompt) {
  TraceImport import;
  for (const char* prompt : {"x", "y", "x"}) {
    ASSERT_TRUE(import.Add(1, {{"prompt", prompt}, {"output", "o"}, {"correct", true}}).ok());
  }
  const auto models = import.Finish("run");
  ASSERT_EQ(models[0].sources[0].second.size(), 2u);
  EXPECT_EQ(models[0].sources[0].second[0].trajectories.size(), 2u);
}

TEST(TraceImportTest, ABadRowNamesItsLineAndKey) {
  const Json good = Row("m", "p", true);
  for (const char* key : {"response", "correct", "score", "prompt", "model"}) {
    Json row = good;
    row[key] = Json::array();
    TraceImport import;
    const absl::Status status = import.Add(7, row);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << key;
    EXPECT_NE(status.message().find("line 7: \"" + std::string(key)), std::string::npos) << status;
    EXPECT_EQ(import.rows(), 0);
  }
}

TEST(TraceImportTest, TheSameRowsAreTheSameRunAndOtherRowsAreNot) {
  TraceImport a, b, c;
  ASSERT_TRUE(a.Add(1, Row("m", "p", true)).ok());
  ASSERT_TRUE(b.Add(9, Row("m", "p", true)).ok());
  ASSERT_TRUE(c.Add(1, Row("m", "p", false)).ok());
  EXPECT_EQ(a.Fingerprint(), b.Fingerprint());
  EXPECT_NE(a.Fingerprint(), c.Fingerprint());
}

}  // namespace
}  // namespace hone
