// SPDX-License-Identifier: Apache-2.0
//
// A Python value as the judge sees it: golds from JSON, and what a candidate returned, from the
// wire of verifier/code/wire.py. Integers keep all their digits.
#ifndef HONE_VERIFIER_CODE_VALUE_H_
#define HONE_VERIFIER_CODE_VALUE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hone {

struct Value {
  enum class Kind { kNull, kBool, kInt, kFloat, kString, kList, kTuple, kDict, kOther };

  Kind kind = Kind::kNull;
  bool truth = false;        // kBool
  double number = 0;         // kFloat; may be NaN or infinite from the wire
  std::string text;          // kInt: decimal digits with sign; kString; kOther: its tag
  std::vector<Value> items;  // kList, kTuple; kDict: key, value, key, value, ...

  // The value of a string key of a kDict; null when there is none.
  const Value* Find(absl::string_view key) const;
};

// Lists in lists, deeper than this, are refused by ParseJson.
inline constexpr int kMaxValueDepth = 256;

// INVALID_ARGUMENT: no JSON, or nested too deep. Objects become kDict with string keys, in order.
absl::StatusOr<Value> ParseJson(absl::string_view text);
// The inverse of ParseJson, for the kinds it makes. Invalid UTF-8 becomes U+FFFD.
std::string ToJson(const Value& value);

// Reads the tags of the wire: {"t": [..]} is a tuple, {"d": [[k, v], ..]} a dict, {"i": "0x.."} an
// integer. What a JSON gold can never be is kOther. INVALID_ARGUMENT for what nobody encodes.
absl::StatusOr<Value> FromWire(const Value& json);

struct SameOptions {
  double tolerance = 0;        // |a - b| <= tolerance * max(1, |a|) for two numbers, one a float
  bool tuple_is_list = false;  // a tuple equals a list of the same items
};

// Python's ==, but that a gold which is a bool is equal to a bool alone. kOther equals nothing.
bool SameValue(const Value& gold, const Value& got, const SameOptions& options);

// As Python would show it, cut at max_bytes.
std::string ShowValue(const Value& value, size_t max_bytes);

}  // namespace hone

#endif  // HONE_VERIFIER_CODE_VALUE_H_
