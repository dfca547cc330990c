// SPDX-License-Identifier: Apache-2.0
#include "verifier/pure_verifier.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "verifier/answer/text.h"

namespace hone {
namespace {

// FNV-1a, 64 bits: names a configuration, protects nothing.
uint64_t Fnv1a(absl::string_view text, uint64_t hash) {
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

std::string HashOptions(absl::string_view name, absl::string_view version,
                        const VerifierOptions& options) {
  uint64_t hash = 0xcbf29ce484222325;
  hash = Fnv1a(absl::StrCat(name, "/", version, "\n"), hash);
  for (const auto& [key, value] : options) hash = Fnv1a(absl::StrCat(key, "=", value, "\n"), hash);
  return absl::StrCat(absl::Hex(hash, absl::kZeroPad16));
}

}  // namespace

PureVerifier::PureVerifier(absl::string_view name, absl::string_view version,
                           absl::string_view description, const VerifierOptions& options)
    : info_{std::string(name), std::string(version), HashOptions(name, version, options),
            std::string(description), /*deterministic=*/true} {}

absl::StatusOr<std::vector<Verdict>> PureVerifier::Verify(absl::Span<const Question> questions) {
  std::vector<Verdict> verdicts;
  verdicts.reserve(questions.size());
  for (const Question& question : questions) verdicts.push_back(JudgeOne(question));
  return verdicts;
}

Verdict PureVerifier::JudgeOne(const Question& question) const {
  const absl::Time start = absl::Now();
  Verdict verdict;
  verdict.verifier = absl::StrCat(info_.name, "/", info_.version, "/", info_.config_hash);
  if (start > question.deadline) {
    Conclude(Outcome::kOutage, "the deadline had passed before this item's turn", &verdict);
    return verdict;
  }
  Judge(question, &verdict);
  assert(verdict.outcome != Outcome::kUnspecified);
  const bool has_part =
      std::any_of(verdict.parts.begin(), verdict.parts.end(),
                  [this](const VerdictPart& part) { return part.name == part_name(); });
  if (verdict.outcome != Outcome::kOutage && !has_part) {
    VerdictPart part;
    part.name = std::string(part_name());
    if (IsVerdict(verdict.outcome)) part.raw = verdict.outcome == Outcome::kCorrect ? 1.0 : 0.0;
    verdict.parts.push_back(part);
  }
  verdict.elapsed_us = absl::ToInt64Microseconds(absl::Now() - start);
  return verdict;
}

bool IsCutOff(const Question& question) {
  return question.truncated || question.stop_reason == "length" ||
         question.stop_reason == "context";
}

bool HitsLimit(const Question& question, Verdict* verdict) {
  const size_t bytes = question.completion().size();
  if (bytes > kMaxCompletionBytes) {
    Conclude(Outcome::kLimitExceeded,
             absl::StrCat("the completion has ", bytes, " bytes; at most ", kMaxCompletionBytes,
                          " are read"),
             verdict);
    return true;
  }
  if (!question.lenient && IsCutOff(question)) {
    Conclude(Outcome::kLimitExceeded,
             absl::StrCat("the completion was cut off", question.stop_reason.empty() ? "" : " (",
                          question.stop_reason, question.stop_reason.empty() ? "" : ")",
                          ": strict grading wants one that ends by itself"),
             verdict);
    return true;
  }
  return false;
}

void Conclude(Outcome outcome, absl::string_view detail, Verdict* verdict) {
  verdict->outcome = outcome;
  verdict->detail = ReadableUtf8(detail, kMaxExtractedBytes, nullptr);
}

void SetExtracted(absl::string_view answer, Verdict* verdict) {
  verdict->extracted = ReadableUtf8(answer, kMaxExtractedBytes, &verdict->extracted_truncated);
}

void SetEvidence(const std::string& name, absl::string_view value, Verdict* verdict) {
  verdict->evidence[name] = ReadableUtf8(value, kMaxExtractedBytes, nullptr);
}

absl::Status ReadOptions(absl::string_view verifier, const VerifierOptions& given,
                         const VerifierOptions& known, VerifierOptions* values) {
  *values = known;
  for (const auto& [name, value] : given) {
    const auto found = values->find(name);
    if (found == values->end()) {
      std::vector<std::string> names;
      for (const auto& [known_name, unused] : known) names.push_back(known_name);
      return absl::InvalidArgumentError(
          absl::StrCat("verifier ", verifier, " has no option \"", name, "\"; it takes ",
                       names.empty() ? "none" : absl::StrJoin(names, ", ")));
    }
    found->second = value;
  }
  return absl::OkStatus();
}

}  // namespace hone
