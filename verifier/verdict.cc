// SPDX-License-Identifier: Apache-2.0
#include "verifier/verdict.h"

#include <string>

namespace hone {

const char* OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kUnspecified:
      return "unspecified";
    case Outcome::kCorrect:
      return "correct";
    case Outcome::kWrong:
      return "wrong";
    case Outcome::kUnparsable:
      return "unparsable";
    case Outcome::kLimitExceeded:
      return "limit_exceeded";
    case Outcome::kViolation:
      return "violation";
    case Outcome::kSkipped:
      return "skipped";
    case Outcome::kOutage:
      return "outage";
  }
  return "unspecified";
}

Outcome OutcomeFromName(const std::string& name) {
  for (int i = 1; i <= static_cast<int>(Outcome::kOutage); ++i) {
    const Outcome outcome = static_cast<Outcome>(i);
    if (name == OutcomeName(outcome)) return outcome;
  }
  return Outcome::kUnspecified;
}

}  // namespace hone
