// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "verifier/math/names.h"
#include "verifier/math/parser_state.h"

namespace hone::math {
namespace {

bool IsInteger(const Node* node) {
  return node->kind == Kind::kNumber && node->decimals < 0;
}

// A decimal's digits or a plain integer: what a unit or a mixed fraction may follow.
bool IsQuantity(const Node& node) {
  return !Any(node, [](const Node& n) {
    return n.kind == Kind::kSymbol || n.kind == Kind::kWord || n.kind == Kind::kText ||
           n.kind == Kind::kCall;
  });
}

std::string LowerWord(absl::string_view text) {
  std::string word = absl::AsciiStrToLower(text);
  while (!word.empty() && word.back() == '.') word.pop_back();
  return word;
}

}  // namespace

// A sign belongs to the first factor: -3 mod 2 is (-3) mod 2, and -x^2 is -(x^2).
const Node* Parser::Signed() {
  bool minus = false;
  int signs = 0;
  while (Now().Is('-') || Now().Is('+')) {
    minus ^= Now().Is('-');
    Advance();
    if (++signs > kMaxNesting) return Fail("too many signs in a row");
  }
  if (Now().IsCommand("pm") || Now().IsCommand("mp")) {
    const char op = Now().IsCommand("pm") ? '+' : '-';
    Advance();
    const Node* right = Signed();
    if (right == nullptr) return nullptr;
    Node* both = arena_.New(Kind::kPlusMinus, right);
    both->op = op;
    return both;
  }
  const Node* value = Implicit(false);
  if (value == nullptr || !minus) return value;
  return arena_.New(Kind::kNegate, value);
}

bool Parser::StartsFactor() const {
  const Token& token = Now();
  switch (token.type) {
    case Token::kNumber:
    case Token::kLetters:
      return true;
    case Token::kText:
      return true;
    case Token::kChar:
      if (token.text[0] == '|') return open_bars_ == 0 && !in_set_;
      return token.text[0] == '(' || token.text[0] == '[' || token.text[0] == '{';
    case Token::kCommand: {
      if (RelationOperator() != 0) return false;
      static constexpr absl::string_view kNot[] = {
          "\\",  "and",    "or",   "cup",   "cap",     "setminus", "times",  "div",
          "mod", "pmod",   "pm",   "mp",    "rfloor",  "rceil",    "rbrace", "rangle",
          "end", "choose", "norm", "rvert", "implies", "ldots",    "boxed"};
      if (token.text == "vert") return open_bars_ == 0 && !in_set_;
      for (absl::string_view name : kNot) {
        if (token.text == name) return false;
      }
      return true;
    }
    case Token::kEnd:
      return false;
  }
  return false;
}

// Factors side by side. After a slash they bind tighter than it, as long as no blank is between.
const Node* Parser::Implicit(bool after_slash) {
  const Node* first = Power();
  if (first == nullptr) return nullptr;
  Node* product = nullptr;
  const Node* value = first;
  while (StartsFactor()) {
    const bool name = Now().type == Token::kCommand || Now().type == Token::kLetters;
    if (in_argument_ && name && FindFunction(Now().text)) break;
    if (after_slash) {
      if (Now().space || Now().Is('(') || Now().type == Token::kText) break;
      if (IsUnitHere(value)) break;
      if (Takes(kLooseSlash)) break;
    }
    if (const Node* mixed = MixedNumber(value)) {
      value = mixed;
      product = nullptr;
      continue;
    }
    if (!why_.empty()) return nullptr;
    bool stop = false;
    const Node* words = TrailingWords(value, &stop);
    if (words == nullptr && !why_.empty()) return nullptr;
    if (stop) break;
    if (words != nullptr) {
      value = words;
      product = nullptr;
      continue;
    }
    const Node* next = Power();
    if (next == nullptr) return nullptr;
    if (next->kind == Kind::kNumber) {  // "3 1\frac{1}{2}": the number begins a mixed one
      if (const Node* mixed = MixedNumber(next)) next = mixed;
    }
    if (product == nullptr) {
      product = arena_.New(Kind::kMultiply, value);
      value = product;
    }
    product->child.push_back(next);
  }
  return value;
}

// "3128 1/2", "1\frac{1}{2}": an integer with a proper fraction behind it is their sum.
const Node* Parser::MixedNumber(const Node* whole) {
  if (!IsInteger(whole)) return nullptr;
  const size_t from = at_;
  mpq_class fraction;
  if (Now().type == Token::kNumber && Now().space && Next().Is('/')) {
    const Node* top = NumberAtom();
    Advance();
    const Node* bottom = Now().type == Token::kNumber ? NumberAtom() : nullptr;
    if (top != nullptr && bottom != nullptr && IsInteger(top) && IsInteger(bottom) &&
        *top->value < *bottom->value) {
      return arena_.NewNumber(*whole->value + *top->value / *bottom->value);
    }
  } else if (Now().IsCommand("frac")) {
    Advance();
    const Node* both = Fraction();
    if (both == nullptr) return nullptr;
    const Node* top = both->child[0];
    const Node* bottom = both->child[1];
    if (IsInteger(top) && IsInteger(bottom) && *top->value < *bottom->value && !Now().Is('^')) {
      return arena_.NewNumber(*whole->value + *top->value / *bottom->value);
    }
    const Node* factor = Postfix(both);
    return factor == nullptr ? nullptr : arena_.New(Kind::kMultiply, whole, factor);
  }
  at_ = from;
  return nullptr;
}

// Is the word here a unit of the value before it? "10 weeks", "10weeks", "5 cm"; never "10cm" or
// "10m", which are products of letters.
bool Parser::IsUnitHere(const Node* value) const {
  if (Now().type != Token::kLetters || !IsQuantity(*value)) return false;
  const absl::string_view word = Now().text;
  if ((word == "min" || word == "sec") && value->kind == Kind::kNumber && Now().space) {
    return !Next().Is('(');
  }
  if (FindFunction(word) || !ConstantWord(word).empty()) return false;
  const bool known = FindUnit(LowerWord(word)) != nullptr;
  if (word.size() == 1) return false;
  if (!Now().space) return known && word.size() >= 4;
  return known || word.size() >= 4;
}

const Node* Parser::TrailingWords(const Node* value, bool* stop) {
  if (Now().type == Token::kText) return UnitPhrase(value);
  if (Now().type != Token::kLetters) return nullptr;
  if (IsUnitHere(value)) return UnitPhrase(value);
  if (Now().text.size() == 1 && Now().space && IsQuantity(*value) &&
      FindUnit(LowerWord(Now().text))) {
    if (Takes(kLetterUnits)) return UnitPhrase(value);
  }
  if (!Now().space && Next().Is('^') && IsQuantity(*value)) {
    for (absl::string_view unit : {"m", "cm", "mm", "km", "ft", "in"}) {
      if (Now().text == unit && Takes(kGluedUnits)) return UnitPhrase(value);
    }
  }
  if ((Now().text == "U" || Now().text == "u") && IsSetLike(value)) *stop = true;
  return nullptr;
}

// Words, powers and slashes behind a value: " square feet", "cm^2", "m/s", "miles per hour".
const Node* Parser::UnitPhrase(const Node* value) {
  if (Now().type == Token::kLetters || Now().type == Token::kText) {
    static constexpr absl::string_view kScales[] = {"hundred", "thousand", "million", "billion",
                                                    "trillion"};
    const std::string word = LowerWord(Now().text);
    for (size_t i = 0; i < 5; ++i) {
      if (word != kScales[i]) continue;
      mpz_class scale;
      mpz_ui_pow_ui(scale.get_mpz_t(), 10, i == 0 ? 2 : 3 * i);
      value = arena_.New(Kind::kMultiply, value, arena_.NewNumber(mpq_class(scale)));
      Advance();
      if (Now().type != Token::kLetters && Now().type != Token::kText) return value;
      break;
    }
  }
  Node* unit = arena_.New(Kind::kUnit, value);
  while (true) {
    const Token& token = Now();
    if (token.type == Token::kText || token.type == Token::kLetters) {
      absl::StrAppend(&unit->text, unit->text.empty() ? "" : " ", token.text);
      Advance();
    } else if (token.Is('^') && (Next().type == Token::kNumber || Next().Is('{'))) {
      Advance();
      const std::string power = Now().Is('{') ? RawGroup() : std::string(Now().text);
      if (Now().type == Token::kNumber) Advance();
      absl::StrAppend(&unit->text, "^", power);
      if (Now().Is('}')) Advance();
    } else if (token.Is('/') && (Next().type == Token::kLetters || Next().type == Token::kText)) {
      absl::StrAppend(&unit->text, "/");
      Advance();
    } else if (token.Is('.') && (Next().type == Token::kLetters)) {
      Advance();
    } else {
      break;
    }
  }
  if (ChangesNumber(unit->text, true)) return Fail("words beside a number change it");
  const size_t times = unit->text.find("times ");  // "5 times x"
  if (times != std::string::npos && times + 7 == unit->text.size()) {
    return Fail("words beside a number change it");
  }
  return unit;
}

const Node* Parser::Power() {
  Level level(this);
  if (TooDeep()) return nullptr;
  const Node* atom = Atom();
  return atom == nullptr ? nullptr : Postfix(atom);
}

const Node* Parser::Postfix(const Node* value) {
  int marks = 0;
  while (value != nullptr) {
    if (++marks > kMaxNesting) {
      over_limit_ = true;
      return Fail("too many marks behind one value");
    }
    if (Now().Is('!')) {
      Advance();
      value = arena_.New(Kind::kFactorial, value);
    } else if (Now().Is('%')) {
      Advance();
      value = arena_.New(Kind::kPercent, value);
    } else if (Now().IsCommand("degree")) {
      Advance();
      value = arena_.New(Kind::kDegree, value);
    } else if (Now().Is('\'') || Now().IsCommand("prime")) {
      if (value->kind == Kind::kText) return FailHere("a name");
      Advance();
      Node* primed = arena_.NewText(Kind::kSymbol, "");
      primed->text =
          absl::StrCat(value->kind == Kind::kSymbol ? value->text : Print(*value, 64), "'");
      value = primed;
    } else if (Now().Is('_')) {
      Advance();
      value = Subscript(value);
    } else if (Now().Is('^')) {
      Advance();
      value = PowerOf(value);
    } else if (value->kind == Kind::kSymbol && Now().Is('(') && !Now().space &&
               absl::StrContains("fghFGH", value->text.substr(0, 1)) && value->text.size() > 0) {
      Node* call = arena_.NewText(Kind::kCall, value->text);
      value = Arguments(call);
    } else {
      return value;
    }
  }
  return nullptr;
}

// Behind ^: a power, degrees, a prime, an ordinal's "th".
const Node* Parser::PowerOf(const Node* base) {
  const bool braced = Now().Is('{');
  const Token& sign = braced ? Next() : Now();
  if (sign.IsCommand("circ") || sign.IsCommand("degree") || sign.IsCommand("prime") ||
      sign.Is('\'')) {
    const bool prime = sign.IsCommand("prime") || sign.Is('\'');
    if (braced) Advance();
    int count = 0;
    while (Now().IsCommand("circ") || Now().IsCommand("degree") || Now().IsCommand("prime") ||
           Now().Is('\'')) {
      Advance();
      ++count;
    }
    if (braced && !Take('}')) return FailHere("a closing brace");
    if (!prime) return arena_.New(Kind::kDegree, base);
    Node* primed = arena_.New(Kind::kSymbol);
    primed->text = base->kind == Kind::kSymbol ? base->text : Print(*base, 64);
    primed->text.append(count, '\'');
    return primed;
  }
  if (sign.type == Token::kText ||
      (braced && sign.type == Token::kLetters &&
       (sign.text == "th" || sign.text == "st" || sign.text == "nd" || sign.text == "rd"))) {
    if (braced) Advance();
    Advance();
    if (braced && !Take('}')) return FailHere("a closing brace");
    return base;
  }
  const Node* exponent = Exponent();
  if (exponent == nullptr) return nullptr;
  // x^2_1 is x_1^2.
  if (base->kind == Kind::kSymbol && Take('_')) base = Subscript(base);
  if (base == nullptr) return nullptr;
  return arena_.New(Kind::kPower, base, exponent);
}

const Node* Parser::Exponent() {
  Level level(this);
  if (TooDeep()) return nullptr;
  if (Now().Is('{')) return BraceGroup();
  const bool minus = Take('-');
  Take('+');
  const Node* value = Atom();
  while (value != nullptr && Now().Is('!')) {
    Advance();
    value = arena_.New(Kind::kFactorial, value);
  }
  // Towers are read from the right: 9^9^9.
  if (value != nullptr && Now().Is('^')) {
    Advance();
    value = PowerOf(value);
  }
  if (value == nullptr) return nullptr;
  return minus ? arena_.New(Kind::kNegate, value) : value;
}

const Node* Parser::Subscript(const Node* base) {
  std::string subscript = RawGroup();
  if (subscript.size() > 2 && subscript.front() == '(' && subscript.back() == ')') {
    subscript = subscript.substr(1, subscript.size() - 2);
  }
  if (subscript.empty()) return FailHere("a subscript");
  if (base->kind == Kind::kNumber || (base->kind == Kind::kText) || base->kind == Kind::kWord) {
    bool digits = true;
    for (char c : subscript) digits = digits && absl::ascii_isdigit(static_cast<unsigned char>(c));
    if (base->kind != Kind::kNumber || digits) {
      const std::string number = base->kind == Kind::kNumber ? base->value->get_str() : base->text;
      return arena_.NewText(Kind::kBased, absl::StrCat(number, "_", subscript));
    }
  }
  Node* named = arena_.New(Kind::kSymbol);
  std::string name = base->kind == Kind::kSymbol ? base->text : Print(*base, 64);
  std::string primes;
  while (!name.empty() && name.back() == '\'') {
    name.pop_back();
    primes.push_back('\'');
  }
  named->text = absl::StrCat(name, "_{", subscript, "}", primes);
  return named;
}

}  // namespace hone::math
