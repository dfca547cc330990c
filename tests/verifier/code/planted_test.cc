// SPDX-License-Identifier: Apache-2.0
//
// From what the sandbox reports to the verdict, with reports that are hard to bring about.
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/verifier/code/code_case.h"
#include "tests/verifier/code/planted_sandbox.h"

namespace hone {
namespace {

constexpr char kWhole[] =
    R"("asserts":1,"load":null,"undefined":[],"finished":true,"passed":1,"failed":0,"calls":1,)"
    R"("outcomes":[["pass",1]],"first_failure":null,"gone":"","tainted":"","canary":false})";

std::string Report(const std::string& nonce, const std::string& rest) {
  return absl::StrCat("{\"nonce\":\"", nonce, "\",", rest, "\n");
}

Verdict JudgeIn(const std::shared_ptr<PlantedSandbox>& sandbox, const Question& question) {
  return (*(*NewCodeVerifier(sandbox, {}))->Verify({question}))[0];
}

Question OneAssert() {
  return BareCode("assert f(1) == 1", "f", "def f(x): return 1");
}

// The verdict when the tester writes `result` (NONCE stands for its nonce).
Verdict JudgeReport(const std::string& result,
                    SandboxEnding candidate = SandboxEnding::kCancelled) {
  auto sandbox = std::make_shared<PlantedSandbox>();
  sandbox->run_pair = [&](const std::string& nonce, SandboxReport* a, SandboxReport* b) {
    a->result_bytes = result;
    const size_t at = result.find("NONCE");
    if (at != std::string::npos) a->result_bytes.replace(at, 5, nonce);
    b->ending = candidate;
    return absl::OkStatus();
  };
  return JudgeIn(sandbox, OneAssert());
}

TEST(PlantedReport, AWholeReportIsCorrectOnlyUnderItsNonce) {
  EXPECT_EQ(JudgeReport(Report("NONCE", kWhole)).outcome, Outcome::kCorrect);
  EXPECT_NE(JudgeReport(Report("0123456789abcdef", kWhole)).outcome, Outcome::kCorrect);
  EXPECT_NE(JudgeReport("passed\n").outcome, Outcome::kCorrect);
  EXPECT_EQ(JudgeReport("").outcome, Outcome::kSkipped) << "the tests ended before they were read";
}

TEST(PlantedReport, ALimitOfTheCandidateIsALimitWhateverTheReportSays) {
  for (SandboxEnding ending :
       {SandboxEnding::kCpuLimit, SandboxEnding::kWallLimit, SandboxEnding::kMemoryLimit,
        SandboxEnding::kOutputLimit, SandboxEnding::kProcessLimit}) {
    for (const std::string& result : {Report("NONCE", kWhole), std::string()}) {
      const Verdict verdict = JudgeReport(result, ending);
      EXPECT_EQ(verdict.outcome, Outcome::kLimitExceeded) << SandboxEndingName(ending);
      EXPECT_TRUE(absl::StrContains(verdict.detail, "more than")) << verdict.detail;
    }
  }
  EXPECT_EQ(JudgeReport(Report("NONCE", kWhole), SandboxEnding::kViolation).outcome,
            Outcome::kViolation);
}

TEST(PlantedReport, ACanaryThatSingsIsAViolation) {
  std::string rest = kWhole;
  rest.replace(rest.find("\"canary\":false"), 14, "\"canary\":true");
  EXPECT_EQ(JudgeReport(Report("NONCE", rest)).outcome, Outcome::kViolation);
}

TEST(PlantedReport, ATesterThatDiesOnTheAnswersIsNoOutage) {
  auto sandbox = std::make_shared<PlantedSandbox>();
  sandbox->run_pair = [&](const std::string& nonce, SandboxReport* a, SandboxReport*) {
    a->result_bytes = Report(nonce, "\"ready\":true}");
    a->ending = SandboxEnding::kCpuLimit;
    return absl::OkStatus();
  };
  EXPECT_EQ(JudgeIn(sandbox, OneAssert()).outcome, Outcome::kLimitExceeded);
}

TEST(PlantedReport, MachineryThatFailsOnceIsTriedAgainAndTwiceIsAnOutage) {
  for (const int failures : {1, 2}) {
    auto sandbox = std::make_shared<PlantedSandbox>();
    int calls = 0;
    sandbox->run_pair = [&](const std::string& nonce, SandboxReport* a, SandboxReport*) {
      if (calls++ < failures) return absl::UnavailableError("gone");
      a->result_bytes = Report(nonce, kWhole);
      return absl::OkStatus();
    };
    const Verdict verdict = JudgeIn(sandbox, OneAssert());
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(verdict.outcome, failures == 1 ? Outcome::kCorrect : Outcome::kOutage);
    EXPECT_EQ(verdict.parts.empty(), failures == 2);
  }
}

TEST(PlantedReport, ADeadlineBetweenTwoTestsIsAnOutage) {
  auto sandbox = std::make_shared<PlantedSandbox>();
  sandbox->run = [&](const SandboxProgram&) {
    absl::SleepFor(absl::Milliseconds(30));
    return SandboxReport{};
  };
  Question question = BareCode({{"inputs", {"", "", ""}}, {"outputs", {"", "", ""}}}, "", "pass");
  EXPECT_EQ(JudgeIn(sandbox, question).outcome, Outcome::kCorrect);
  question.deadline = absl::Now() + absl::Milliseconds(20);
  EXPECT_EQ(JudgeIn(sandbox, question).outcome, Outcome::kOutage);
}

TEST(PlantedReport, NoGoldIsToldToTheCandidatesJail) {
  auto sandbox = std::make_shared<PlantedSandbox>();
  sandbox->run = [](const SandboxProgram&) { return SandboxReport{}; };
  sandbox->run_pair = [](const std::string&, SandboxReport*, SandboxReport*) {
    return absl::OkStatus();
  };
  Json row = {{"tests", "assert f(1) == 'the gold'"},
              {"entry_point", "f"},
              {"canonical_solution", "def f(x): return 'the gold'"}};
  JudgeIn(sandbox, CodeQuestion(row, "def f(x): return 1"));
  ASSERT_EQ(sandbox->seen.size(), 2u);
  sandbox->seen.erase(sandbox->seen.begin());  // the tester
  for (const char* name : {"f", ""}) {
    row["tests"] = {{"inputs", {"[1]"}}, {"outputs", {"\"the gold\""}}};
    row["entry_point"] = name;
    JudgeIn(sandbox, CodeQuestion(row, "def f(x): return 1"));
  }
  ASSERT_EQ(sandbox->seen.size(), 3u);
  for (const SandboxProgram& program : sandbox->seen) {
    EXPECT_FALSE(absl::StrContains(program.stdin_bytes, "the gold")) << program.stdin_bytes;
    EXPECT_FALSE(absl::StrContains(program.python_source, "the gold"));
    EXPECT_TRUE(program.files.empty());
  }
}

TEST(PlantedReport, ARecordTooManyIsAViolationAndOneTooFewIsNoPass) {
  const Question question =
      BareCode({{"fn_name", "f"}, {"inputs", {{1}, {2}}}, {"outputs", {1, 2}}}, "", "pass");
  const auto judge = [&](const std::string& records, SandboxEnding ending) {
    auto sandbox = std::make_shared<PlantedSandbox>();
    sandbox->run = [&](const SandboxProgram&) {
      SandboxReport report;
      report.result_bytes = records;
      report.ending = ending;
      return report;
    };
    return JudgeIn(sandbox, question).outcome;
  };
  const std::string two = "{\"i\":0,\"v\":1}\n{\"i\":1,\"v\":2}\n";
  EXPECT_EQ(judge(two, SandboxEnding::kExited), Outcome::kCorrect);
  EXPECT_EQ(judge(two, SandboxEnding::kCpuLimit), Outcome::kLimitExceeded);
  EXPECT_EQ(judge(two, SandboxEnding::kSignalled), Outcome::kWrong);
  EXPECT_EQ(judge(two + "{\"i\":2,\"v\":2}\n", SandboxEnding::kExited), Outcome::kViolation);
  EXPECT_EQ(judge("{\"i\":0,\"v\":1}\n", SandboxEnding::kExited), Outcome::kWrong);
  EXPECT_EQ(judge("{\"i\":0,\"v\":1}\n{\"i\":1,\"v\":2}", SandboxEnding::kExited), Outcome::kWrong);
  EXPECT_EQ(judge("{\"i\":1,\"v\":2}\n{\"i\":0,\"v\":1}\n", SandboxEnding::kExited),
            Outcome::kViolation);
  EXPECT_EQ(judge("", SandboxEnding::kMemoryLimit), Outcome::kLimitExceeded);
}

}  // namespace
}  // namespace hone
