// SPDX-License-Identifier: Apache-2.0
#include <numeric>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "rollout/tasks/expression.h"
#include "tests/rollout/rollout_testing.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<TaskSource> Make(const std::string& name, uint64_t seed,
                                 const TaskOptions& options = {}) {
  absl::StatusOr<std::unique_ptr<TaskSource>> made = MakeGenerator(name, seed, options);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

// A verdict of the real verifier on a completion of the task.
Outcome Judge(const Task& task, const std::string& completion) {
  absl::StatusOr<std::unique_ptr<Verifier>> verifier = MakeVerifier(task.verifier, {});
  EXPECT_TRUE(verifier.ok()) << verifier.status();
  Question question;
  question.segments = {{"user", "prompt", task.prompt}, {"assistant", "model", completion}};
  question.stop_reason = "stop_token";
  question.answer = task.answer;
  question.tests_json = task.tests_json;
  question.metadata = task.metadata;
  const absl::StatusOr<std::vector<Verdict>> verdicts = (*verifier)->Verify({question});
  EXPECT_TRUE(verdicts.ok()) << verdicts.status();
  return (*verdicts)[0].outcome;
}

TEST(Generators, ThereAreAtLeastEightAndAllAreListed) {
  const std::vector<GeneratorInfo> list = ListGenerators();
  EXPECT_GE(list.size(), 8u);
  for (const GeneratorInfo& info : list) {
    EXPECT_FALSE(info.description.empty());
    EXPECT_TRUE(MakeGenerator(info.name, 1, {}).ok()) << info.name;
  }
}

TEST(Generators, ATaskIsAFunctionOfNameSeedAndIndex) {
  for (const GeneratorInfo& info : ListGenerators()) {
    const auto source = Make(info.name, 5);
    const auto again = Make(info.name, 5);
    const auto other = Make(info.name, 6);
    int different = 0;
    for (int64_t i : {9, 0, 3, 77, 0}) {
      EXPECT_EQ(source->At(i)->Hash(), again->At(i)->Hash()) << info.name;
      if (source->At(i)->prompt != other->At(i)->prompt) ++different;
    }
    EXPECT_GT(different, 0) << info.name << ": the seed has no effect";
    EXPECT_FALSE(source->At(-1).ok());
  }
}

TEST(Generators, TheirOwnAnswersAreCorrectForTheirOwnVerifiers) {
  for (const GeneratorInfo& info : ListGenerators()) {
    const auto source = Make(info.name, 11);
    if (source->At(0)->verifier == "code") continue;  // needs a sandbox: tests/integration
    for (int64_t i = 0; i < 50; ++i) {
      const Task task = *source->At(i);
      EXPECT_EQ(Judge(task, "<think> x </think> <answer> " + task.answer + " </answer>"),
                Outcome::kCorrect)
          << info.name << ": " << task.prompt << " -> " << task.answer;
      EXPECT_NE(Judge(task, "<think> x </think> <answer> " + task.answer + "1 </answer>"),
                Outcome::kCorrect)
          << info.name;
    }
  }
}

TEST(Generators, HeldOutTasksAreNeverTrainTasksWhateverTheSeed) {
  for (const GeneratorInfo& info : ListGenerators()) {
    std::set<std::string> train, heldout;
    for (uint64_t seed : {1, 2}) {
      const auto trains = Make(info.name, seed);
      const auto heldouts = Make(info.name, seed, {{"split", "heldout"}});
      for (int64_t i = 0; i < 300; ++i) {
        EXPECT_EQ(trains->At(i)->split, "train");
        EXPECT_EQ(heldouts->At(i)->split, "heldout");
        train.insert(trains->At(i)->prompt);
        heldout.insert(heldouts->At(i)->prompt);
      }
    }
    for (const std::string& prompt : heldout) EXPECT_EQ(train.count(prompt), 0u) << prompt;
  }
}

TEST(Generators, HeldoutShareIsTheShareHeldOut) {
  const auto all = Make("gcd", 3, {{"split", "all"}, {"heldout_share", "0.3"}});
  int heldout = 0;
  for (int64_t i = 0; i < 4000; ++i) heldout += all->At(i)->split == "heldout" ? 1 : 0;
  EXPECT_NEAR(heldout / 4000.0, 0.3, 0.05);
}

TEST(Generators, RefuseUnknownOptionsByNameAndListTheKnown) {
  const absl::Status status = MakeGenerator("gcd", 1, {{"max_nmuber", "5"}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "generator 'gcd' has no option 'max_nmuber'; its options are heldout_share, "
            "max_number, split");
}

TEST(Generators, RefuseValuesOutOfRange) {
  const std::vector<std::pair<std::string, TaskOptions>> bad = {
      {"gcd", {{"max_number", "many"}}},
      {"gcd", {{"max_number", "1"}}},
      {"gcd", {{"split", "test"}}},
      {"gcd", {{"heldout_share", "nan"}}},
      {"gcd", {{"heldout_share", "1"}}},
      {"gcd", {{"heldout_share", "0"}, {"split", "heldout"}}},
      {"chain_sum", {{"min_terms", "5"}, {"max_terms", "4"}}},
      {"countdown", {{"min_target", "200"}, {"max_target", "100"}}},
      {"mini_countdown", {{"max_number", "21"}}},
  };
  for (const auto& [name, options] : bad) {
    EXPECT_EQ(MakeGenerator(name, 1, options).status().code(), absl::StatusCode::kInvalidArgument)
        << name << " " << options.begin()->first;
  }
}

TEST(Generators, AnUnknownNameListsTheKnownOnes) {
  const absl::Status status = MakeGenerator("gdc", 1, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("gcd"));
}

TEST(MiniCountdown, ListsEveryTaskOnceAndHoldsOutAThousand) {
  std::set<std::string> prompts;
  std::set<std::string> triples;
  for (const char* split : {"train", "heldout"}) {
    const auto source = Make("mini_countdown", 1, {{"split", split}});
    const size_t before = prompts.size();
    std::set<std::string> own;
    for (int64_t i = 0; i < source->size(); ++i) {
      const Task task = *source->At(i);
      prompts.insert(task.prompt);
      own.insert(task.metadata.at("nums"));
    }
    EXPECT_EQ(static_cast<int64_t>(prompts.size() - before), source->size());
    EXPECT_GE(source->size(), 1000) << split;
    for (const std::string& triple : own) {
      EXPECT_TRUE(triples.insert(triple).second) << triple << " is on both sides";
    }
  }
  EXPECT_EQ(triples.size(), 1000u);
}

TEST(MiniCountdown, IsWrittenInWords) {
  const Task task = *Make("mini_countdown", 1)->At(0);
  const std::vector<std::string> words = absl::StrSplit(task.prompt, ' ');
  ASSERT_EQ(words.size(), 6u);
  EXPECT_EQ(words[0], "numbers");
  EXPECT_EQ(words[4], "target");
  EXPECT_EQ(absl::StrCat("[", words[1], ",", words[2], ",", words[3], "]"),
            task.metadata.at("nums"));
  EXPECT_EQ(words[5], task.metadata.at("target"));
}

TEST(Generators, PromptsOfWordGeneratorsEncodeWithTheirWords) {
  for (const char* name :
       {"mini_countdown", "running_sum", "parity", "chain_sum", "tiny_programs"}) {
    const absl::StatusOr<std::vector<std::string>> words = GeneratorWords(name, {});
    ASSERT_TRUE(words.ok()) << words.status();
    EXPECT_EQ(std::set<std::string>(words->begin(), words->end()).size(), words->size()) << name;
    const auto tokenizer = ParseTokenizer(WordTokenizerJson({"<eos>"}, *words));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    for (const char* split : {"train", "heldout"}) {
      const auto source = Make(name, 2, {{"split", split}});
      for (int64_t i = 0; i < 200; ++i) {
        const std::string prompt = source->At(i)->prompt;
        const auto tokens = (*tokenizer)->Encode(prompt);
        ASSERT_TRUE(tokens.ok()) << tokens.status();
        EXPECT_EQ((*tokenizer)->Decode(*tokens), prompt);
      }
    }
  }
}

TEST(GeneratorWords, AreRefusedForFreeText) {
  EXPECT_EQ(GeneratorWords("countdown", {}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(GeneratorWords("mini_countdown", {{"nonsense", "1"}}).ok());
}

TEST(GeneratorWords, OfMiniCountdownAreAllUsedByItsTraces) {
  const TaskOptions small = {{"max_number", "3"}, {"heldout_share", "0"}};
  const std::vector<std::string> words = *GeneratorWords("mini_countdown", small);
  std::set<std::string> unused(words.begin(), words.end());
  const auto traces = MakeTraceGenerator("mini_countdown", 1, small);
  ASSERT_TRUE(traces.ok());
  for (int64_t i = 0; i < 4000; ++i) {
    const Document document = *(*traces)->At(i);
    for (absl::string_view word : absl::StrSplit(document.prompt, ' ')) {
      unused.erase(std::string(word));
    }
    for (absl::string_view word : absl::StrSplit(document.completion, ' ')) {
      unused.erase(std::string(word));
    }
  }
  EXPECT_THAT(unused, ::testing::IsEmpty());
}

TEST(Expression, SolutionsAreRightAndMissingOnesAreNone) {
  KeyedRandom random(SampleKey{});
  for (int i = 0; i < 20; ++i) {
    const auto found = DrawSolution({25, 93, 15, 30}, 70, random);
    ASSERT_TRUE(found.has_value());
    EXPECT_TRUE(found->whole());
    EXPECT_EQ(found->numerator, 70);
    EXPECT_THAT(found->steps, ::testing::EndsWith(" = 70"));
  }
  EXPECT_FALSE(DrawSolution({96, 62, 61, 65}, 62, random).has_value());
  // 8 / (3 - 8 / 3) = 24 needs fractions on the way.
  EXPECT_TRUE(DrawSolution({3, 3, 8, 8}, 24, random).has_value());
}

TEST(Expression, RefusesNumbersThatCouldOverflow) {
  EXPECT_EQ(CheckNumbers({99, 99, 99, 99, 99, 99}), "");
  EXPECT_NE(CheckNumbers({}), "");
  EXPECT_NE(CheckNumbers({1, 1, 1, 1, 1, 1, 1}), "");
  EXPECT_NE(CheckNumbers({0, 1}), "");
  EXPECT_NE(CheckNumbers({1000000, 1000001}), "");
}

}  // namespace
}  // namespace hone
