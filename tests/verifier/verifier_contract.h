// SPDX-License-Identifier: Apache-2.0
//
// What every verifier promises, whoever wrote it and wherever it runs. To hold one to it:
//
//   INSTANTIATE_TEST_SUITE_P(Mine, VerifierContractTest, testing::Values(VerifierContract{
//       "mine", [] { return MakeMine(); }, right_question, wrong_question}), ContractName);
#ifndef HONE_TESTS_VERIFIER_VERIFIER_CONTRACT_H_
#define HONE_TESTS_VERIFIER_VERIFIER_CONTRACT_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "verifier/verifier.h"

namespace hone {

struct VerifierContract {
  std::string name;  // letters and digits
  std::function<std::shared_ptr<Verifier>()> make;
  Question right;          // judged correct
  Question wrong;          // judged a verdict other than correct
  bool needs_gold = true;  // false: judges the text alone, the same without a gold
};

inline std::string ContractName(const testing::TestParamInfo<VerifierContract>& info) {
  return info.param.name;
}

inline void PrintTo(const VerifierContract& contract, std::ostream* out) {
  *out << contract.name;
}

inline Question WithCompletion(Question question, std::string completion) {
  for (auto segment = question.segments.rbegin(); segment != question.segments.rend(); ++segment) {
    if (segment->kind != "model") continue;
    segment->text = std::move(completion);
    break;
  }
  return question;
}

inline Question WithoutGold(Question question) {
  question.answer.clear();
  question.tests_json.clear();
  question.metadata.clear();
  return question;
}

// Completions made to break a reader.
inline std::vector<std::string> HostileCompletions() {
  using std::string;
  const auto repeat = [](const string& piece, int times) {
    string out;
    for (int i = 0; i < times; ++i) out += piece;
    return out;
  };
  string every_byte;
  for (int c = 0; c < 256; ++c) every_byte.push_back(static_cast<char>(c));
  return {
      every_byte,
      "<think>a</think><answer>" + every_byte + "</answer>",
      string("<answer>4\0"
             "2</answer>",
             20),
      "<answer>\xC3\x28\xF0\x9F\x98\xED\xA0\x80</answer>",
      repeat("<answer>", 20000),
      repeat("</answer>", 20000),
      repeat("<think></think>", 20000),
      repeat("<answer>1</answer>", 20000),
      repeat("</think><think>", 20000),
      "<answer>" + repeat("\\boxed{", 20000) + "</answer>",
      repeat("\\boxed{1}", 20000),
      "<answer>" + repeat("(", 50000) + "1" + repeat(")", 50000) + "</answer>",
      "<answer>" + repeat("(", 1500) + "1" + repeat(")", 1500) + "</answer>",
      "<answer>" + repeat("-", 3000) + "1</answer>",
      "<answer>" + repeat("9", 4000) + "</answer>",
      "<answer>1e999999999</answer>",
      "<answer>1e-999999999</answer>",
      "<answer>0." + repeat("0", 3000) + "1</answer>",
      "<answer>1/0</answer>",
      "<answer>nan</answer>",
      "<answer>-inf</answer>",
      "<answer>\xEF\xBC\x94\xEF\xBC\x92</answer>",
      repeat("the answer is ", 20000),
      repeat("answer:\n\n", 20000),
      repeat("$ ", 20000),
      repeat("\\frac{", 20000),
      repeat("1,", 20000),
      repeat("1/", 20000),
      repeat("1 ", 20000) + repeat(" ", 20000),
  };
}

class VerifierContractTest : public testing::TestWithParam<VerifierContract> {
 protected:
  static Verdict JudgeOne(Verifier& verifier, const Question& question) {
    const auto verdicts = verifier.Verify({question});
    EXPECT_TRUE(verdicts.ok()) << verdicts.status();
    if (!verdicts.ok() || verdicts->size() != 1) {
      ADD_FAILURE() << "one question wants one verdict";
      return {};
    }
    return verdicts->front();
  }

