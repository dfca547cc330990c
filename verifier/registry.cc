// SPDX-License-Identifier: Apache-2.0
#include "verifier/registry.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "verifier/answer/countdown_verifier.h"
#include "verifier/answer/exact_verifier.h"
#include "verifier/answer/numeric_verifier.h"
#include "verifier/code/code_verifier.h"
#include "verifier/math/math_verifier.h"
#include "verifier/rules/format_verifier.h"

namespace hone {
namespace {

struct Entry {
  absl::string_view name;
  absl::StatusOr<std::unique_ptr<Verifier>> (*make)(const VerifierOptions& options);
  VerifierOptions (*options)();
};

constexpr Entry kEntries[] = {
    {"exact", MakeExactVerifier, ExactVerifierOptions},
    {"numeric", MakeNumericVerifier, NumericVerifierOptions},
    {"countdown", MakeCountdownVerifier, CountdownVerifierOptions},
    {"math", MakeMathVerifier, MathVerifierOptions},
    {"code", MakeCodeVerifier, CodeVerifierOptions},
    {"format", MakeFormatVerifier, FormatVerifierOptions},
};

absl::StatusOr<const Entry*> FindEntry(absl::string_view name) {
  std::vector<absl::string_view> names;
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return &entry;
    names.push_back(entry.name);
  }
  const bool planned = name == "custom";
  return absl::NotFoundError(absl::StrCat(
      "there is no verifier \"", name, "\"; this build has ", absl::StrJoin(names, ", "),
      planned ? absl::StrCat(". The verifier \"", name,
                             "\" is not in this build: use another, or "
                             "serve one of your own and name its address")
              : ""));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Verifier>> MakeVerifier(absl::string_view name,
                                                       const VerifierOptions& options) {
  const absl::StatusOr<const Entry*> entry = FindEntry(name);
  if (!entry.ok()) return entry.status();
  return (*entry)->make(options);
}

std::vector<VerifierInfo> ListVerifiers() {
  std::vector<VerifierInfo> infos;
  for (const Entry& entry : kEntries) infos.push_back((*entry.make({}))->Describe());
  return infos;
}

absl::StatusOr<VerifierOptions> ListVerifierOptions(absl::string_view name) {
  const absl::StatusOr<const Entry*> entry = FindEntry(name);
  if (!entry.ok()) return entry.status();
  return (*entry)->options();
}

}  // namespace hone
