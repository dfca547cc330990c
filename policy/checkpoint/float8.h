// SPDX-License-Identifier: Apache-2.0
//
// Weights of eight bits, as published checkpoints hold them: e4m3 numbers (a sign, four bits of
// exponent with bias 7, three of mantissa; no infinities; 0x7f and 0xff are NaN; at most 448) and
// one float multiplier for every block of a matrix, stored beside X.weight as
// X.weight_scale_inv [ceil(rows / block), ceil(columns / block)]. The last blocks may be ragged.
#ifndef HONE_POLICY_CHECKPOINT_FLOAT8_H_
#define HONE_POLICY_CHECKPOINT_FLOAT8_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hone {

inline constexpr float kLargestFloat8 = 448.0f;
inline constexpr absl::string_view kScaleSuffix = "_scale_inv";

float FromFloat8(uint8_t bits);
// Round to nearest, ties to even; larger magnitudes become 448; NaN stays NaN.
uint8_t ToFloat8(float value);

// The "quantization_config" of a config.json.
struct BlockQuantization {
  bool fp8 = false;  // false: there is none, weights are plain numbers
  int64_t block_rows = 128;
  int64_t block_columns = 128;
};

// INVALID_ARGUMENT: not JSON, a malformed quantization_config. UNIMPLEMENTED: another method or
// number format than fp8 e4m3 in blocks, by name.
absl::StatusOr<BlockQuantization> ReadQuantization(absl::string_view config_json);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_FLOAT8_H_
