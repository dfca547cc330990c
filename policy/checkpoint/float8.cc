// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/float8.h"

#include <array>
#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/tokenizer/json_limits.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr JsonLimits kLimits = {size_t{1} << 20, 16, int64_t{1} << 17};
constexpr int64_t kMaxBlock = 1 << 16;

float Decode(uint8_t bits) {
  const int exponent = bits >> 3 & 0xf, mantissa = bits & 7;
  if (exponent == 0xf && mantissa == 7) return std::nanf("");
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

absl::Status CheckName(const json& config, const char* key, const char* only) {
  const auto at = config.find(key);
  if (at == config.end() || at->is_null() || *at == only) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("config.json: quantization_config.", key, " is ",
                                               at->dump().substr(0, 80), "; Hone reads ", only));
}

}  // namespace

float FromFloat8(uint8_t bits) {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> out;
    for (int i = 0; i < 256; ++i) out[static_cast<size_t>(i)] = Decode(static_cast<uint8_t>(i));
    return out;
  }();
  return table[bits];
}

uint8_t ToFloat8(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint8_t sign = static_cast<uint8_t>(bits >> 24 & 0x80);
  const float magnitude = std::abs(value);
  if (std::isnan(value)) return static_cast<uint8_t>(sign | 0x7f);
  if (magnitude >= kLargestFloat8) return static_cast<uint8_t>(sign | 0x7e);
  if (magnitude < 0x1p-6f) {
    // Steps of 2^-9; adding 2^14 leaves no finer bit, and rounds to even.
    const float rounded = (magnitude + 0x1p14f) - 0x1p14f;
    return static_cast<uint8_t>(sign | static_cast<uint8_t>(rounded * 0x1p9f));
  }
  // Three bits of mantissa stay; a carry goes into the exponent, as it should.
  const uint32_t kept = (bits & 0x7fffffffu) + 0x7ffffu + (bits >> 20 & 1);
  return static_cast<uint8_t>(sign | ((kept >> 20) - (uint32_t{120} << 3)));
}

absl::StatusOr<BlockQuantization> ReadQuantization(absl::string_view config_json) {
  const absl::StatusOr<json> root = ParseJson(config_json, kLimits, "config.json");
  if (!root.ok()) return root.status();
  BlockQuantization out;
  if (!root->is_object()) return absl::InvalidArgumentError("config.json: not an object");
  const auto at = root->find("quantization_config");
  if (at == root->end() || at->is_null()) return out;
  const auto refuse = [](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: quantization_config ", why));
  };
  if (!at->is_object()) return refuse("is not an object");
  if (!at->contains("quant_method")) return refuse("has no quant_method");
  for (const auto& [key, only] : {std::pair{"quant_method", "fp8"}, std::pair{"fmt", "e4m3"}}) {
    if (absl::Status status = CheckName(*at, key, only); !status.ok()) return status;
  }
  out.fp8 = true;
  const auto block = at->find("weight_block_size");
  if (block == at->end() || block->is_null()) {
    return absl::UnimplementedError(
        "config.json: quantization_config has no weight_block_size; Hone reads fp8 in blocks");
  }
  if (!block->is_array() || block->size() != 2) return refuse("weight_block_size is not a pair");
  int64_t* const sides[] = {&out.block_rows, &out.block_columns};
  for (size_t i = 0; i < 2; ++i) {
    const json& side = (*block)[i];
    if (!side.is_number_unsigned() || side.get<uint64_t>() < 1 ||
        side.get<uint64_t>() > uint64_t{kMaxBlock}) {
      return refuse(absl::StrCat("weight_block_size has ", side.dump().substr(0, 40),
                                 "; a side is between 1 and ", kMaxBlock));
    }
    *sides[i] = side.get<int64_t>();
  }
  return out;
}

}  // namespace hone