  // Everything but what the clock says.
  static void ExpectSame(const Verdict& a, const Verdict& b) {
    EXPECT_EQ(OutcomeName(a.outcome), std::string(OutcomeName(b.outcome)));
    EXPECT_EQ(a.extracted, b.extracted);
    EXPECT_EQ(a.extracted_truncated, b.extracted_truncated);
    EXPECT_EQ(a.detail, b.detail);
    EXPECT_EQ(a.evidence, b.evidence);
    EXPECT_EQ(a.verifier, b.verifier);
    ASSERT_EQ(a.parts.size(), b.parts.size());
    for (size_t i = 0; i < a.parts.size(); ++i) {
      EXPECT_EQ(a.parts[i].name, b.parts[i].name);
      EXPECT_EQ(a.parts[i].raw, b.parts[i].raw);
    }
  }

  static bool IsUtf8(const std::string& text) {
    for (size_t i = 0; i < text.size();) {
      const unsigned char lead = static_cast<unsigned char>(text[i]);
      const size_t more = lead < 0x80 ? 0 : lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
      if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || i + more >= text.size()) return false;
      for (size_t k = 1; k <= more; ++k) {
        if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return false;
      }
      i += more + 1;
    }
    return true;
  }

  static void ExpectWellFormed(const Verdict& verdict) {
    EXPECT_NE(verdict.outcome, Outcome::kUnspecified);
    EXPECT_LE(verdict.extracted.size(), 4096u);
    EXPECT_TRUE(IsUtf8(verdict.extracted));
    EXPECT_TRUE(IsUtf8(verdict.detail));
    for (const auto& [name, value] : verdict.evidence) EXPECT_TRUE(IsUtf8(value)) << name;
    for (const VerdictPart& part : verdict.parts) {
      EXPECT_FALSE(part.name.empty());
      if (IsVerdict(verdict.outcome)) {
        EXPECT_TRUE(part.raw.has_value()) << part.name;
      }
    }
  }
};

TEST_P(VerifierContractTest, ItDescribesItself) {
  const VerifierInfo info = GetParam().make()->Describe();
  EXPECT_FALSE(info.name.empty());
  EXPECT_FALSE(info.version.empty());
  EXPECT_FALSE(info.config_hash.empty());
  EXPECT_FALSE(info.description.empty());
}

TEST_P(VerifierContractTest, TheRightIsCorrectAndTheWrongIsAVerdictOtherThanThat) {
  const auto verifier = GetParam().make();
  const Verdict right = JudgeOne(*verifier, GetParam().right);
  EXPECT_EQ(right.outcome, Outcome::kCorrect) << right.detail;
  EXPECT_FALSE(right.verifier.empty());
  const Verdict wrong = JudgeOne(*verifier, GetParam().wrong);
  EXPECT_TRUE(IsVerdict(wrong.outcome));
  EXPECT_NE(wrong.outcome, Outcome::kCorrect);
  EXPECT_FALSE(wrong.detail.empty()) << "a verdict of 0 says why";
}

TEST_P(VerifierContractTest, TheSameQuestionFiveTimesIsTheSameVerdict) {
  const auto verifier = GetParam().make();
  for (const Question& question : {GetParam().right, GetParam().wrong}) {
    const Verdict first = JudgeOne(*verifier, question);
    for (int i = 0; i < 4; ++i) ExpectSame(first, JudgeOne(*verifier, question));
    ExpectSame(first, JudgeOne(*GetParam().make(), question));
  }
}

TEST_P(VerifierContractTest, ABatchIsTheSameAsOneByOneInTheSameOrder) {
  const auto verifier = GetParam().make();
  const Question right = GetParam().right, wrong = GetParam().wrong;
  const std::vector<Question> questions = {right, wrong, wrong, right, WithCompletion(right, ""),
                                           right};
  const auto batch = verifier->Verify(questions);
  ASSERT_TRUE(batch.ok()) << batch.status();
  ASSERT_EQ(batch->size(), questions.size());
  for (size_t i = 0; i < questions.size(); ++i) {
    ExpectSame((*batch)[i], JudgeOne(*verifier, questions[i]));
  }
}

TEST_P(VerifierContractTest, NoQuestionsAreNoVerdicts) {
  const auto verdicts = GetParam().make()->Verify({});
  ASSERT_TRUE(verdicts.ok()) << verdicts.status();
  EXPECT_TRUE(verdicts->empty());
}

