// SPDX-License-Identifier: Apache-2.0
#include "policy/model/initial_values.h"

#include <algorithm>
#include <cassert>
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
    if (!info.trainable || info.shape.size() == 1) {
      const bool zero = !info.trainable || absl::EndsWith(info.name, ".bias");
      std::fill(to, to + count, zero ? 0.0f : 1.0f);
      return absl::OkStatus();
    }
    if (first == 0) {
      const uint64_t index = static_cast<uint64_t>(&info - registry.all().data());
      *drawing = {&info, 0, RandomOf(seed, index)};
    }
    assert(drawing->info == &info && drawing->next == first);
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(drawing->random.Normal() * range);
      to[i] = info.dtype == DType::kBFloat16 ? kernels::RoundToBf16(value) : value;
    }
    drawing->next += count;
    return absl::OkStatus();
  };
}

}  // namespace hone
