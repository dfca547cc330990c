// SPDX-License-Identifier: Apache-2.0
//
// Multiple choice: which letter does a text name?
#ifndef HONE_VERIFIER_MATH_CHOICE_H_
#define HONE_VERIFIER_MATH_CHOICE_H_

#include "absl/strings/string_view.h"

namespace hone::math {

// The letter that a gold is, when it is one: "C", "(C)", "\text{C}", "C Cecile". 0 otherwise.
char GoldChoice(absl::string_view gold);

// The letter an answer begins with ("(B)", "B. because ..."); lenient: or the text round it, or the
// capital that stands alone at the end of either. 0 when it names none, or two.
// candidate: the answer as extracted; region: the text round it.
char AnswerChoice(absl::string_view candidate, absl::string_view region, bool lenient);

// Do two different letters from A to J stand alone in an answer that should name one?
bool NamesSeveralChoices(absl::string_view text);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_CHOICE_H_
