// SPDX-License-Identifier: Apache-2.0
#include "verifier/rules/declarative.h"

#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tests/verifier/judge.h"
#include "tests/verifier/verifier_contract.h"

namespace hone {
namespace {

std::shared_ptr<Verifier> Make(const std::string& json) {
  auto verifier = MakeDeclarativeVerifier(json);
  EXPECT_TRUE(verifier.ok()) << verifier.status();
  return verifier.ok() ? *std::move(verifier) : nullptr;
}

// A declaration of one rule, written without its name.
std::shared_ptr<Verifier> OneRule(const std::string& rule) {
  return Make(R"({"name": "t", "rules": [{"name": "r", )" + rule + "}]}");
}

Verdict Judge(Verifier& verifier, const std::string& completion, const std::string& gold) {
  const auto verdicts = verifier.Verify({MakeQuestion(completion, gold)});
  EXPECT_TRUE(verdicts.ok());
  return verdicts->front();
}

bool Holds(const std::string& rule, const std::string& answer, const std::string& gold) {
  const auto verifier = OneRule(rule);
  return Judge(*verifier, InTags(answer), gold).outcome == Outcome::kCorrect;
}

std::string Refusal(const std::string& json) {
  const auto verifier = MakeDeclarativeVerifier(json);
  EXPECT_EQ(verifier.status().code(), absl::StatusCode::kInvalidArgument) << json;
  return std::string(verifier.status().message());
}

VerifierContract Contract(const std::string& name, const std::string& json, Question right,
                          Question wrong, bool needs_gold = true) {
  return {name, [json] { return Make(json); }, std::move(right), std::move(wrong), needs_gold};
}

INSTANTIATE_TEST_SUITE_P(
    Declared, VerifierContractTest,
    testing::Values(
        Contract("exact", R"({"name": "t", "rules": [{"name": "r", "exact": true}]})",
                 MakeQuestion(InTags("Mount  Ararat"), "Mount Ararat"),
                 MakeQuestion(InTags("Elbrus"), "Mount Ararat")),
        Contract("numeric", R"({"name": "t", "rules": [{"name": "r", "numeric": true}]})",
                 MakeQuestion(InTags("1/2"), "0.5"), MakeQuestion(InTags("0.51"), "0.5")),
        Contract("set", R"({"name": "t", "rules": [{"name": "r", "set": true}]})",
                 MakeQuestion(InTags("{b, a}"), "a, b"), MakeQuestion(InTags("{a}"), "a, b")),
        Contract("form",
                 R"json({"name": "t", "rules": [{"name": "r", "of": "completion",
                     "regex": "(?s)<think>.+</think> <answer>[0-9]+</answer>"}]})json",
                 MakeQuestion(InTags("42"), ""), MakeQuestion("42", ""), /*needs_gold=*/false)),
    ContractName);

TEST(Declarative, ExactAndCasefoldIgnoreWhitespaceAlone) {
  EXPECT_TRUE(Holds(R"("exact": true)", "New   York", "New York"));
  EXPECT_FALSE(Holds(R"("exact": true)", "new york", "New York"));
  EXPECT_TRUE(Holds(R"("casefold": true)", "new YORK", "New York"));
  EXPECT_FALSE(Holds(R"("casefold": true)", "New York City", "New York"));
  EXPECT_FALSE(Holds(R"("casefold": true)", "", "New York"));
}

TEST(Declarative, TolerancesAreExactFractions) {
  const std::string rule = R"("numeric": {"abs": 0.1})";
  EXPECT_TRUE(Holds(rule, "0.4", "0.3")) << "0.4 - 0.3 is exactly 0.1";
  EXPECT_FALSE(Holds(rule, "0.4000000001", "0.3"));
  EXPECT_TRUE(Holds(R"("numeric": {"rel": "1/100"})", "-99", "-100"));
  EXPECT_FALSE(Holds(R"("numeric": {"rel": "1/100"})", "-98.9", "-100"));
  EXPECT_FALSE(Holds(R"("numeric": {"abs": 1000000})", "nan", "1"));
}

