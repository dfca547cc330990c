// SPDX-License-Identifier: Apache-2.0
//
// The verifier "numeric": is the answer the gold's number, exactly? Numbers are exact fractions
// (verifier/answer/number.h says how they may be written); nothing passes through floating point.
#ifndef HONE_VERIFIER_ANSWER_NUMERIC_VERIFIER_H_
#define HONE_VERIFIER_ANSWER_NUMERIC_VERIFIER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "verifier/verifier.h"

namespace hone {

// Options, both numbers >= 0, default 0 (equal means equal); the answer is right when it is within
// either: tolerance (absolute), relative_tolerance (of the gold's magnitude).
//
// Strict: the answer is one number and nothing else. Lenient: one number in words and units
// ("18 dollars", "x = 18"); after an anchor the first, without any marker the last number of the
// text. An answer that names different numbers ("41 or 42") names none: unparsable.
// A number that does not fit in 127 bits is limit_exceeded; such a gold is skipped.
// Evidence: "gold", "value" (as exact fractions), "found_in".
absl::StatusOr<std::unique_ptr<Verifier>> MakeNumericVerifier(const VerifierOptions& options);
VerifierOptions NumericVerifierOptions();  // names and defaults

}  // namespace hone

#endif  // HONE_VERIFIER_ANSWER_NUMERIC_VERIFIER_H_
