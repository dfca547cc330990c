// SPDX-License-Identifier: Apache-2.0
//
// Questions for the verifier "code", and rows of the data sets as such questions.
#ifndef HONE_TESTS_VERIFIER_CODE_CODE_CASE_H_
#define HONE_TESTS_VERIFIER_CODE_CODE_CASE_H_

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "verifier/code/code_verifier.h"
#include "verifier/verifier.h"

namespace hone {

using Json = nlohmann::json;

// As `hone grade` asks about a row: every key of it is metadata.
inline Question CodeQuestion(const Json& row, const std::string& completion) {
  Question question;
  question.item_id = row.value("id", "");
  if (row.contains("prompt")) question.segments.push_back({"user", "prompt", row["prompt"]});
  question.segments.push_back({"assistant", "model", completion});
  question.tests_json = row["tests"].dump();
  for (const auto& [key, value] : row.items()) question.metadata[key] = value.dump();
  question.lenient = true;
  return question;
}

inline Question BareCode(const Json& tests, const std::string& entry_point,
                         const std::string& code) {
  Json row = {{"tests", tests}};
  if (!entry_point.empty()) row["entry_point"] = entry_point;
  Question question = CodeQuestion(row, code);
  question.bare = true;
  return question;
}

// One sandbox for the test program: the verifiers that tests make share this one's while it lives.
// Not OK: isolation is not permitted here.
inline const absl::Status& SandboxStatus() {
  static const std::shared_ptr<Verifier> keeper = *MakeCodeVerifier({});
  static const absl::Status status =
      keeper->Verify({BareCode("assert f(1)", "f", "def f(x): return 1")}).status();
  return status;
}

class SandboxedTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!SandboxStatus().ok()) GTEST_SKIP() << "not run: " << SandboxStatus();
  }
};

inline std::shared_ptr<Verifier> MakeCode(const VerifierOptions& options = {}) {
  absl::StatusOr<std::unique_ptr<Verifier>> made = MakeCodeVerifier(options);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? std::move(*made) : nullptr;
}

inline Verdict JudgeCode(const Question& question, const VerifierOptions& options = {}) {
  const auto verdicts = MakeCode(options)->Verify({question});
  return verdicts->front();
}

inline void PrintTo(const Verdict& verdict, std::ostream* out) {
  *out << OutcomeName(verdict.outcome) << ": " << verdict.detail;
  for (const auto& [name, value] : verdict.evidence) *out << "\n  " << name << ": " << value;
}

// What a command prints, as one JSON value a line.
inline std::vector<Json> RowsOf(const std::string& command) {
  std::vector<Json> rows;
  std::FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[65536];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) text.append(buffer, n);
  EXPECT_EQ(pclose(pipe), 0) << command;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    rows.push_back(Json::parse(text.substr(at, end - at)));
    at = end + 1;
  }
  return rows;
}

class DataTest : public SandboxedTest {
 protected:
  void SetUp() override {
    if (std::getenv("HONE_DATA_DIR") == nullptr) {
      GTEST_SKIP() << "not run: HONE_DATA_DIR is not set";
    }
    SandboxedTest::SetUp();
  }
};

inline std::vector<Json> DataSet(const std::vector<std::string>& files) {
  std::vector<Json> rows;
  for (const std::string& file : files) {
    const std::string path = std::string(std::getenv("HONE_DATA_DIR")) + "/" + file;
    for (Json& row : RowsOf("gzip -dcf " + path)) rows.push_back(std::move(row));
  }
  return rows;
}

inline std::vector<Json> HumanEval() {
  return DataSet({"humaneval/test.jsonl"});
}

inline std::vector<Json> Mbpp() {
  return DataSet(
      {"mbpp/train.jsonl", "mbpp/test.jsonl", "mbpp/validation.jsonl", "mbpp/prompt.jsonl"});
}

inline std::vector<Json> LeetCode() {
  return DataSet({"leetcode/train.jsonl.gz"});
}

}  // namespace hone

#endif  // HONE_TESTS_VERIFIER_CODE_CODE_CASE_H_
