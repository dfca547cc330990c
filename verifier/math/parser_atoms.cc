// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "verifier/answer/text.h"
#include "verifier/math/names.h"
#include "verifier/math/parser_state.h"

namespace hone::math {
namespace {

constexpr int64_t kMaxDecimalExponent = 5000;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

std::string ProseOf(absl::string_view text) {
  std::string prose = absl::AsciiStrToLower(CollapseWhitespace(text));
  while (!prose.empty() && (prose.back() == '.' || prose.back() == ',' || prose.back() == '!')) {
    prose.pop_back();
  }
  return prose;
}

mpq_class PowerOfTen(int64_t exponent) {
  mpz_class power;
  mpz_ui_pow_ui(power.get_mpz_t(), 10, static_cast<unsigned long>(std::abs(exponent)));
  return exponent < 0 ? mpq_class(mpz_class(1), power) : mpq_class(power);
}

}  // namespace

const Node* Parser::NumberAtom() {
  const absl::string_view text = Now().text;
  std::string digits;
  int32_t decimals = -1;
  size_t i = 0;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (IsDigit(text[i])) {
      digits.push_back(text[i]);
      if (decimals >= 0) ++decimals;
    } else if (text[i] == '.') {
      decimals = 0;
    }
  }
  if (digits.empty()) digits = "0";
  const absl::string_view tail = text.substr(i);
  Advance();
  mpq_class value{mpz_class(digits, 10)};
  if (decimals > 0) value *= PowerOfTen(-decimals);
  if (!tail.empty()) {
    int64_t exponent = 0;
    if (!absl::SimpleAtoi(tail.substr(tail[1] == '+' ? 2 : 1), &exponent) ||
        std::abs(exponent) > kMaxDecimalExponent) {
      over_limit_ = true;
      return Fail(absl::StrCat("a power of ten beyond ", kMaxDecimalExponent));
    }
    const bool sign = tail[0] == 'e' && (tail[1] == '-' || tail[1] == '+');
    if (sign && Takes(kEulerSign)) {
      const Node* left =
          arena_.New(Kind::kMultiply, arena_.NewNumber(value, decimals), arena_.New(Kind::kE));
      return arena_.New(Kind::kAdd, left, arena_.NewNumber(mpq_class(exponent)));
    }
    value *= PowerOfTen(exponent);
    decimals = static_cast<int32_t>(std::max<int64_t>(0, std::max(decimals, 0) - exponent));
  }
  value.canonicalize();
  const Node* number = arena_.NewNumber(std::move(value), decimals);
  if (decimals >= 0 && Now().IsCommand("overline") && !Now().space) return RepeatingDecimal(number);
  return number;
}

// 0.1\overline{6}: the digits under the bar come again and again.
const Node* Parser::RepeatingDecimal(const Node* number) {
  Advance();
  const std::string digits = RawGroup();
  if (digits.empty() || digits.size() > 64) return Fail("the repeating digits cannot be read");
  for (char c : digits) {
    if (!IsDigit(c)) return Fail("the repeating digits cannot be read");
  }
  const int64_t length = static_cast<int64_t>(digits.size());
  mpq_class period = mpq_class(mpz_class(digits, 10)) / (PowerOfTen(length) - 1);
  return arena_.NewNumber(*number->value + period * PowerOfTen(-number->decimals));
}

const Node* Parser::SymbolCommand(absl::string_view name) {
  if (name == "pi") return arena_.New(Kind::kPi);
  if (name == "infty") return arena_.New(Kind::kInfinity);
  if (name == "e") return arena_.New(Kind::kE);
  if (name == "i") return arena_.New(Kind::kI);
  if (name == "emptyset") return arena_.New(Kind::kNamedSet);
  if (name.size() == 5 && name.substr(0, 4) == "set:") {
    return arena_.NewText(Kind::kNamedSet, name.substr(4));
  }
  return arena_.NewText(Kind::kSymbol, name);
}

