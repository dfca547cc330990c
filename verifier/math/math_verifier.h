// SPDX-License-Identifier: Apache-2.0
//
// The verifier "math": does the answer say the same as the gold, as mathematics? docs/math.md is
// its manual: what is read, which conventions hold, where judgement ends.
#ifndef HONE_VERIFIER_MATH_MATH_VERIFIER_H_
#define HONE_VERIFIER_MATH_MATH_VERIFIER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "verifier/verifier.h"

namespace hone {

// Options, with their defaults:
//   percent            either   10% is 10 and is 0.1; "fraction": 0.1 alone; "unit": 10 alone
//   decimal_tolerance  1/1000   relative; how far a rounded decimal may be off. 0: not at all
//   list_order         any      "gold": lists are right in the gold's order alone
//   interval_as_inequality  false   "true": a gold interval accepts x > 2
// Evidence: "gold" and "answer" as read, "rung" (which step of the ladder decided), "found_in",
// "readings" (which second readings were taken), "undecided" when something could not be proved
// either way and was taken as different.
absl::StatusOr<std::unique_ptr<Verifier>> MakeMathVerifier(const VerifierOptions& options);
VerifierOptions MathVerifierOptions();  // names and defaults

}  // namespace hone

#endif  // HONE_VERIFIER_MATH_MATH_VERIFIER_H_
