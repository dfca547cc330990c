// SPDX-License-Identifier: Apache-2.0
//
// The verifiers of this build by name. MakeVerifier and ListVerifiers are declared in verifier.h;
// here is what a front end needs besides to offer them.
#ifndef HONE_VERIFIER_REGISTRY_H_
#define HONE_VERIFIER_REGISTRY_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "verifier/verifier.h"

namespace hone {

// The options a verifier takes, with their defaults. NOT_FOUND as MakeVerifier.
absl::StatusOr<VerifierOptions> ListVerifierOptions(absl::string_view name);

}  // namespace hone

#endif  // HONE_VERIFIER_REGISTRY_H_
