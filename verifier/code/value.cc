// SPDX-License-Identifier: Apache-2.0
#include "verifier/code/value.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"

namespace hone {
namespace {

using Json = nlohmann::json;
using Kind = Value::Kind;

constexpr size_t kMaxHexDigits = 1 << 16;  // of an integer from the wire

// Builds a Value. The open containers are a stack of values by value: nothing points into a vector
// that grows.
class Builder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Add({}); }
  bool boolean(bool truth) override {
    Value value;
    value.kind = Kind::kBool;
    value.truth = truth;
    return Add(std::move(value));
  }
  bool number_integer(number_integer_t number) override { return AddInt(absl::StrCat(number)); }
  bool number_unsigned(number_unsigned_t number) override { return AddInt(absl::StrCat(number)); }
  bool number_float(number_float_t number, const string_t& raw) override {
    if (raw.find_first_not_of("-0123456789") == std::string::npos) return AddInt(raw);
    Value value;
    value.kind = Kind::kFloat;
    value.number = number;
    return Add(std::move(value));
  }
  bool string(string_t& text) override {
    Value value;
    value.kind = Kind::kString;
    value.text = std::move(text);
    return Add(std::move(value));
  }
  bool binary(binary_t&) override { return false; }
  bool start_array(size_t) override { return Open(Kind::kList); }
  bool start_object(size_t) override { return Open(Kind::kDict); }
  bool key(string_t& text) override { return string(text); }
  bool end_array() override { return Close(); }
  bool end_object() override { return Close(); }
  bool parse_error(size_t at, const std::string&, const Json::exception&) override {
    error_ = absl::StrCat("no JSON at byte ", at);
    return false;
  }

  const std::string& error() const { return error_; }
  Value Take() { return std::move(root_); }

 private:
  bool AddInt(std::string digits) {
    Value value;
    value.kind = Kind::kInt;
    value.text = digits == "-0" ? "0" : std::move(digits);
    return Add(std::move(value));
  }
  bool Add(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }
  bool Open(Kind kind) {
    if (open_.size() >= static_cast<size_t>(kMaxValueDepth)) {
      error_ = absl::StrCat("JSON nested more than ", kMaxValueDepth, " deep");
      return false;
    }
    open_.emplace_back();
    open_.back().kind = kind;
    return true;
  }
  bool Close() {
    Value done = std::move(open_.back());
    open_.pop_back();
    return Add(std::move(done));
  }

  std::vector<Value> open_;
  Value root_;
  std::string error_;
};

// "-0x1f" as decimal digits.
absl::StatusOr<std::string> DecimalOfHex(absl::string_view hex) {
  const bool negative = absl::ConsumePrefix(&hex, "-");
  if (!absl::ConsumePrefix(&hex, "0x") || hex.empty() || hex.size() > kMaxHexDigits ||
      hex.find_first_not_of("0123456789abcdef") != absl::string_view::npos) {
    return absl::InvalidArgumentError("an integer that is none, or too long");
  }
  std::vector<uint32_t> limbs;  // base 10^9, least first
  for (char c : hex) {
    uint64_t carry = static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
    for (uint32_t& limb : limbs) {
      carry += uint64_t{limb} * 16;
      limb = static_cast<uint32_t>(carry % 1000000000);
      carry /= 1000000000;
    }
    if (carry != 0) limbs.push_back(static_cast<uint32_t>(carry));
  }
  std::string digits;
  for (auto limb = limbs.rbegin(); limb != limbs.rend(); ++limb) {
    absl::StrAppend(&digits, absl::Dec(*limb, absl::kZeroPad9));
  }
  const size_t first = std::min(digits.find_first_not_of('0'), digits.size());
  digits.erase(0, first);
  if (digits.empty()) return std::string("0");
  return absl::StrCat(negative ? "-" : "", digits);
}

absl::StatusOr<Value> WireItems(const Value& body, Kind kind) {
  if (body.kind != Kind::kList) return absl::InvalidArgumentError("items that are no list");
  Value value;
  value.kind = kind;
  for (const Value& item : body.items) {
    absl::StatusOr<Value> read = FromWire(item);
    if (!read.ok()) return read.status();
    value.items.push_back(std::move(*read));
  }
  return value;
}

