// SPDX-License-Identifier: Apache-2.0
//
// One question, one verdict, in one line: for tests of single verifiers.
#ifndef HONE_TESTS_VERIFIER_JUDGE_H_
#define HONE_TESTS_VERIFIER_JUDGE_H_

#include <cassert>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/verifier/fake_verifier.h"
#include "verifier/verifier.h"

namespace hone {

inline Verdict JudgeQuestion(const std::string& verifier, const Question& question,
                             const VerifierOptions& options = {}) {
  const auto made = MakeVerifier(verifier, options);
  assert(made.ok());
  const auto verdicts = (*made)->Verify({question});
  assert(verdicts.ok() && verdicts->size() == 1);
  return verdicts->front();
}

// As training asks.
inline Verdict JudgeStrict(const std::string& verifier, const std::string& completion,
                           const std::string& gold, const VerifierOptions& options = {}) {
  return JudgeQuestion(verifier, MakeQuestion(completion, gold), options);
}

// As `hone grade` asks.
inline Verdict JudgeLenient(const std::string& verifier, const std::string& completion,
                            const std::string& gold, const VerifierOptions& options = {}) {
  Question question = MakeQuestion(completion, gold);
  question.stop_reason.clear();
  question.lenient = true;
  return JudgeQuestion(verifier, question, options);
}

inline std::string InTags(const std::string& answer) {
  return "<think>reasoning</think> <answer>" + answer + "</answer>";
}

// The rows of a JSON Lines file under HONE_DATA_DIR; empty without it.
inline std::vector<nlohmann::json> DataRows(const std::string& path) {
  std::vector<nlohmann::json> rows;
  const char* folder = std::getenv("HONE_DATA_DIR");
  if (folder == nullptr) return rows;
  std::ifstream in(std::string(folder) + "/" + path);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) rows.push_back(nlohmann::json::parse(line));
  }
  return rows;
}

}  // namespace hone

#endif  // HONE_TESTS_VERIFIER_JUDGE_H_
