// SPDX-License-Identifier: Apache-2.0
//
// A verifier that is declared and not written: exact, casefold, numeric, regex, set and list rules
// with weights and gates, as JSON. docs/custom_verifiers.md shows the form.
#ifndef HONE_VERIFIER_RULES_DECLARATIVE_H_
#define HONE_VERIFIER_RULES_DECLARATIVE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "verifier/verifier.h"

namespace hone {

// Parses and checks the whole declaration: INVALID_ARGUMENT names the rule and the key. A pure
// verifier: exact numbers, RE2's linear time. Its parts are the rules' (1, 0, or none where the
// gate was closed) and "accuracy", the score; correct from the threshold on, which is the highest
// score unless declared.
//
// Limits: a declaration of 1 MiB, 32 rules, a pattern of 4 KiB and a program of 1 MiB, 1,024
// elements of a set or list, an answer of 64 KiB.
absl::StatusOr<std::unique_ptr<Verifier>> MakeDeclarativeVerifier(absl::string_view json);

}  // namespace hone

#endif  // HONE_VERIFIER_RULES_DECLARATIVE_H_