TEST(Declarative, SetsHaveNoOrderListsDoAndNeitherForgivesExtras) {
  EXPECT_TRUE(Holds(R"("set": true)", "3, 1,2", "1,2,3"));
  EXPECT_FALSE(Holds(R"("list": true)", "3, 1,2", "1,2,3"));
  EXPECT_TRUE(Holds(R"("list": true)", "[1, 2, 3]", "(1,2,3)"));
  EXPECT_FALSE(Holds(R"("set": true)", "1,2,3,4", "1,2,3"));
  EXPECT_FALSE(Holds(R"("set": true)", "1,1,2,3", "1,2,3"));
  EXPECT_FALSE(Holds(R"("set": true)", "1,2,,3", "1,2,3"));
  EXPECT_TRUE(Holds(R"("set": {"elements": "numeric"})", "0.5, 2", "1/2, 2.0"));
  EXPECT_TRUE(Holds(R"("set": {"separator": ";", "elements": "casefold"})", "B; a", "A;b"));
}

TEST(Declarative, ARegexMatchesInFullUnlessItSaysPartial) {
  EXPECT_FALSE(Holds(R"("regex": "[0-9]+")", "42 apples", ""));
  EXPECT_TRUE(Holds(R"("regex": "[0-9]+", "match": "partial")", "42 apples", ""));
  EXPECT_TRUE(Holds(R"("regex": "[0-9]+")", "42", ""));
}

TEST(Declarative, APatternThatHangsBacktrackersTakesLinearTime) {
  const auto verifier =
      OneRule("\"of\": \"completion\", \"regex\": \"(a|aa)+$\", \"match\": \"full\"");
  const absl::Time start = absl::Now();
  Judge(*verifier, std::string(1 << 20, 'a') + "!", "");
  EXPECT_LT(absl::Now() - start, absl::Seconds(2));
}

constexpr char kGated[] = R"json({"name": "g", "version": "2", "rules": [
  {"name": "form", "of": "completion", "regex": "(?s)<think>.+</think> <answer>.+", "weight": 0},
  {"name": "right", "numeric": true, "gate": "form", "weight": 3},
  {"name": "short", "of": "completion", "regex": "(?s).{0,80}"}]})json";

TEST(Declarative, AGateIsANoAndWeightsAddUp) {
  const auto verifier = Make(kGated);
  const Verdict all = Judge(*verifier, InTags("42"), "42");
  EXPECT_EQ(all.outcome, Outcome::kCorrect);
  ASSERT_EQ(all.parts.size(), 4u);
  EXPECT_EQ(all.parts[3].name, "accuracy");
  EXPECT_EQ(all.parts[3].raw, 4.0);
  const Verdict formless = Judge(*verifier, "<answer>42</answer>", "42");
  EXPECT_EQ(formless.outcome, Outcome::kWrong);
  EXPECT_FALSE(formless.parts[1].raw.has_value()) << "its gate was closed";
  EXPECT_EQ(formless.parts[3].raw, 1.0);
  EXPECT_TRUE(absl::StrContains(formless.detail, "form, right")) << formless.detail;
  EXPECT_EQ(Judge(*verifier, InTags("41"), "42").parts[3].raw, 1.0);
}

TEST(Declarative, AThresholdBelowTheHighestScoreMakesPartsEnough) {
  const auto verifier = Make(R"({"name": "t", "threshold": 1, "rules": [
    {"name": "near", "numeric": {"abs": 1}}, {"name": "right", "numeric": true}]})");
  EXPECT_EQ(Judge(*verifier, InTags("41"), "42").outcome, Outcome::kCorrect);
  EXPECT_EQ(Judge(*verifier, InTags("40"), "42").outcome, Outcome::kWrong);
}

