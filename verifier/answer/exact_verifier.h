// SPDX-License-Identifier: Apache-2.0
//
// The verifier "exact": is the answer the gold, byte for byte once runs of whitespace are one
// blank? A gold that is a single letter means multiple choice: B, (B), [B], B., B), **B**,
// \text{B}, "option B" and "B. its text" all name B; an answer that names two choices names none.
#ifndef HONE_VERIFIER_ANSWER_EXACT_VERIFIER_H_
#define HONE_VERIFIER_ANSWER_EXACT_VERIFIER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "verifier/verifier.h"

namespace hone {

// Option case_insensitive: true or false (default): ASCII letters only.
// Lenient grading also takes math delimiters, emphasis and a full stop off, and a lower-case
// choice. An answer of more than 64 KiB is limit_exceeded. Evidence: "gold", "found_in".
absl::StatusOr<std::unique_ptr<Verifier>> MakeExactVerifier(const VerifierOptions& options);
VerifierOptions ExactVerifierOptions();  // names and defaults

// The letter (as written) an answer chooses; '\0' when it chooses none or more than one.
char ReadChoice(absl::string_view answer);

}  // namespace hone

#endif  // HONE_VERIFIER_ANSWER_EXACT_VERIFIER_H_
