// SPDX-License-Identifier: Apache-2.0
#include "services/convert/check.h"

#include <cmath>

#include "services/convert/limits.h"

namespace hone::convert {

void Checker::Fail(absl::string_view field, absl::string_view what) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

void Checker::Range(absl::string_view field, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    Fail(field, absl::StrCat(value, " is not in [", low, ", ", high, "]"));
  }
}

void Checker::Finite(absl::string_view field, double value) {
  if (!std::isfinite(value)) Fail(field, absl::StrCat(value, " is not a finite number"));
}

void Checker::AllFinite(absl::string_view field, absl::Span<const float> values, size_t first) {
  for (size_t i = first; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      Fail(At(field, static_cast<int64_t>(i)), "is not a finite number");
      return;
    }
  }
}

void Checker::Bytes(absl::string_view field, const std::string& text, int64_t limit_bytes) {
  if (static_cast<int64_t>(text.size()) > limit_bytes) {
    Fail(field, absl::StrCat("is ", text.size(), " bytes, at most ", limit_bytes));
  }
}

void Checker::Name(absl::string_view field, const std::string& text) {
  Bytes(field, text, kMaxNameBytes);
}

void Checker::Hex32(absl::string_view field, const std::string& id) {
  bool hex = id.size() == 32;
  for (char c : id) hex = hex && ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
  if (!hex) Fail(field, "is not 32 lower-case hex digits");
}

void Checker::Tokens(absl::string_view field, absl::Span<const int32_t> tokens) {
  Range(absl::StrCat("number of ", field), static_cast<int64_t>(tokens.size()), 1,
        kMaxSequenceTokens);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0) {
      Fail(At(field, static_cast<int64_t>(i)), absl::StrCat(tokens[i], " is not a token id"));
      return;
    }
  }
}

void Checker::Length(absl::string_view field, int64_t length, int64_t expected) {
  if (length != expected) {
    Fail(field, absl::StrCat("has ", length, " entries, expected ", expected));
  }
}

void Checker::Within(absl::string_view field, const absl::Status& part) {
  if (!part.ok() && status_.ok()) {
    status_ = absl::Status(part.code(), absl::StrCat(field, ".", part.message()));
  }
}

}  // namespace hone::convert
