// SPDX-License-Identifier: Apache-2.0
//
// What LaTeX commands, function names and unit words mean. Tables, built once.
#ifndef HONE_VERIFIER_MATH_NAMES_H_
#define HONE_VERIFIER_MATH_NAMES_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "verifier/math/ast.h"

namespace hone::math {

enum class CommandKind : uint8_t {
  kSkip,    // layout without meaning
  kSpace,   // layout that separates
  kText,    // takes a group of prose
  kStyle,   // takes a group of mathematics in another font
  kChar,    // stands for the character `name`
  kSymbol,  // stands for the command `name` (an alias, or itself)
};

struct Command {
  CommandKind kind;
  absl::string_view name;
};

// nullptr for a command that is not known.
const Command* FindCommand(absl::string_view name);

// "sin", "arcsin", "ln", "lg", "max", ...; ln and log are natural, lg has base 10.
std::optional<Fn> FindFunction(absl::string_view name);

// A word that stands for a constant or a Greek letter in plain text: "pi", "infinity", "theta".
// Returns the command it means, or empty.
absl::string_view ConstantWord(absl::string_view word);

// A unit: its dimension and how many base units one of it is (as a fraction in words GMP reads).
struct Unit {
  char dimension;  // 'l'ength, 'm'ass, 't'ime, 'v'olume, '$', 'a'ngle; '?' for things counted
  const char* factor;
};
// Lower case, full stops taken off. nullptr for a word that is no unit.
const Unit* FindUnit(absl::string_view word);

// Do words beside a number take it back, change it or offer another: "or six", "not", "squared"?
// Names of commands and powers are no words. digits_too: does "(6)" as well? True for the words
// behind a number, false for the text of a whole answer.
bool ChangesNumber(absl::string_view words, bool digits_too);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_NAMES_H_
