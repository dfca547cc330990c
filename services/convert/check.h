// SPDX-License-Identifier: Apache-2.0
//
// Checks of values that came over the wire. The first failure is kept, with the path of its field.
#ifndef HONE_SERVICES_CONVERT_CHECK_H_
#define HONE_SERVICES_CONVERT_CHECK_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace hone::convert {

// Collects the first INVALID_ARGUMENT of a message: "path.field: what is wrong".
class Checker {
 public:
  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

  void Fail(absl::string_view field, absl::string_view what);
  void Require(bool holds, absl::string_view field, absl::string_view what) {
    if (!holds) Fail(field, what);
  }
  void Range(absl::string_view field, int64_t value, int64_t low, int64_t high);
  void Finite(absl::string_view field, double value);
  // Every number from index `first` on.
  void AllFinite(absl::string_view field, absl::Span<const float> values, size_t first = 0);
  void Bytes(absl::string_view field, const std::string& text, int64_t limit_bytes);
  void Name(absl::string_view field, const std::string& text);
  void Hex32(absl::string_view field, const std::string& id);
  // 1 to kMaxSequenceTokens ids, none negative.
  void Tokens(absl::string_view field, absl::Span<const int32_t> tokens);
  void Length(absl::string_view field, int64_t length, int64_t expected);
  void LengthOrEmpty(absl::string_view field, int64_t length, int64_t expected) {
    if (length != 0) Length(field, length, expected);
  }
  // A failed part's message, with this field's name before it.
  void Within(absl::string_view field, const absl::Status& part);

  // Takes the value of a StatusOr, or its error.
  template <typename T, typename Or>
  void Take(absl::string_view field, Or&& from, T* to) {
    if (from.ok()) {
      *to = *std::forward<Or>(from);
    } else {
      Within(field, from.status());
    }
  }

 private:
  absl::Status status_;
};

inline std::string At(absl::string_view field, int64_t index) {
  return absl::StrCat(field, "[", index, "]");
}

}  // namespace hone::convert

#endif  // HONE_SERVICES_CONVERT_CHECK_H_