absl::StatusOr<Value> WireDict(const Value& body) {
  if (body.kind != Kind::kList) return absl::InvalidArgumentError("a dict that is no list");
  Value value;
  value.kind = Kind::kDict;
  for (const Value& pair : body.items) {
    if (pair.kind != Kind::kList || pair.items.size() != 2) {
      return absl::InvalidArgumentError("a dict of no pairs");
    }
    for (const Value& item : pair.items) {
      absl::StatusOr<Value> read = FromWire(item);
      if (!read.ok()) return read.status();
      value.items.push_back(std::move(*read));
    }
  }
  return value;
}

absl::StatusOr<Value> WireNumber(absl::string_view tag, const Value& body) {
  if (body.kind != Kind::kString) return absl::InvalidArgumentError("a number that is no text");
  Value value;
  if (tag == "i") {
    absl::StatusOr<std::string> digits = DecimalOfHex(body.text);
    if (!digits.ok()) return digits.status();
    value.kind = Kind::kInt;
    value.text = std::move(*digits);
    return value;
  }
  value.kind = Kind::kFloat;
  if (body.text == "nan") {
    value.number = std::numeric_limits<double>::quiet_NaN();
  } else if (body.text == "inf" || body.text == "-inf") {
    const double infinity = std::numeric_limits<double>::infinity();
    value.number = body.text == "inf" ? infinity : -infinity;
  } else {
    return absl::InvalidArgumentError("a number that is none");
  }
  return value;
}

// An integer-valued double exactly, as decimal digits; empty for another.
std::string DigitsOf(double number) {
  if (!std::isfinite(number) || std::trunc(number) != number) return "";
  char digits[400];
  std::snprintf(digits, sizeof(digits), "%.0f", number);
  return std::string(digits) == "-0" ? "0" : digits;
}

double AsDouble(const Value& value) {
  return value.kind == Kind::kFloat ? value.number : std::strtod(value.text.c_str(), nullptr);
}

bool SameNumber(const Value& gold, const Value& got, double tolerance) {
  if (gold.kind == Kind::kInt && got.kind == Kind::kInt) return gold.text == got.text;
  if (tolerance > 0) {
    const double a = AsDouble(gold), b = AsDouble(got);
    if (std::isfinite(a) && std::isfinite(b)) {
      return std::fabs(a - b) <= tolerance * std::max(1.0, std::fabs(a));
    }
  }
  if (gold.kind == Kind::kFloat && got.kind == Kind::kFloat) return gold.number == got.number;
  return gold.kind == Kind::kInt ? gold.text == DigitsOf(got.number)
                                 : got.text == DigitsOf(gold.number);
}

bool IsNumber(const Value& value) {
  return value.kind == Kind::kInt || value.kind == Kind::kFloat;
}

bool SameDict(const Value& gold, const Value& got, const SameOptions& options) {
  std::map<absl::string_view, const Value*> by_key;
  for (size_t i = 0; i + 1 < got.items.size(); i += 2) {
    if (got.items[i].kind != Kind::kString) return false;  // a gold has string keys
    by_key[got.items[i].text] = &got.items[i + 1];
  }
  if (by_key.size() * 2 != got.items.size()) return false;
  std::map<absl::string_view, const Value*> gold_by_key;
  for (size_t i = 0; i + 1 < gold.items.size(); i += 2) {
    gold_by_key[gold.items[i].text] = &gold.items[i + 1];
  }
  if (gold_by_key.size() != by_key.size()) return false;
  for (const auto& [key, value] : gold_by_key) {
    const auto found = by_key.find(key);
    if (found == by_key.end() || !SameValue(*value, *found->second, options)) return false;
  }
  return true;
}

std::string ShowFloat(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  return Json(number).dump();
}

