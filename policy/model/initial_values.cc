// SPDX-License-Identifier: Apache-2.0
#include "policy/model/initial_values.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <memory>

#include "absl/strings/match.h"
#include "policy/kernels/scalar_math.h"
#include "policy/sampling/rng.h"

namespace hone {
namespace {

KeyedRandom RandomOf(uint64_t seed, uint64_t parameter) {
  SampleKey key;
  key.run_seed = seed;
  key.purpose = Purpose::kInit;
  key.group_ordinal = parameter;
  return KeyedRandom(key);
}

}  // namespace

ReadParameter InitialValues(const ParameterRegistry& registry, double range, uint64_t seed) {
  struct Drawing {
    const ParameterInfo* info = nullptr;
    int64_t next = 0;
    KeyedRandom random;
  };
  auto drawing = std::make_shared<Drawing>(Drawing{nullptr, 0, RandomOf(seed, 0)});
  return [&registry, range, seed, drawing](const ParameterInfo& info, int64_t first, int64_t count,
                                           float* to) {
    const bool from_zero = absl::EndsWith(info.name, "bias") ||  // the correction bias too
                           absl::EndsWith(info.name, ".lora_B.weight");
    if (from_zero || info.shape.size() == 1) {
      std::fill(to, to + count, from_zero ? 0.0f : 1.0f);
      return absl::OkStatus();
    }
    const ParameterInfo* own = registry.Find(info.name);
    if (first == 0) {
      const uint64_t index = static_cast<uint64_t>(own - registry.all().data());
      *drawing = {own, 0, RandomOf(seed, index)};
    }
    assert(own != nullptr && drawing->info == own && drawing->next == first);
    const bool adapter = info.group == ParameterGroup::kLora;
    const double bound = adapter ? 1 / std::sqrt(static_cast<double>(info.shape[1])) : 0;
    for (int64_t i = 0; i < count; ++i) {
      const double drawn =
          adapter ? (2 * drawing->random.Uniform() - 1) * bound : drawing->random.Normal() * range;
      const float value = static_cast<float>(drawn);
      to[i] = info.dtype == DType::kBFloat16 ? kernels::RoundToBf16(value) : value;
    }
    drawing->next += count;
    return absl::OkStatus();
  };
}

}  // namespace hone
