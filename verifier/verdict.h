// SPDX-License-Identifier: Apache-2.0
//
// What a verifier found out about one completion. A verdict is a fact about the completion; if
// the verifier could not do its work there is no verdict but an outage, and never a reward.
#ifndef HONE_VERIFIER_VERDICT_H_
#define HONE_VERIFIER_VERDICT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hone {

enum class Outcome : uint8_t {
  kUnspecified = 0,  // never stored
  kCorrect = 1,
  kWrong = 2,          // ran to the end and the answer does not match
  kUnparsable = 3,     // no answer could be read from the completion
  kLimitExceeded = 4,  // the completion hit a limit; `detail` says which. A real 0.
  kViolation = 5,      // it tried what the sandbox forbids
  kSkipped = 6,        // cannot be judged at all (unreadable gold): no reward
  kOutage = 7,         // the machinery failed: says nothing about the completion
};

// "correct", "wrong", "unparsable", "limit_exceeded", "violation", "skipped", "outage".
const char* OutcomeName(Outcome outcome);
Outcome OutcomeFromName(const std::string& name);  // kUnspecified for an unknown name
// The first five: a fact about the completion, worth a reward.
inline bool IsVerdict(Outcome outcome) {
  return outcome >= Outcome::kCorrect && outcome <= Outcome::kViolation;
}

// One named figure of a verdict, before weights: "accuracy", "format", ...
struct VerdictPart {
  std::string name;
  std::optional<double> raw;  // none: this part could not be computed for this item
  std::optional<int32_t> segment;
};

struct Verdict {
  Outcome outcome = Outcome::kUnspecified;
  std::vector<VerdictPart> parts;
  std::string extracted;  // the answer as extracted; at most 4 KiB
  bool extracted_truncated = false;
  std::string detail;  // a sentence: what was compared, which limit, why skipped or out
  std::map<std::string, std::string> evidence;  // more, by name: "gold", "value", "stderr", ...
  std::string verifier;                         // name/version/config hash
  int64_t elapsed_us = 0;                       // observational
};

}  // namespace hone

#endif  // HONE_VERIFIER_VERDICT_H_
