// SPDX-License-Identifier: Apache-2.0
//
// The verifier "countdown" (TinyZero's task): does the answer reach the target with every given
// number used exactly once?
#ifndef HONE_VERIFIER_ANSWER_COUNTDOWN_VERIFIER_H_
#define HONE_VERIFIER_ANSWER_COUNTDOWN_VERIFIER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "verifier/verifier.h"

namespace hone {

// No options. Needs metadata "nums" (a JSON list of whole numbers >= 0, at most 64) and "target"
// (a JSON whole number); without them: skipped. The value is an exact fraction: 1/3*3 is 1.
//
// Strict: the answer is an expression of + - * / ( ) and nothing else. Lenient: also a tail
// "= target", which must be true, other signs for the operators (verifier/answer/expression.h), and
// without any marker the expression that ends the last line.
// wrong: another value, other numbers, or a division by zero. unparsable: no expression.
// Evidence: "target", "value", "used" (the numbers in order), "why" where it is not correct.
absl::StatusOr<std::unique_ptr<Verifier>> MakeCountdownVerifier(const VerifierOptions& options);
VerifierOptions CountdownVerifierOptions();  // none

}  // namespace hone

#endif  // HONE_VERIFIER_ANSWER_COUNTDOWN_VERIFIER_H_