void Show(const Value& value, size_t max_bytes, std::string* out) {
  if (out->size() > max_bytes) return;
  const bool is_list = value.kind == Kind::kList, is_dict = value.kind == Kind::kDict;
  switch (value.kind) {
    case Kind::kNull:
      absl::StrAppend(out, "None");
      return;
    case Kind::kBool:
      absl::StrAppend(out, value.truth ? "True" : "False");
      return;
    case Kind::kInt:
      absl::StrAppend(out, value.text);
      return;
    case Kind::kFloat:
      absl::StrAppend(out, ShowFloat(value.number));
      return;
    case Kind::kString:
      absl::StrAppend(out, ToJson(value));
      return;
    case Kind::kOther:
      absl::StrAppend(out, "<", value.text, ">");
      return;
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
      break;
  }
  absl::StrAppend(out, is_list ? "[" : is_dict ? "{" : "(");
  for (size_t i = 0; i < value.items.size(); ++i) {
    if (i > 0) absl::StrAppend(out, is_dict && i % 2 == 1 ? ": " : ", ");
    Show(value.items[i], max_bytes, out);
  }
  absl::StrAppend(out, is_list ? "]" : is_dict ? "}" : value.items.size() == 1 ? ",)" : ")");
}

void Write(const Value& value, std::string* out) {
  const bool is_dict = value.kind == Kind::kDict;
  switch (value.kind) {
    case Kind::kBool:
      absl::StrAppend(out, value.truth ? "true" : "false");
      return;
    case Kind::kInt:
      absl::StrAppend(out, value.text);
      return;
    case Kind::kFloat:
      absl::StrAppend(out, Json(value.number).dump());
      return;
    case Kind::kString:
      absl::StrAppend(out, Json(value.text).dump(-1, ' ', true, Json::error_handler_t::replace));
      return;
    case Kind::kNull:
    case Kind::kTuple:
    case Kind::kOther:
      absl::StrAppend(out, "null");
      return;
    case Kind::kList:
    case Kind::kDict:
      break;
  }
  absl::StrAppend(out, is_dict ? "{" : "[");
  for (size_t i = 0; i < value.items.size(); ++i) {
    if (i > 0) absl::StrAppend(out, is_dict && i % 2 == 1 ? ":" : ",");
    Write(value.items[i], out);
  }
  absl::StrAppend(out, is_dict ? "}" : "]");
}

}  // namespace

const Value* Value::Find(absl::string_view key) const {
  if (kind != Kind::kDict) return nullptr;
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind == Kind::kString && items[i].text == key) return &items[i + 1];
  }
  return nullptr;
}

absl::StatusOr<Value> ParseJson(absl::string_view text) {
  Builder builder;
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::InvalidArgumentError(builder.error().empty() ? "no JSON" : builder.error());
  }
  return builder.Take();
}

std::string ToJson(const Value& value) {
  std::string out;
  Write(value, &out);
  return out;
}

absl::StatusOr<Value> FromWire(const Value& json) {
  if (json.kind == Kind::kList) return WireItems(json, Kind::kList);
  if (json.kind != Kind::kDict) return json;
  if (json.items.empty()) return absl::InvalidArgumentError("a value without a tag");
  const std::string& tag = json.items[0].text;
  const Value& body = json.items[1];
  if (tag == "t") return WireItems(body, Kind::kTuple);
  if (tag == "d") return WireDict(body);
  if (tag == "i" || tag == "n") return WireNumber(tag, body);
  Value other;
  other.kind = Kind::kOther;
  other.text = tag;
  return other;
}

bool SameValue(const Value& gold, const Value& got, const SameOptions& options) {
  if (gold.kind == Kind::kBool) return got.kind == Kind::kBool && gold.truth == got.truth;
  if (gold.kind == Kind::kInt && got.kind == Kind::kBool) {
    return gold.text == (got.truth ? "1" : "0");
  }
  if (IsNumber(gold)) return IsNumber(got) && SameNumber(gold, got, options.tolerance);
  if (gold.kind == Kind::kList) {
    const bool is_sequence =
        got.kind == Kind::kList || (got.kind == Kind::kTuple && options.tuple_is_list);
    return is_sequence && gold.items.size() == got.items.size() &&
           std::equal(gold.items.begin(), gold.items.end(), got.items.begin(),
                      [&](const Value& a, const Value& b) { return SameValue(a, b, options); });
  }
  if (gold.kind != got.kind) return false;
  if (gold.kind == Kind::kString) return gold.text == got.text;
  if (gold.kind == Kind::kDict) return SameDict(gold, got, options);
  return gold.kind == Kind::kNull;
}

std::string ShowValue(const Value& value, size_t max_bytes) {
  std::string out;
  Show(value, max_bytes, &out);
  if (out.size() > max_bytes) out = absl::StrCat(out.substr(0, max_bytes), "...");
  return out;
}

}  // namespace hone
