// SPDX-License-Identifier: Apache-2.0
//
// A small world for rollout's tests: a word tokenizer, a fake policy over it, tasks from memory.
#ifndef HONE_TESTS_ROLLOUT_ROLLOUT_TESTING_H_
#define HONE_TESTS_ROLLOUT_ROLLOUT_TESTING_H_

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/tokenizer/tokenizer.h"
#include "rollout/rollout_worker.h"
#include "rollout/task_source.h"
#include "tests/policy/fake_policy.h"
#include "tests/verifier/fake_verifier.h"

namespace hone {

inline std::unique_ptr<Tokenizer> TestTokenizer() {
  absl::StatusOr<std::unique_ptr<Tokenizer>> made = ParseTokenizer(
      WordTokenizerJson({"<eos>"}, {"ask", "one", "two", "three", "yes", "no", "WAIT", "stop"}));
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

// Correct where the completion starts with "yes" or "one".
inline Outcome JudgeFirstWord(const Question& question) {
  const absl::string_view said = question.completion();
  return absl::StartsWith(said, "yes") || absl::StartsWith(said, "one") ? Outcome::kCorrect
                                                                        : Outcome::kWrong;
}

// Tokenizer, policy, one verifier called "exact", options for groups of four.
struct World {
  World() : tokenizer(TestTokenizer()), policy(PolicyOptions(*tokenizer)) {
    verifier = std::make_shared<FakeVerifier>(JudgeFirstWord);
    verifiers.Add("exact", verifier);
    options.default_verifier = "exact";
    options.run_id = "0123456789abcdef0123456789abcdef";
    options.group_size = 4;
    options.sampling.max_tokens = 8;
    options.reward.parts.push_back({});
    options.reward.parts.back().name = "accuracy";
  }

  static FakePolicyOptions PolicyOptions(const Tokenizer& tokenizer) {
    FakePolicyOptions options;
    options.vocabulary = tokenizer.size();
    options.context_tokens = 32;
    return options;
  }

  GroupJob Job(uint64_t ordinal) const {
    GroupJob job;
    job.task.id = absl::StrCat("test/", ordinal);
    job.task.source = "test";
    job.task.prompt = ordinal % 2 == 0 ? "ask one" : "ask two three";
    job.task.answer = "yes";
    job.key.run_seed = 7;
    job.key.group_ordinal = ordinal;
    job.iteration = 3;
    return job;
  }
  std::vector<GroupJob> Jobs(uint64_t count) const {
    std::vector<GroupJob> jobs;
    for (uint64_t i = 0; i < count; ++i) jobs.push_back(Job(i));
    return jobs;
  }
  RolloutWorker Worker() { return RolloutWorker(policy, verifiers, *tokenizer, options); }

  std::unique_ptr<Tokenizer> tokenizer;
  FakePolicy policy;
  std::shared_ptr<FakeVerifier> verifier;
  VerifierPool verifiers;
  RolloutOptions options;
};

// Everything of a group that must not depend on who made it, as text.
inline std::string Fingerprint(const Group& group) {
  std::string text =
      absl::StrCat(group.id, " ", group.task.id, " asked ", group.asked, " outages ", group.outages,
                   " skipped ", group.skipped, " drop ", DropReasonName(group.drop), " mean ",
                   group.baseline, " std ", group.reward_std, "\n");
  for (const Trajectory& t : group.trajectories) {
    absl::StrAppend(&text, t.id, " ", OutcomeName(t.verdict.outcome), " ", t.reward.total, " ",
                    t.advantage, ":");
    for (size_t i = 0; i < t.tokens.size(); ++i) {
      absl::StrAppend(&text, " ", t.tokens[i], "/", t.behaviour_logprobs[i]);
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

class ListSource : public TaskSource {
 public:
  explicit ListSource(std::vector<Task> tasks) : tasks_(std::move(tasks)) {}
  std::string name() const override { return "list"; }
  int64_t size() const override { return static_cast<int64_t>(tasks_.size()); }
  absl::StatusOr<Task> At(int64_t index) const override {
    if (index < 0 || index >= size()) return absl::OutOfRangeError("no such task");
    return tasks_[static_cast<size_t>(index)];
  }

 private:
  std::vector<Task> tasks_;
};

// A file of the test's own, removed at the end.
class TestFile {
 public:
  explicit TestFile(const std::string& text, const std::string& name = "tasks.jsonl") {
    path_ = absl::StrCat(::testing::TempDir(), "/", getpid(), "_", count_++, "_", name);
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TestFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  static inline int count_ = 0;
  std::string path_;
};

}  // namespace hone

#endif  // HONE_TESTS_ROLLOUT_ROLLOUT_TESTING_H_