TEST(Declarative, ThePatternOfTheAnswerIsReadAfterTheReasoningAndTheLastMatchCounts) {
  const auto verifier = Make(R"json({"name": "t", "answer": {"regex": "#### (.+)"},
    "rules": [{"name": "r", "numeric": true}]})json");
  EXPECT_EQ(Judge(*verifier, "<think>#### 1</think>\n#### 41\n#### 42", "42").outcome,
            Outcome::kCorrect);
  EXPECT_EQ(Judge(*verifier, "<think>#### 42", "42").outcome, Outcome::kUnparsable);
  EXPECT_EQ(Judge(*verifier, "<think>#### 42</think> so", "42").outcome, Outcome::kUnparsable);
}

TEST(Declarative, AGoldItCannotReadIsSkipped) {
  EXPECT_EQ(Judge(*OneRule(R"("numeric": true)"), InTags("1"), "one").outcome, Outcome::kSkipped);
  EXPECT_EQ(Judge(*OneRule(R"("exact": true, "gold": "yes")"), InTags("yes"), "").outcome,
            Outcome::kCorrect);
}

TEST(Declarative, AnotherDeclarationIsAnotherVerifier) {
  EXPECT_NE(OneRule(R"("exact": true)")->Describe().config_hash,
            OneRule(R"("casefold": true)")->Describe().config_hash);
  EXPECT_EQ(Make(kGated)->Describe().version, "2");
}

TEST(Declarative, RefusesWhatItDoesNotUnderstandByName) {
  const auto rule = [](const std::string& text) {
    return Refusal(R"({"name": "t", "rules": [{"name": "r", )" + text + "}]}");
  };
  EXPECT_TRUE(absl::StrContains(rule(R"("exact": true, "wieght": 2)"), "wieght"));
  EXPECT_TRUE(absl::StrContains(rule(R"("exact": true, "numeric": true)"), "two kinds"));
  EXPECT_TRUE(absl::StrContains(rule(R"("weight": 1)"), "say what it is"));
  EXPECT_TRUE(absl::StrContains(rule(R"("regex": "[")"), "regex"));
  EXPECT_TRUE(absl::StrContains(rule(R"("regex": "a", "gold": "b")"), "gold"));
  EXPECT_TRUE(absl::StrContains(rule(R"("exact": true, "gate": "x")"), "gate"));
  EXPECT_TRUE(absl::StrContains(rule(R"("numeric": {"abs": "-1"})"), "at least 0"));
  EXPECT_TRUE(absl::StrContains(rule(R"("numeric": true, "gold": "x")"), "cannot read"));
  EXPECT_TRUE(absl::StrContains(rule(R"("exact": true, "weight": 0)"), "above 0"));
  EXPECT_TRUE(absl::StrContains(rule(R"("exact": "yes")"), "are true"));
  EXPECT_TRUE(absl::StrContains(rule(R"("set": {"elements": "fuzzy"})"), "elements"));
  EXPECT_TRUE(absl::StrContains(rule(R"("regex": ")" + std::string(4097, 'a') + "\""), "4 KiB"));
  EXPECT_TRUE(absl::StrContains(rule("\"regex\": \"((a{100}){100}){100}\""), "regex"));
  Refusal("");
  Refusal("[]");
  Refusal(R"({"name": "t"})");
  Refusal(R"({"name": "t", "rules": []})");
  Refusal(R"({"name": "a b", "rules": [{"name": "r", "exact": true}]})");
  Refusal(R"({"name": "t", "rules": [{"name": "accuracy", "exact": true}]})");
  Refusal(R"({"name": "t", "threshold": 2, "rules": [{"name": "r", "exact": true}]})");
  Refusal(R"({"name": "t", "answer": {"regex": "none"}, "rules": [{"name": "r", "exact": true}]})");
  std::string deep = R"({"name": )";
  for (int i = 0; i < 100000; ++i) deep += "[";
  Refusal(deep);
}

}  // namespace
}  // namespace hone
