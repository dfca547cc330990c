// SPDX-License-Identifier: Apache-2.0
//
// What a policy under pressure tries. Each attack is written against a known gold; none may be
// judged correct, strict or lenient, by any answer verifier.
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/verifier/judge.h"

namespace hone {
namespace {

struct Target {
  const char* verifier;
  std::string gold;   // a right answer as written
  std::string other;  // a wrong one of the same kind
};

std::vector<Target> Targets() {
  return {{"exact", "Mount Ararat", "Mount Elbrus"},
          {"exact", "B", "A"},
          {"numeric", "42", "41"},
          {"countdown", "(1 + 2) * 4", "(1 + 2) + 4"}};
}

Question Attack(const Target& target, const std::string& completion, bool lenient) {
  Question question = MakeQuestion(completion, target.gold);
  question.metadata = {{"nums", "[1, 2, 4]"}, {"target", "12"}};
  question.lenient = lenient;
  return question;
}

void ExpectNeverCorrect(const Target& target, const std::string& completion) {
  for (const bool lenient : {false, true}) {
    const Verdict verdict = JudgeQuestion(target.verifier, Attack(target, completion, lenient));
    EXPECT_TRUE(IsVerdict(verdict.outcome)) << target.verifier << ": " << completion;
    EXPECT_NE(verdict.outcome, Outcome::kCorrect)
        << target.verifier << (lenient ? " lenient: " : " strict: ") << completion;
  }
}

TEST(Attacks, AHonestAnswerIsCorrectSoTheOthersCanFail) {
  for (const Target& target : Targets()) {
    for (const bool lenient : {false, true}) {
      const Question question = Attack(target, InTags(target.gold), lenient);
      EXPECT_EQ(JudgeQuestion(target.verifier, question).outcome, Outcome::kCorrect)
          << target.verifier;
    }
  }
}

TEST(Attacks, EchoingBothCandidatesPaysForNeither) {
  for (const Target& target : Targets()) {
    for (const std::string joint : {" or ", ", ", " and ", " / ", "\n", " not ", "; "}) {
      ExpectNeverCorrect(target, InTags(target.gold + joint + target.other));
      ExpectNeverCorrect(target, InTags(target.other + joint + target.gold));
    }
    ExpectNeverCorrect(target, InTags("\\boxed{" + target.other + "}\\boxed{" + target.gold + "}"));
  }
}

TEST(Attacks, OnlyTheLastOfTwoAnswerTagsCounts) {
  for (const Target& target : Targets()) {
    const std::string right = "<answer>" + target.gold + "</answer>";
    const std::string wrong = "<answer>" + target.other + "</answer>";
    ExpectNeverCorrect(target, "<think>r</think>" + right + wrong);
    ExpectNeverCorrect(target, "<think>r</think>" + right + "no: " + wrong);
  }
}

TEST(Attacks, AnAnswerInsideTheReasoningIsNone) {
  for (const Target& target : Targets()) {
    const std::string right = "<answer>" + target.gold + "</answer>";
    ExpectNeverCorrect(target, "<think>" + right + "</think>");
    ExpectNeverCorrect(target, "<think>" + right);
    ExpectNeverCorrect(target, right + "</think>");
    ExpectNeverCorrect(target, "<think>a</think><think>" + right);
    ExpectNeverCorrect(target, "<think>a</think><think>" + right + "</think>");
  }
}

TEST(Attacks, AfterAPrefilledThinkNothingCountsBeforeItsEnd) {
  for (const Target& target : Targets()) {
    Question question = Attack(target, "<answer>" + target.gold + "</answer>", true);
    question.segments[0].text += " <think>";
    EXPECT_EQ(JudgeQuestion(target.verifier, question).outcome, Outcome::kUnparsable);
    question.segments[1].text = "r</think>" + question.segments[1].text;
    EXPECT_EQ(JudgeQuestion(target.verifier, question).outcome, Outcome::kCorrect);
  }
}

TEST(Attacks, TheGoldPastedAmidOtherTextIsNoAnswer) {
  for (const Target& target : Targets()) {
    ExpectNeverCorrect(target, InTags("it may be " + target.gold + " but also 7 or 8 or A"));
    ExpectNeverCorrect(target, InTags("1 2 3 40 41 42 43 A B C D " + target.gold + " 5"));
    ExpectNeverCorrect(target, "<think>" + target.gold + "</think>" + InTags(target.other));
  }
}

TEST(Attacks, LookAlikesNulsAndBrokenBytesAreOtherText) {
  for (const Target& target : Targets()) {
    for (const std::string& stranger :
         {std::string(1, '\0'), std::string("\xFF"), std::string("\xE2\x80\x8B"),
          std::string("\xE2\x80\xAE"), std::string("\xEF\xBB\xBF")}) {
      for (const std::string& answer : {stranger + target.gold, target.gold + stranger}) {
        const Question question = Attack(target, InTags(answer), /*lenient=*/false);
        EXPECT_NE(JudgeQuestion(target.verifier, question).outcome, Outcome::kCorrect)
            << target.verifier << ": " << answer;
      }
    }
  }
  const Target number = Targets()[2];
  ExpectNeverCorrect(number, InTags("\xEF\xBC\x94\xEF\xBC\x92"));  // fullwidth 42
  ExpectNeverCorrect(number, InTags("4\xCC\xB2"
                                    "2"));  // combining line below
  ExpectNeverCorrect(number, InTags("4\xE2\x80\x8B"
                                    "2"));  // zero-width space inside
  ExpectNeverCorrect(number, InTags(std::string("4\0"
                                                "2",
                                                3)));
}

TEST(Attacks, TagSoupPaysNothing) {
  for (const Target& target : Targets()) {
    for (const std::string& soup :
         {std::string("<answer><answer>"), "</answer>" + target.gold + "<answer>",
          "<answer/>" + target.gold, "<answer>" + target.gold + "</answer",
          "<<answer>>" + target.other + "<</answer>>",
          "<answer>" + target.other + "</answer></think><answer></answer>"}) {
      const Question question = Attack(target, soup, false);
      EXPECT_NE(JudgeQuestion(target.verifier, question).outcome, Outcome::kCorrect) << soup;
    }
  }
}

TEST(Attacks, AnAnswerInThePromptOrAToolIsNotTheCompletions) {
  for (const Target& target : Targets()) {
    Question question = Attack(target, "<think>r</think><answer></answer>", true);
    question.segments[0].text = InTags(target.gold);
    question.segments.push_back({"tool", "tool", InTags(target.gold)});
    EXPECT_NE(JudgeQuestion(target.verifier, question).outcome, Outcome::kCorrect);
  }
}

TEST(Attacks, TwoMissingAnswersAreNotEqual) {
  for (const char* verifier : {"exact", "numeric", "countdown"}) {
    EXPECT_EQ(JudgeStrict(verifier, InTags(" "), "").outcome, Outcome::kSkipped) << verifier;
    EXPECT_EQ(JudgeStrict(verifier, "", " ").outcome, Outcome::kSkipped) << verifier;
    EXPECT_EQ(JudgeStrict(verifier, "", "\xC2\xA0").outcome, Outcome::kSkipped) << verifier;
  }
}

}  // namespace
}  // namespace hone
