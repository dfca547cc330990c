// SPDX-License-Identifier: Apache-2.0
#include "services/cli/byte_sizes.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hone::cli {
namespace {

struct Unit {
  absl::string_view name;
  double bytes;
};
constexpr Unit kUnits[] = {{"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
                           {"TiB", 0x1p40}, {"KB", 1e3},     {"MB", 1e6},
                           {"GB", 1e9},     {"TB", 1e12},    {"B", 1}};

}  // namespace

absl::StatusOr<int64_t> ParseByteSize(absl::string_view text) {
  const size_t digits = text.find_first_not_of("0123456789.");
  const absl::string_view number = text.substr(0, digits);
  const absl::string_view unit = digits == text.npos ? "B" : text.substr(digits);
  double value = 0;
  for (const Unit& one : kUnits) {
    if (one.name != unit || !absl::SimpleAtod(number, &value)) continue;
    const double bytes = std::floor(value * one.bytes);
    if (bytes >= 1 && bytes < 9e18) return static_cast<int64_t>(bytes);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is no size; say 5GB, 512MiB or a number of bytes"));
}

std::string ByteSizeText(int64_t bytes) {
  const double value = static_cast<double>(bytes);
  for (const Unit& unit : {kUnits[3], kUnits[2], kUnits[1], kUnits[0]}) {
    if (value >= unit.bytes) return absl::StrFormat("%.2f %s", value / unit.bytes, unit.name);
  }
  return absl::StrCat(bytes, " B");
}

}  // namespace hone::cli