TEST_P(VerifierContractTest, AnEmptyCompletionIsAVerdictAndNotCorrect) {
  const auto verifier = GetParam().make();
  for (const char* empty : {"", " \n\t ", "<think></think><answer></answer>"}) {
    const Verdict verdict = JudgeOne(*verifier, WithCompletion(GetParam().right, empty));
    EXPECT_TRUE(IsVerdict(verdict.outcome)) << empty;
    EXPECT_NE(verdict.outcome, Outcome::kCorrect) << empty;
  }
  Question no_segments = GetParam().right;
  no_segments.segments.clear();
  EXPECT_NE(JudgeOne(*verifier, no_segments).outcome, Outcome::kCorrect);
}

TEST_P(VerifierContractTest, ACompletionOfTenMegabytesHitsALimit) {
  const auto verifier = GetParam().make();
  for (const char fill : {'9', ' ', 'a', '('}) {
    const std::string huge = "<think>a</think><answer>" + std::string(10 << 20, fill) + "</answer>";
    const Verdict verdict = JudgeOne(*verifier, WithCompletion(GetParam().right, huge));
    EXPECT_EQ(verdict.outcome, Outcome::kLimitExceeded) << fill;
    EXPECT_FALSE(verdict.detail.empty());
    ExpectWellFormed(verdict);
  }
}

TEST_P(VerifierContractTest, HostileTextIsJudgedAndIsNoAnswer) {
  const auto verifier = GetParam().make();
  for (const std::string& hostile : HostileCompletions()) {
    for (const bool lenient : {false, true}) {
      for (const bool bare : {false, true}) {
        Question question = WithCompletion(GetParam().right, hostile);
        question.lenient = lenient;
        question.bare = bare;
        const Verdict verdict = JudgeOne(*verifier, question);
        EXPECT_TRUE(IsVerdict(verdict.outcome)) << hostile.substr(0, 60);
        if (GetParam().needs_gold) {
          EXPECT_NE(verdict.outcome, Outcome::kCorrect) << hostile.substr(0, 60);
        }
        ExpectWellFormed(verdict);
      }
    }
  }
}

TEST_P(VerifierContractTest, WithoutTheGoldItNeedsItSkipsAndGivesNoReward) {
  const auto verifier = GetParam().make();
  for (const Question& question : {GetParam().right, GetParam().wrong}) {
    const Verdict verdict = JudgeOne(*verifier, WithoutGold(question));
    if (!GetParam().needs_gold) {
      ExpectSame(verdict, JudgeOne(*verifier, question));
      continue;
    }
    EXPECT_EQ(verdict.outcome, Outcome::kSkipped);
    EXPECT_FALSE(verdict.detail.empty());
    for (const VerdictPart& part : verdict.parts) EXPECT_FALSE(part.raw.has_value());
  }
}

TEST_P(VerifierContractTest, ADeadlineThatHasPassedIsAnOutageAndNotAVerdict) {
  const auto verifier = GetParam().make();
  Question late = GetParam().right;
  late.deadline = absl::Now() - absl::Seconds(1);
  const auto verdicts = verifier->Verify({late});
  if (!verdicts.ok()) {
    EXPECT_EQ(verdicts.status().code(), absl::StatusCode::kDeadlineExceeded);
    return;
  }
  ASSERT_EQ(verdicts->size(), 1u);
  EXPECT_EQ(verdicts->front().outcome, Outcome::kOutage);
}

TEST_P(VerifierContractTest, FourThreadsGetTheVerdictsOfOne) {
  const auto verifier = GetParam().make();
  const Question right = GetParam().right, wrong = GetParam().wrong;
  const Verdict right_alone = JudgeOne(*verifier, right), wrong_alone = JudgeOne(*verifier, wrong);
  std::vector<std::vector<Verdict>> seen(4);
  std::vector<std::thread> threads;
  for (std::vector<Verdict>& mine : seen) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const auto verdicts = verifier->Verify({right, wrong});
        if (verdicts.ok()) mine.insert(mine.end(), verdicts->begin(), verdicts->end());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<Verdict>& mine : seen) {
    ASSERT_EQ(mine.size(), 40u);
    for (size_t i = 0; i < mine.size(); ++i) ExpectSame(mine[i], i % 2 ? wrong_alone : right_alone);
  }
}

}  // namespace hone

#endif  // HONE_TESTS_VERIFIER_VERIFIER_CONTRACT_H_
