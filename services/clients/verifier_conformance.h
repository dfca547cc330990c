// SPDX-License-Identifier: Apache-2.0
//
// What every verifier must do before a run may learn from it: give its own examples full score,
// and give none to what a policy would try instead. docs/custom_verifiers.md lists the checks.
#ifndef HONE_SERVICES_CLIENTS_VERIFIER_CONFORMANCE_H_
#define HONE_SERVICES_CLIENTS_VERIFIER_CONFORMANCE_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "verifier/verifier.h"

namespace hone {

// An example of the verifier's own: `completion` deserves full score.
struct VerifierCase {
  std::string prompt;
  std::string answer;
  std::string tests_json;
  std::map<std::string, std::string> metadata;  // values are JSON texts
  std::string completion;
};

// JSON Lines of {"prompt","answer"|"tests","completion", metadata...}: 1 to 256 rows. NOT_FOUND, or
// INVALID_ARGUMENT with the line.
absl::StatusOr<std::vector<VerifierCase>> ReadVerifierCases(const std::string& path);

struct ConformanceRow {
  enum class Result { kPassed, kFailed, kWaived, kNotApplicable };
  std::string check;  // "gold", "empty", "two_answers", ...
  Result result = Result::kPassed;
  std::string expected;  // "correct", "not correct", ...
  std::string found;     // what happened; for a failure the example and the verdict
};

struct ConformanceOptions {
  std::set<std::string> waived;
  absl::Duration deadline = absl::Seconds(60);      // of a check's question
  absl::Duration hang_deadline = absl::Seconds(5);  // of those that may hang
};

struct ConformanceReport {
  std::vector<ConformanceRow> rows;
  bool ok() const;
  // One sentence naming the first check that failed.
  std::string first_failure() const;
};

// Without cases: the usual forms of an answer 42 are tried for one that gets full score.
// INVALID_ARGUMENT: a waived check that there is not.
absl::StatusOr<ConformanceReport> TestVerifier(Verifier& verifier, std::vector<VerifierCase> cases,
                                               const ConformanceOptions& options);

// Reads the cases of a spec and holds the opened verifier to all checks. OK, or
// FAILED_PRECONDITION naming the verifier, the check and what to do.
absl::Status CheckCustomVerifier(absl::string_view spec, const VerifierOptions& options,
                                 Verifier& verifier);

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_VERIFIER_CONFORMANCE_H_
