// SPDX-License-Identifier: Apache-2.0
//
// The verifier "format": has the completion the form of a rule? It needs no gold.
#ifndef HONE_VERIFIER_RULES_FORMAT_VERIFIER_H_
#define HONE_VERIFIER_RULES_FORMAT_VERIFIER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "verifier/verifier.h"

namespace hone {

// Option rule: strict (default), strict_prefilled, think_only. correct: it has the form; wrong:
// it has not, `detail` says why; its part is called "format".
absl::StatusOr<std::unique_ptr<Verifier>> MakeFormatVerifier(const VerifierOptions& options);
VerifierOptions FormatVerifierOptions();  // names and defaults

}  // namespace hone

#endif  // HONE_VERIFIER_RULES_FORMAT_VERIFIER_H_
