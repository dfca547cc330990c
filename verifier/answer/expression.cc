// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/expression.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace hone {
namespace {

struct OperatorName {
  absl::string_view text;
  char meaning;
};
constexpr OperatorName kLenientOperators[] = {
    {"\xC3\x97", '*'}, {"\xC2\xB7", '*'}, {"\\times", '*'},      {"\\cdot", '*'},
    {"\xC3\xB7", '/'}, {"\\div", '/'},    {"\xE2\x88\x92", '-'},
};

class Evaluator {
 public:
  Evaluator(absl::string_view text, bool lenient) : text_(text), lenient_(lenient) {}

  ExpressionValue Run() {
    const std::optional<Rational> value = ParseSum(0);
    if (!failed_ && Operator() != '\0') Fail(ExpressionStatus::kSyntax, "unexpected text");
    if (!failed_ && value) {
      out_.status = ExpressionStatus::kOk;
      out_.value = *value;
    } else if (!failed_) {
      out_.status = undefined_;
      out_.why = undefined_why_;
    }
    return std::move(out_);
  }

 private:
  // Stops the parse.
  void Fail(ExpressionStatus status, absl::string_view why) {
    if (failed_) return;
    failed_ = true;
    out_.status = status;
    out_.why = absl::StrCat(why, " at byte ", at_);
  }

  // Notes that the value does not exist; the parse goes on, to find syntax errors.
  std::optional<Rational> Undefined(ExpressionStatus status, absl::string_view why) {
    if (undefined_why_.empty()) {
      undefined_ = status;
      undefined_why_ = absl::StrCat(why, " before byte ", at_);
    }
    return std::nullopt;
  }

  void SkipBlanks() {
    while (at_ < text_.size() && absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }

  // The operator or bracket that comes next, '?' for anything else, '\0' at the end. Sets its
  // length for Next().
  char Operator() {
    SkipBlanks();
    length_ = 1;
    if (at_ >= text_.size()) return '\0';
    const char c = text_[at_];
    if (c == '+' || c == '-' || c == '*' || c == '/' || c == '(' || c == ')') return c;
    if (!lenient_) return '?';
    for (const OperatorName& name : kLenientOperators) {
      if (!absl::StartsWith(text_.substr(at_), name.text)) continue;
      length_ = name.text.size();
      return name.meaning;
    }
    return '?';
  }
  void Next() { at_ += length_; }

  std::optional<Rational> ParseSum(int depth) {
    std::optional<Rational> left = ParseProduct(depth);
    for (char c = Operator(); !failed_ && (c == '+' || c == '-'); c = Operator()) {
      Next();
      const std::optional<Rational> right = ParseProduct(depth);
      if (!left || !right) {
        left = std::nullopt;
        continue;
      }
      left = c == '+' ? Add(*left, *right) : Subtract(*left, *right);
      if (!left) Undefined(ExpressionStatus::kOverLimit, "a value does not fit in 127 bits");
    }
    return left;
  }

  std::optional<Rational> ParseProduct(int depth) {
    std::optional<Rational> left = ParseUnary(depth);
    for (char c = Operator(); !failed_ && (c == '*' || c == '/'); c = Operator()) {
      Next();
      const std::optional<Rational> right = ParseUnary(depth);
      if (!left || !right) {
        left = std::nullopt;
      } else if (c == '/' && right->is_zero()) {
        left = Undefined(ExpressionStatus::kDivisionByZero, "division by zero");
      } else {
        left = c == '*' ? Multiply(*left, *right) : Divide(*left, *right);
        if (!left) Undefined(ExpressionStatus::kOverLimit, "a value does not fit in 127 bits");
      }
    }
    return left;
  }

  std::optional<Rational> ParseUnary(int depth) {
    if (failed_) return std::nullopt;
    if (depth >= kMaxExpressionDepth) {
      Fail(ExpressionStatus::kOverLimit, absl::StrCat("more than ", kMaxExpressionDepth,
                                                      " parentheses and signs inside each "
                                                      "other"));
      return std::nullopt;
    }
    const char c = Operator();
    if (c == '-') {
      Next();
      const std::optional<Rational> value = ParseUnary(depth + 1);
      if (!value) return std::nullopt;
      return Rational{-value->numerator, value->denominator};
    }
    if (c == '(') {
      Next();
      const std::optional<Rational> value = ParseSum(depth + 1);
      if (failed_) return std::nullopt;
      if (Operator() != ')') {
        Fail(ExpressionStatus::kSyntax, "a closing parenthesis is missing");
        return std::nullopt;
      }
      Next();
      return value;
    }
    return ParseDigits();
  }

  std::optional<Rational> ParseDigits() {
    size_t end = at_;
    while (end < text_.size() && absl::ascii_isdigit(static_cast<unsigned char>(text_[end]))) ++end;
    const absl::string_view digits = text_.substr(at_, end - at_);
    if (digits.empty()) {
      Fail(ExpressionStatus::kSyntax, "a number is missing");
    } else if (digits.size() > 1 && digits[0] == '0') {
      Fail(ExpressionStatus::kSyntax, "a number starts with 0");
    } else if (digits.size() > 18 || out_.numbers.size() >= kMaxExpressionNumbers) {
      Fail(ExpressionStatus::kOverLimit, "a number of more than 18 digits, or too many numbers");
    }
    if (failed_) return std::nullopt;
    int64_t value = 0;
    for (char digit : digits) value = value * 10 + (digit - '0');
    out_.numbers.push_back(value);
    at_ = end;
    return Rational::Of(value);
  }

  const absl::string_view text_;
  const bool lenient_;
  size_t at_ = 0;
  size_t length_ = 1;
  bool failed_ = false;
  ExpressionStatus undefined_ = ExpressionStatus::kOk;
  std::string undefined_why_;
  ExpressionValue out_;
};

}  // namespace

ExpressionValue EvaluateExpression(absl::string_view text, bool lenient) {
  if (text.size() > kMaxExpressionBytes) {
    ExpressionValue out;
    out.status = ExpressionStatus::kOverLimit;
    out.why = absl::StrCat("the expression has ", text.size(), " bytes; at most ",
                           kMaxExpressionBytes, " are read");
    return out;
  }
  return Evaluator(text, lenient).Run();
}

}  // namespace hone
