// SPDX-License-Identifier: Apache-2.0
#include "services/clients/verifier_conformance.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "services/clients/embedded_files.h"
#include "services/clients/verifier_spec.h"
#include "services/servers/verifier_worker.h"
#include "tests/services/serving.h"
#include "tests/verifier/fake_verifier.h"

namespace hone {
namespace {

using Result = ConformanceRow::Result;

// The checks that fail, in order.
std::string Failures(const ConformanceReport& report) {
  std::string names;
  for (const ConformanceRow& row : report.rows) {
    if (row.result != Result::kFailed) continue;
    absl::StrAppend(&names, names.empty() ? "" : " ", row.check);
  }
  return names;
}

std::string FailuresOf(Verifier& verifier, std::vector<VerifierCase> cases = {},
                       std::set<std::string> waived = {}) {
  ConformanceOptions options;
  options.waived = std::move(waived);
  const auto report = TestVerifier(verifier, std::move(cases), options);
  EXPECT_TRUE(report.ok()) << report.status();
  return Failures(*report);
}

// Judges a question whose deadline has not passed.
class Judging : public Verifier {
 public:
  explicit Judging(std::function<Verdict(const Question&)> judge) : judge_(std::move(judge)) {}
  VerifierInfo Describe() const override { return {"judging", "1", "0", "For tests.", true}; }
  absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) override {
    std::vector<Verdict> verdicts;
    for (const Question& question : questions) {
      Verdict late;
      late.outcome = Outcome::kOutage;
      verdicts.push_back(question.deadline < absl::Now() ? late : judge_(question));
    }
    return verdicts;
  }

 private:
  std::function<Verdict(const Question&)> judge_;
};

Verdict Scored(double score) {
  Verdict verdict;
  verdict.outcome = score >= 1 ? Outcome::kCorrect : Outcome::kWrong;
  verdict.parts.push_back({"accuracy", score, std::nullopt});
  return verdict;
}

bool Mentions(const Question& question) {
  return absl::StrContains(question.completion(), question.answer);
}

std::vector<VerifierCase> OneCase(const std::string& answer, const std::string& completion) {
  VerifierCase one;
  one.answer = answer;
  one.completion = completion;
  return {one};
}

TEST(Conformance, TheBuiltInVerifiersAreFitToLearnFrom) {
  for (const char* name : {"exact", "numeric"}) {
    const auto verifier = MakeVerifier(name, {});
    EXPECT_EQ(FailuresOf(**verifier), "") << name;
  }
}

TEST(Conformance, AVerifierThatLooksForTheGoldAnywhereFails) {
  Judging careless([](const Question& question) { return Scored(Mentions(question)); });
  EXPECT_EQ(FailuresOf(careless, OneCase("42", "<think>so</think> <answer>42</answer>")),
            "two_answers unclosed_think ten_megabytes");
  EXPECT_EQ(FailuresOf(careless, OneCase("Paris", "<answer>Paris</answer>")),
            "wrong two_answers unclosed_think ten_megabytes");
}

TEST(Conformance, AVerifierThatPaysForAnythingOrNothingFails) {
  Judging generous([](const Question&) { return Scored(1); });
  EXPECT_TRUE(absl::StartsWith(FailuresOf(generous), "empty blank truncated wrong"));
  Judging stern([](const Question&) { return Scored(0); });
  EXPECT_EQ(FailuresOf(stern), "gold");
}

TEST(Conformance, AnOutageWhereAVerdictIsDueFails) {
  Judging fragile([](const Question& question) {
    if (!Mentions(question)) {
      Verdict outage;
      outage.outcome = Outcome::kOutage;
      outage.detail = "IndexError";
      return outage;
    }
    return Scored(1);
  });
  const auto report = TestVerifier(fragile, OneCase("42", "42"), {});
  EXPECT_TRUE(absl::StrContains(report->first_failure(), "check \"empty\""));
  EXPECT_TRUE(absl::StrContains(report->first_failure(), "IndexError"));
}

TEST(Conformance, ADrawnScoreAShuffledBatchAndAMissedDeadlineFail) {
  int drawn = 0;
  Judging moody([&](const Question& question) {
    return Scored(question.completion() == "42" ? 1 : 0.001 * ++drawn);
  });
  EXPECT_TRUE(absl::StrContains(FailuresOf(moody), "same_score"));
  class Shuffled : public Judging {
   public:
    using Judging::Judging;
    absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) override {
      auto verdicts = Judging::Verify(questions);
      std::reverse(verdicts->begin(), verdicts->end());
      return verdicts;
    }
  } shuffled([](const Question& question) { return Scored(question.completion() == "42"); });
  EXPECT_EQ(FailuresOf(shuffled, OneCase("42", "42"), {"unclosed_think"}), "batch_order");
  FakeVerifier timeless;  // never looks at deadlines
  EXPECT_EQ(FailuresOf(timeless, OneCase("42", "42"), {"unclosed_think"}), "deadline");
}

