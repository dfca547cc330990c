// SPDX-License-Identifier: Apache-2.0
//
// One string names a verifier wherever one is wanted: built in, declared, Python, a program, a
// service. docs/custom_verifiers.md is the manual.
#ifndef HONE_SERVICES_CLIENTS_VERIFIER_SPEC_H_
#define HONE_SERVICES_CLIENTS_VERIFIER_SPEC_H_

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "services/clients/worker_process.h"
#include "verifier/verifier.h"

namespace hone {

enum class VerifierKind { kBuiltIn, kRules, kPython, kExec, kGrpc };

struct VerifierSpec {
  VerifierKind kind = VerifierKind::kBuiltIn;
  std::string text;                    // as given
  std::string name;                    // kBuiltIn; the service's verifier after #, may be empty
  std::string file;                    // kPython, kRules; empty: inline rules
  std::string function;                // kPython
  std::string rules;                   // kRules, inline
  std::vector<std::string> command;    // kExec
  std::vector<std::string> addresses;  // kGrpc

  bool custom() const { return kind != VerifierKind::kBuiltIn; }
  // Does opening it start a program of somebody's on this machine?
  bool runs_programs() const {
    return kind == VerifierKind::kPython || kind == VerifierKind::kExec;
  }
};

// INVALID_ARGUMENT says what the form is. Nothing is opened. A word without a colon is a built-in
// verifier's name, known or not.
absl::StatusOr<VerifierSpec> ParseVerifierSpec(absl::string_view text);
// False for what does not parse.
bool IsCustomVerifier(absl::string_view text);

// Makes it. Unknown options are INVALID_ARGUMENT, missing files and programs NOT_FOUND, a program
// without a good hello FAILED_PRECONDITION, a silent service UNAVAILABLE.
absl::StatusOr<std::unique_ptr<Verifier>> OpenVerifier(absl::string_view spec,
                                                       const VerifierOptions& options,
                                                       WorkerLog log = LogToStderr());

// Where its example cases are: the option "cases", else beside its file. Empty: nowhere.
std::string CasesPath(const VerifierSpec& spec, const VerifierOptions& options);
// The option "waive": names of conformance checks, separated by commas.
std::set<std::string> WaivedChecks(const VerifierOptions& options);

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_VERIFIER_SPEC_H_