const Node* Parser::WordAtom() {
  const absl::string_view word = Now().text;
  if (word.size() > 1) {
    if (const auto fn = FindFunction(word)) {
      Advance();
      return Function(*fn, word == "lg");
    }
    if (word == "sqrt") return Root();
    const absl::string_view constant = ConstantWord(word);
    if (!constant.empty()) {
      Advance();
      return SymbolCommand(constant);
    }
  }
  Advance();
  const bool marked = (Now().Is('^') || Now().Is('_') || Now().Is('\'') || Now().Is('!') ||
                       (Now().Is('(') && !Now().space));
  if (word.size() == 1) {
    const bool named = Now().Is('_') || Now().Is('\'');
    if (word == "e" && !named) return arena_.New(Kind::kE);
    if ((word == "i" || word == "I") && !named) return arena_.New(Kind::kI);
    return arena_.NewText(Kind::kSymbol, word);
  }
  if (marked) {  // xy^2: the mark is the last letter's
    Node* product = arena_.New(Kind::kMultiply);
    for (size_t i = 0; i < word.size(); ++i) {
      const absl::string_view letter = word.substr(i, 1);
      const bool named = i + 1 == word.size() && (Now().Is('_') || Now().Is('\''));
      product->child.push_back(letter == "e" && !named   ? arena_.New(Kind::kE)
                               : letter == "i" && !named ? arena_.New(Kind::kI)
                                                         : arena_.NewText(Kind::kSymbol, letter));
    }
    const Node* last = Postfix(product->child.back());
    if (last == nullptr) return nullptr;
    product->child.back() = last;
    return product;
  }
  const bool prose = (Now().type == Token::kLetters || Now().type == Token::kText) &&
                     (word.size() > 2 || Now().text.size() > 2) && !FindFunction(Now().text);
  if (!prose) return arena_.NewText(Kind::kWord, word);
  std::string text(word);
  while ((Now().type == Token::kLetters || Now().type == Token::kText ||
          (Now().type == Token::kNumber && Now().space)) &&
         !FindFunction(Now().text)) {
    absl::StrAppend(&text, " ", Now().text);
    Advance();
  }
  return arena_.NewText(Kind::kText, ProseOf(text));
}

const Node* Parser::Atom() {
  Level level(this);
  if (TooDeep()) return nullptr;
  const Token token = Now();
  switch (token.type) {
    case Token::kNumber:
      return NumberAtom();
    case Token::kLetters:
      return WordAtom();
    case Token::kText: {
      std::string text(token.text);
      Advance();
      while (Now().type == Token::kText) {
        absl::StrAppend(&text, " ", Now().text);
        Advance();
      }
      return arena_.NewText(Kind::kText, ProseOf(text));
    }
    case Token::kChar:
      if (token.Is('(') || token.Is('[')) return Bracketed();
      if (token.Is('{')) return BraceGroup();
      if (token.Is('|')) return BarPair(false);
      return FailHere("a value");
    case Token::kCommand:
      return CommandAtom();
    case Token::kEnd:
      return FailHere("a value");
  }
  return nullptr;
}

const Node* Parser::CommandAtom() {
  const absl::string_view name = Now().text;
  if (name == "sqrt") return Root();
  if (name == "lbrace") return SetBraces();
  if (name == "vert") return BarPair(false);
  if (name == "norm") return BarPair(true);
  if (name == "lvert") return Bars("rvert", Fn::kAbs);
  if (name == "lfloor") return Bars("rfloor", Fn::kFloor);
  if (name == "lceil") return Bars("rceil", Fn::kCeil);
  static constexpr absl::string_view kNoValue[] = {
      "\\",     "and",    "or",     "cup",    "cap",    "setminus", "times", "div",
      "mod",    "pmod",   "pm",     "mp",     "rfloor", "rceil",    "rvert", "rbrace",
      "end",    "choose", "rangle", "leq",    "geq",    "neq",      "in",    "notin",
      "approx", "equiv",  "subset", "supset", "to",     "implies",  "ldots"};
  for (absl::string_view other : kNoValue) {
    if (name == other) return FailHere("a value");
  }
  Advance();
  if (name == "frac") return Fraction();
  if (name == "boxed") return Argument();
  if (name == "begin") return Environment();
  if (name == "sum") return BigOperator(Kind::kSum);
  if (name == "prod") return BigOperator(Kind::kProduct);
  if (name == "lim") return Limit();
  if (name == "int" || name == "oint" || name == "iint") return Integral();
  if (name == "overline") return Overline();
  if (name == "angle" || name == "triangle") return Angle();
  if (name == "vec") return arena_.NewText(Kind::kSymbol, absl::StrCat("vec{", RawGroup(), "}"));
  if (name == "langle") {
    const Node* inner = List(false);
    if (inner == nullptr || !TakeCommand("rangle")) return FailHere("\\rangle");
    Node* tuple = arena_.New(Kind::kTuple);
    tuple->open = '(';
    tuple->close = ')';
    if (inner->kind != Kind::kList) return inner;
    tuple->child = inner->child;
    return tuple;
  }
  if (name == "binom") {
    const Node* n = Argument();
    const Node* k = n == nullptr ? nullptr : Argument();
    return k == nullptr ? nullptr : arena_.New(Kind::kBinomial, n, k);
  }
  if (const auto fn = FindFunction(name)) return Function(*fn, name == "lg");
  return SymbolCommand(name);
}

