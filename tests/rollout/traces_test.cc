// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <set>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "rollout/tasks/problems.h"
#include "tests/rollout/rollout_testing.h"
#include "verifier/rules/format_rule.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<DocumentSource> Make(const std::string& name, const TaskOptions& options,
                                     uint64_t seed = 1) {
  absl::StatusOr<std::unique_ptr<DocumentSource>> made = MakeTraceGenerator(name, seed, options);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

int Count(const std::string& text, const std::string& word) {
  int count = 0;
  for (absl::string_view part : absl::StrSplit(text, absl::ByAnyChar(" \n"))) {
    count += part == word ? 1 : 0;
  }
  return count;
}

bool IsCorrectCountdown(const std::vector<std::string>& prompt_words, const std::string& text) {
  const auto verifier = MakeVerifier("countdown", {});
  EXPECT_TRUE(verifier.ok());
  Question question;
  question.segments = {{"user", "prompt", "p"}, {"assistant", "model", text}};
  question.stop_reason = "stop_token";
  question.metadata["nums"] =
      absl::StrCat("[", prompt_words[1], ",", prompt_words[2], ",", prompt_words[3], "]");
  question.metadata["target"] = prompt_words[5];
  return (*(*verifier)->Verify({question}))[0].outcome == Outcome::kCorrect;
}

TEST(MiniCountdownTraces, HoldTheMixtureAskedForInTheStrictForm) {
  const auto traces = Make("mini_countdown", {});
  int guesses = 0, searches = 0, right_guesses = 0;
  const int kDocuments = 4000;
  for (int64_t i = 0; i < kDocuments; ++i) {
    const Document document = *traces->At(i);
    const std::vector<std::string> prompt = absl::StrSplit(document.prompt, ' ');
    ASSERT_TRUE(CheckFormat(FormatRule::kStrict, document.completion, false).ok)
        << document.completion;
    const bool correct = IsCorrectCountdown(prompt, document.completion);
    if (Count(document.completion, "guess") > 0) {
      ++guesses;
      right_guesses += correct ? 1 : 0;
    } else if (Count(document.completion, "OK") > 0) {
      ++searches;
      EXPECT_TRUE(correct) << document.prompt << " | " << document.completion;
    }
    EXPECT_LE(Count(document.completion, "WAIT"), 5);
  }
  EXPECT_NEAR(guesses / double{kDocuments}, 0.60, 0.03);
  EXPECT_NEAR(searches / double{kDocuments}, 0.15, 0.02);
  EXPECT_NEAR(right_guesses / static_cast<double>(guesses), 1.0 / 6, 0.04);
}

TEST(MiniCountdownTraces, SearchesComputeCompareAndNeverTryTwice) {
  const auto traces = Make("mini_countdown", {{"search_share", "1"}, {"try_share", "0"}});
  double waits = 0;
  for (int64_t i = 0; i < 500; ++i) {
    const Document document = *traces->At(i);
    const std::vector<std::string> prompt = absl::StrSplit(document.prompt, ' ');
    const std::string reason =
        document.completion.substr(8, document.completion.find(" </think>") - 8);
    std::set<std::string> tried;
    const std::vector<std::string> tries = absl::StrSplit(reason, " WAIT ");
    for (size_t t = 0; t < tries.size(); ++t) {
      EXPECT_TRUE(tried.insert(tries[t]).second) << reason;
      const std::vector<std::string> words = absl::StrSplit(tries[t], ' ');
      const bool last = t + 1 == tries.size();
      ASSERT_EQ(words.size(), last ? 14u : 13u) << tries[t];
      EXPECT_EQ(words[4], words[6]);
      EXPECT_EQ(words[11], "vs");
      EXPECT_EQ(words[12], prompt[5]) << "what it is compared with is the target";
      EXPECT_EQ(words[10] == prompt[5], last) << document.prompt << " | " << reason;
    }
    waits += static_cast<double>(tries.size()) - 1;
  }
  EXPECT_NEAR(waits / 500, 2.4, 0.4);
}

TEST(MiniCountdownTraces, AShortStyleKeepsSignsAndValuesOnly) {
  const auto traces =
      Make("mini_countdown", {{"search_share", "1"}, {"try_share", "0"}, {"style", "short"}});
  for (int64_t i = 0; i < 200; ++i) {
    const Document document = *traces->At(i);
    const std::vector<std::string> prompt = absl::StrSplit(document.prompt, ' ');
    EXPECT_TRUE(IsCorrectCountdown(prompt, document.completion));
    EXPECT_THAT(document.completion,
                HasSubstr(absl::StrCat(" ", prompt[5], " vs ", prompt[5], " OK </think>")));
    EXPECT_EQ(Count(document.completion, "="), 0);
  }
}

TEST(MiniCountdownTraces, NeverShowAHeldOutTriple) {
  std::set<std::string> heldout;
  const auto tasks = MakeGenerator("mini_countdown", 9, {{"split", "heldout"}});
  ASSERT_TRUE(tasks.ok());
  for (int64_t i = 0; i < (*tasks)->size(); ++i) {
    const std::vector<std::string> words = absl::StrSplit((*tasks)->At(i)->prompt, ' ');
    heldout.insert(absl::StrCat(words[1], " ", words[2], " ", words[3]));
  }
  for (uint64_t seed : {1, 2, 3}) {
    const auto traces = Make("mini_countdown", {}, seed);
    for (int64_t i = 0; i < 3000; ++i) {
      const std::vector<std::string> words = absl::StrSplit(traces->At(i)->prompt, ' ');
      ASSERT_EQ(heldout.count(absl::StrCat(words[1], " ", words[2], " ", words[3])), 0u);
    }
  }
}

TEST(MiniCountdownTraces, WithoutSearchesGuessesTakeTheRest) {
  const auto traces = Make("mini_countdown", {{"search_share", "0"}});
  int guesses = 0;
  for (int64_t i = 0; i < 2000; ++i) {
    const Document document = *traces->At(i);
    EXPECT_EQ(Count(document.completion, "WAIT") + Count(document.completion, "OK"), 0);
    guesses += Count(document.completion, "guess");
  }
  EXPECT_NEAR(guesses / 2000.0, 0.75, 0.03);
}

TEST(MiniCountdownTraces, EncodeWithTheGeneratorsWords) {
  const auto tokenizer =
      ParseTokenizer(WordTokenizerJson({"<eos>"}, *GeneratorWords("mini_countdown", {})));
  ASSERT_TRUE(tokenizer.ok());
  const auto traces = Make("mini_countdown", {});
  for (int64_t i = 0; i < 500; ++i) {
    const Document document = *traces->At(i);
    const auto tokens = (*tokenizer)->Encode(document.completion);
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    EXPECT_EQ((*tokenizer)->Decode(*tokens), document.completion);
  }
}

TEST(Traces, RefuseSharesThatDoNotSumToOneAndASplit) {
  for (const TaskOptions& options :
       {TaskOptions{{"guess_share", "0.5"}}, TaskOptions{{"try_share", "0.9"}},
        TaskOptions{{"split", "heldout"}}, TaskOptions{{"cot_share", "0.5"}}}) {
    EXPECT_EQ(MakeTraceGenerator("mini_countdown", 1, options).status().code(),
              absl::StatusCode::kInvalidArgument)
        << options.begin()->first;
  }
  EXPECT_FALSE(MakeTraceGenerator("gcd", 1, {}).ok()) << "it has no traces";
}

TEST(Traces, ADocumentIsAFunctionOfSeedAndIndex) {
  for (const char* name : {"mini_countdown", "running_sum", "parity", "chain_sum", "countdown"}) {
    const auto traces = Make(name, {});
    const auto again = Make(name, {});
    const auto other = Make(name, {}, 2);
    EXPECT_LT(traces->size(), 0);
    int different = 0;
    for (int64_t i : {50, 3, 50, 0}) {
      EXPECT_EQ(traces->At(i)->prompt, again->At(i)->prompt);
      EXPECT_EQ(traces->At(i)->completion, again->At(i)->completion);
      different += traces->At(i)->prompt != other->At(i)->prompt ? 1 : 0;
    }
    EXPECT_GT(different, 0);
  }
}

TEST(RunningSumTraces, WriteTheRunningTotalsWhereTheyThink) {
  const auto traces = Make("running_sum", {{"digits", "5"}, {"cot_share", "1"}});
  for (int64_t i = 0; i < 50; ++i) {
    const Document document = *traces->At(i);
    const std::vector<std::string> prompt = absl::StrSplit(document.prompt, ' ');
    ASSERT_EQ(prompt.size(), 8u) << document.prompt;
    int sum = 0;
    std::string expected = "<think>";
    for (int d = 1; d <= 5; ++d) {
      sum = (sum + std::stoi(prompt[static_cast<size_t>(d)])) % 10;
      absl::StrAppend(&expected, " ", sum);
    }
    absl::StrAppend(&expected, " </think> <answer> ", sum, " </answer>");
    EXPECT_EQ(document.completion, expected);
  }
}

TEST(RunningSumTraces, HoldTheSharesOfThoughtAndOfForm) {
  const auto traces = Make("running_sum", {{"cot_share", "0.25"}, {"format_share", "0.3"}});
  int thought = 0, formed = 0;
  for (int64_t i = 0; i < 4000; ++i) {
    const std::string text = traces->At(i)->completion;
    thought += Count(text, "guess") == 0 ? 1 : 0;
    formed += CheckFormat(FormatRule::kStrict, text, false).ok ? 1 : 0;
  }
  EXPECT_NEAR(thought / 4000.0, 0.25, 0.03);
  EXPECT_NEAR(formed / 4000.0, 0.3, 0.03);
}

TEST(CountdownTraces, ContinueTheTemplatesOpenedThink) {
  const auto traces = Make("countdown", {{"search_share", "0.5"}});
  int solved = 0;
  for (int64_t i = 0; i < 300; ++i) {
    const Document document = *traces->At(i);
    EXPECT_THAT(document.prompt, ::testing::EndsWith("step by step.\n<think>"));
    EXPECT_TRUE(CheckFormat(FormatRule::kStrictPrefilled, document.completion, false).ok)
        << document.completion;
    solved += Count(document.completion, "OK");
  }
  EXPECT_NEAR(solved / 300.0, 0.5, 0.1);
}

TEST(CountdownTraces, TakeTheirTasksFromAFile) {
  const TestFile file("{\"nums\": [2, 3, 4], \"target\": 14, \"prompt\": \"any\"}\n");
  const auto traces =
      Make("countdown", {{"file", file.path()}, {"search_share", "1"}, {"try_share", "0"}});
  for (int64_t i = 0; i < 20; ++i) {
    const Document document = *traces->At(i);
    EXPECT_THAT(document.prompt, HasSubstr("Using the numbers [2, 3, 4], create an equation that "
                                           "equals 14. You can use basic arithmetic operations"));
    EXPECT_THAT(document.completion, HasSubstr(" = 14 OK </think>\n<answer> "));
  }
  EXPECT_FALSE(
      MakeTraceGenerator("countdown", 1, {{"file", file.path()}, {"max_number", "50"}}).ok())
      << "a generator's option does not apply to a file";
  const TestFile bad("{\"nums\": [2, 0], \"target\": 14}\n");
  EXPECT_THAT(
      std::string(MakeTraceGenerator("countdown", 1, {{"file", bad.path()}}).status().message()),
      HasSubstr(absl::StrCat(bad.path(), ":1: number 0")));
}

TEST(CountdownTraces, SolveTheRealTasks) {
  const char* data = std::getenv("HONE_DATA_DIR");
  if (data == nullptr) GTEST_SKIP() << "not run: HONE_DATA_DIR is not set";
  const auto traces = Make("countdown", {{"file", absl::StrCat(data, "/countdown/train.jsonl")},
                                         {"search_share", "1"},
                                         {"try_share", "0"}});
  for (int64_t i = 0; i < 300; ++i) {
    EXPECT_THAT(traces->At(i)->completion, HasSubstr(" OK </think>")) << i;
  }
}

}  // namespace
}  // namespace hone
