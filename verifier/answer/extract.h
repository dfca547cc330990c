// SPDX-License-Identifier: Apache-2.0
//
// Where in a completion is the answer? One reading for every answer verifier. Views point into
// the text given; nothing is copied. Linear time in any input.
//
// The answer region is what comes after the last </think>, up to a <think> opened again. A
// completion whose reasoning never ends has no region: what is said inside it is no answer.
#ifndef HONE_VERIFIER_ANSWER_EXTRACT_H_
#define HONE_VERIFIER_ANSWER_EXTRACT_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "verifier/verifier.h"

namespace hone {

enum class ExtractMode {
  kStrict,   // training: <answer>..</answer> and nothing else
  kLenient,  // offline grading: answer tag, else \boxed{}, else an anchor, else the region
  kBare,     // the completion is the answer itself
};

enum class AnswerSource {
  kNone,       // no answer; `why` says so
  kAnswerTag,  // the last non-blank <answer>..</answer> of the region
  kBoxed,      // the last \boxed{} or \fbox{}; boxes joined by "or", "and", "," are one answer
  kAnchor,     // the rest of the line after "the answer is", "Answer:", "####", ...
  kRegion,     // nothing marks an answer: the whole region, for the verifier to look into
  kBare,
};

struct ExtractedAnswer {
  AnswerSource source = AnswerSource::kNone;
  absl::string_view text;    // without whitespace at its ends; not empty unless kNone
  absl::string_view region;  // where it was found: what follows the reasoning; empty without one
  std::string why;           // kNone: a sentence
};

// bare wins over lenient; neither: strict.
ExtractMode ModeOf(const Question& question);

// prefilled_think: the prompt ended in <think>, so the completion starts inside the reasoning.
// In an answer tag \boxed{X} means X; several different boxes in one tag stay as they are written
// (an answer that names two candidates is neither of them).
ExtractedAnswer ExtractAnswer(absl::string_view completion, ExtractMode mode, bool prefilled_think);
// Does the question's last prompt segment end in <think>?
bool HasPrefilledThink(const Question& question);

// The gold through the same markers, where it has any: answer tag, boxed, "####"; else all of it.
absl::string_view ExtractGold(absl::string_view gold);

// Text without the blanks, emphasis, quotes and colons before what is said.
absl::string_view SkipLead(absl::string_view text);

// Words that an answer may follow.
struct AnswerAnchor {
  absl::string_view text;    // lower case
  bool wants_math = false;   // what follows must begin with a digit, a sign or a delimiter
  bool starts_line = false;  // it stands at the start of a line
};
// What follows the last anchor after which something is said: said_after gives that, or nothing.
absl::string_view LastAnchored(
    absl::string_view region, absl::Span<const AnswerAnchor> anchors,
    absl::FunctionRef<absl::string_view(const AnswerAnchor&, absl::string_view)> said_after);

// "The answer is not 42", "42 is wrong": `said` is what followed an anchor, or empty.
bool SaysWhatItIsNot(absl::string_view said, absl::string_view region);
inline constexpr char kSaysWhatItIsNot[] = "the text says what the answer is not";

// The last line of text that is not blank.
absl::string_view LastLine(absl::string_view text);

}  // namespace hone

#endif  // HONE_VERIFIER_ANSWER_EXTRACT_H_