// What a command takes: a group, a command with its own, one digit or one letter.
const Node* Parser::Argument() {
  Level level(this);
  if (TooDeep()) return nullptr;
  Token& token = tokens_[at_];
  if (token.Is('{')) return BraceGroup();
  if (token.type == Token::kNumber && token.text.size() > 1 && IsDigit(token.text[0])) {
    const mpq_class digit(token.text[0] - '0');
    token.text.remove_prefix(1);
    if (!IsDigit(token.text[0]) && token.text[0] != '.') return Fail("a group is not closed");
    return arena_.NewNumber(digit);
  }
  if (token.type == Token::kLetters && token.text.size() > 1) {
    const absl::string_view letter = token.text.substr(0, 1);
    token.text.remove_prefix(1);
    return letter == "e" ? arena_.New(Kind::kE) : arena_.NewText(Kind::kSymbol, letter);
  }
  return Atom();
}

const Node* Parser::Fraction() {
  const Node* top = Argument();
  const Node* bottom = top == nullptr ? nullptr : Argument();
  return bottom == nullptr ? nullptr : arena_.New(Kind::kDivide, top, bottom);
}

const Node* Parser::Root() {
  const bool word = Now().type == Token::kLetters;
  Advance();
  const Node* index = nullptr;
  if (Now().Is('[')) {
    Advance();
    index = Sum();
    if (index == nullptr || !Take(']')) return FailHere("a closing bracket");
  } else {
    index = arena_.NewNumber(mpq_class(2));
  }
  const Node* inner = word && Now().type == Token::kNumber ? NumberAtom() : Argument();
  return inner == nullptr ? nullptr : arena_.New(Kind::kRoot, inner, index);
}

const Node* Parser::Function(Fn fn, bool base_ten) {
  const Node* exponent = nullptr;
  const Node* base = base_ten ? arena_.NewNumber(mpq_class(10)) : nullptr;
  while (Now().Is('^') || Now().Is('_')) {
    const bool power = Now().Is('^');
    Advance();
    const Node* value = power                          ? Exponent()
                        : Now().type == Token::kNumber ? NumberAtom()
                                                       : Argument();
    if (value == nullptr) return nullptr;
    (power ? exponent : base) = value;
  }
  Node* call = arena_.New(Kind::kFunction);
  call->fn = fn;
  if (Arguments(call) == nullptr) return nullptr;
  if (fn == Fn::kLog && base != nullptr) call->child.push_back(base);
  if (exponent == nullptr) return call;
  const bool inverse = exponent->kind == Kind::kNegate &&
                       exponent->child[0]->kind == Kind::kNumber &&
                       *exponent->child[0]->value == 1 && fn <= Fn::kCsc;
  if (inverse) {
    call->fn = static_cast<Fn>(static_cast<int>(fn) + static_cast<int>(Fn::kArcsin));
    return call;
  }
  return arena_.New(Kind::kPower, call, exponent);
}

const Node* Parser::FunctionArgument() {
  const bool argument = in_argument_;
  in_argument_ = true;
  const bool minus = Take('-');
  const Node* value = Implicit(false);
  in_argument_ = argument;
  if (value == nullptr) return nullptr;
  return minus ? arena_.New(Kind::kNegate, value) : value;
}

// Adds the arguments to `call`: in brackets of any kind, or the factors that follow.
const Node* Parser::Arguments(Node* call) {
  Level level(this);
  if (TooDeep()) return nullptr;
  const Node* inner = Now().Is('(') || Now().Is('[') ? Bracketed()
                      : Now().Is('{')                ? BraceGroup()
                      : Now().IsCommand("lbrace")    ? SetBraces()
                                                     : FunctionArgument();
  if (inner == nullptr) return nullptr;
  if (inner->kind == Kind::kTuple || inner->kind == Kind::kList || inner->kind == Kind::kSet) {
    call->child = inner->child;
  } else {
    call->child.push_back(inner);
  }
  return call->child.empty() ? FailHere("an argument") : call;
}

// The tokens of a group (or one letter, number or command) as text, read past.
std::string Parser::RawGroup() {
  std::string text;
  Token& token = tokens_[at_];
  if (!token.Is('{')) {
    if (token.type == Token::kEnd) return text;
    if (token.type == Token::kLetters && token.text.size() > 1) {
      text = std::string(token.text.substr(0, 1));
      token.text.remove_prefix(1);
      return text;
    }
    text = std::string(token.text);
    Advance();
    return text;
  }
  int depth = 0;
  while (Now().type != Token::kEnd) {
    if (Now().Is('{')) ++depth;
    if (Now().Is('}') && --depth == 0) {
      Advance();
      break;
    }
    if (!(depth == 1 && Now().Is('{'))) absl::StrAppend(&text, Now().text);
    Advance();
  }
  return text;
}

}  // namespace hone::math