TEST(Conformance, AWaivedCheckIsReportedAndAnUnknownOneRefused) {
  Judging careless([](const Question& question) { return Scored(Mentions(question)); });
  ConformanceOptions options;
  options.waived = {"two_answers", "unclosed_think", "ten_megabytes"};
  const auto report = TestVerifier(careless, OneCase("42", "<answer>42</answer>"), options);
  EXPECT_TRUE(report->ok());
  options.waived = {"three_answers"};
  EXPECT_EQ(TestVerifier(careless, {}, options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Conformance, AVerifierWithoutAGoldIsHeldToTheRest) {
  const auto format = MakeVerifier("format", {});
  EXPECT_EQ(FailuresOf(**format, OneCase("", "<think>a</think><answer>b</answer>")), "");
}

TEST(Cases, AreReadWithTheirMetadataAndRefusedByLine) {
  TestDirectory directory;
  const std::string path = directory / "c.jsonl";
  const auto read = [&](const std::string& text) {
    std::ofstream(path) << text;
    return ReadVerifierCases(path);
  };
  const auto good = read(
      "{\"prompt\":\"p\",\"answer\":7,\"completion\":\"c\",\"nums\":[1,2]}\n\n"
      "{\"tests\":[\"assert 1\"],\"completion\":\"d\"}\n");
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ((*good)[0].answer, "7");
  EXPECT_EQ((*good)[0].metadata.at("nums"), "[1,2]");
  EXPECT_EQ((*good)[1].tests_json, "[\"assert 1\"]");
  for (const char* bad : {"", "[]\n", "{\"answer\":\"a\"}\n", "{\"completion\":1}\n"}) {
    EXPECT_EQ(read(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  EXPECT_TRUE(absl::StrContains(read("{\"completion\":\"\"}\nx\n").status().message(), ":2:"));
  EXPECT_EQ(ReadVerifierCases("/no/such/file").status().code(), absl::StatusCode::kNotFound);
}

TEST(Cases, LieBesideTheFileOrWhereTheOptionSays) {
  TestDirectory directory;
  const std::string python = "python:" + (directory / "a.b.py") + ":f";
  EXPECT_EQ(CasesPath(*ParseVerifierSpec(python), {}), "");
  std::ofstream(directory / "a.b.cases.jsonl") << "{}";
  EXPECT_EQ(CasesPath(*ParseVerifierSpec(python), {}), directory / "a.b.cases.jsonl");
  EXPECT_EQ(CasesPath(*ParseVerifierSpec("exec:true"), {{"cases", "x"}}), "x");
}

// What a run does before it learns: the templates pass, a verifier that can be fooled is refused.
TEST(CheckCustomVerifier, PassesTheTemplatesAndRefusesByCheck) {
  TestDirectory directory;
  const auto write = [&](const std::string& name, absl::string_view text) {
    std::ofstream(directory / name) << text;
    return directory / name;
  };
  write("good.cases.jsonl", EmbeddedFile("templates/cases.jsonl"));
  const std::vector<std::string> specs = {
      "python:" + write("good.py", EmbeddedFile("templates/python.py")) + ":compute_score",
      "rules:" + write("good.json", R"({"name": "r", "rules": [{"name": "x", "numeric": true}]})"),
      "exec:/usr/bin/python3 " + write("exec.py", EmbeddedFile("templates/exec.py"))};
  for (const std::string& spec : specs) {
    const VerifierOptions options = {{"cases", directory / "good.cases.jsonl"}};
    const auto verifier = OpenVerifier(spec, options, nullptr);
    ASSERT_TRUE(verifier.ok()) << verifier.status();
    EXPECT_EQ(CheckCustomVerifier(spec, options, **verifier), absl::OkStatus()) << spec;
  }
  const std::string fooled =
      "python:" +
      write("fooled.py", "def f(solution_str, ground_truth): return ground_truth in solution_str") +
      ":f";
  const auto verifier = OpenVerifier(fooled, {}, nullptr);
  const absl::Status refused = CheckCustomVerifier(fooled, {}, **verifier);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(refused.message(), "check \"two_answers\"")) << refused;
}

// ---- Hone's own verifiers on the worker's side of the protocol ----

std::string WorkerSays(const std::string& lines) {
  int in[2], out[2];
  EXPECT_EQ(pipe2(in, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
  EXPECT_EQ(write(in[1], lines.data(), lines.size()), static_cast<ssize_t>(lines.size()));
  close(in[1]);
  const auto verifier = MakeVerifier("numeric", {});
  const absl::Status status = ServeWorker(**verifier, in[0], out[1]);
  close(out[1]);
  char buffer[65536];
  const ssize_t got = read(out[0], buffer, sizeof(buffer));
  close(in[0]);
  close(out[0]);
  return absl::StrCat(std::string(buffer, static_cast<size_t>(std::max<ssize_t>(got, 0))),
                      status.ok() ? "" : status.ToString());
}

TEST(VerifierWorker, AnswersEveryItemWithAScoreASkipOrAnOutage) {
  const std::string said = WorkerSays(
      "{\"item_id\":\"a\",\"completion\":\"<think>x</think><answer>42</answer>\",\"answer\":"
      "\"42\"}\n{\"item_id\":\"b\",\"completion\":\"\",\"answer\":\"42\"}\n"
      "{\"item_id\":\"c\",\"completion\":\"\",\"answer\":\"\"}\n");
  EXPECT_TRUE(absl::StartsWith(said, "{\"hone_verifier\":1,\"name\":\"numeric\""));
  EXPECT_TRUE(absl::StrContains(said, "{\"item_id\":\"a\",\"score\":1.0"));
  EXPECT_TRUE(absl::StrContains(said, "{\"item_id\":\"b\",\"score\":0.0"));
  EXPECT_TRUE(absl::StrContains(said, "{\"item_id\":\"c\",\"skipped\":"));
}

TEST(VerifierWorker, EndsAtALineThatIsNoItem) {
  for (const char* bad : {"x\n", "{}\n", "{\"item_id\":1}\n", "{\"item_id\":\"a\",\"scroe\":1}\n",
                          "{\"item_id\":\"a\""}) {
    EXPECT_TRUE(absl::StrContains(WorkerSays(bad), "INVALID_ARGUMENT")) << bad;
  }
}

}  // namespace
}  // namespace hone
