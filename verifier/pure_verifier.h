// SPDX-License-Identifier: Apache-2.0
//
// What all verifiers have in common that are functions of their question and nothing else: the
// loop, limits, the deadline as a backstop, names. A verifier of this kind implements Judge.
#ifndef HONE_VERIFIER_PURE_VERIFIER_H_
#define HONE_VERIFIER_PURE_VERIFIER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "verifier/verifier.h"

namespace hone {

// Thread-safe: it has no state but its options.
class PureVerifier : public Verifier {
 public:
  VerifierInfo Describe() const override { return info_; }

  // Never fails. An item whose deadline has passed before its turn is an outage.
  absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) final;

 protected:
  // options: all of them, the defaults written out; they are hashed into config_hash.
  PureVerifier(absl::string_view name, absl::string_view version, absl::string_view description,
               const VerifierOptions& options);

  // Sets outcome and detail, extracted and evidence where there are any; the rest is set here.
  // The part named part_name() gets 1 when correct, 0 for another verdict, none otherwise, unless
  // Judge gave it a figure itself.
  virtual void Judge(const Question& question, Verdict* verdict) const = 0;
  virtual absl::string_view part_name() const { return "accuracy"; }

 private:
  Verdict JudgeOne(const Question& question) const;

  VerifierInfo info_;
};

// Helpers for Judge. Each returns true when it has set the outcome.

// The completion is longer than kMaxCompletionBytes, or it was cut off (strict grading: an answer
// that was never finished is none).
bool HitsLimit(const Question& question, Verdict* verdict);
// Was the completion cut off by the token limit or the context?
bool IsCutOff(const Question& question);

// outcome and detail in one line.
void Conclude(Outcome outcome, absl::string_view detail, Verdict* verdict);
// Stores what was extracted, made readable and cut at its limit.
void SetExtracted(absl::string_view answer, Verdict* verdict);
// Stores a piece of evidence, made readable and cut at its limit.
void SetEvidence(const std::string& name, absl::string_view value, Verdict* verdict);

// Refuses options that are not in `known`. *values: known's values, replaced by those given.
absl::Status ReadOptions(absl::string_view verifier, const VerifierOptions& given,
                         const VerifierOptions& known, VerifierOptions* values);

}  // namespace hone

#endif  // HONE_VERIFIER_PURE_VERIFIER_H_
