// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/cpu/top_filter.h"

#include <cstring>
#include <limits>

namespace hone::kernels {
namespace {

// Larger z, larger key; both zeros are one.
uint32_t KeyOf(float z) {
  z += 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &z, sizeof(bits));
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// The first of `ids` (ascending) at which, in the order (key descending, id ascending), `count` of
// them or `mass` of weight are reached. narrowed: as many; receives the ids still in question.
int32_t Descend(const float* z, const float* weight, const int32_t* ids, int64_t size,
                int32_t* narrowed, int64_t count, double mass) {
  int64_t counted = 0;
  double weighed = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    int64_t counts[256] = {};
    double masses[256] = {};
    for (int64_t i = 0; i < size; ++i) {
      const uint32_t bucket = (KeyOf(z[ids[i]]) >> shift) & 0xFFu;
      ++counts[bucket];
      masses[bucket] += weight[ids[i]];
    }
    int chosen = -1;
    for (int bucket = 255; bucket >= 0; --bucket) {
      if (counts[bucket] == 0) continue;
      if (chosen >= 0) {  // the one before did not reach the goal
        counted += counts[chosen];
        weighed += masses[chosen];
      }
      chosen = bucket;
      if (counted + counts[bucket] >= count || weighed + masses[bucket] >= mass) break;
    }
    int64_t left = 0;
    for (int64_t i = 0; i < size; ++i) {
      if (static_cast<int>((KeyOf(z[ids[i]]) >> shift) & 0xFFu) == chosen)
        narrowed[left++] = ids[i];
    }
    ids = narrowed;
    size = left;
    if (size == 1) break;
  }
  int64_t at = 0;
  for (; at + 1 < size; ++at) {
    ++counted;
    weighed += weight[ids[at]];
    if (counted >= count || weighed >= mass) break;
  }
  return ids[at];
}

}  // namespace

void KeepBest(const float* z, const float* weight, int32_t n, float top_p, int32_t top_k,
              int32_t* candidates, float* last_z, int32_t* last_id) {
  int32_t* narrowed = candidates + n;
  int64_t size = n;
  for (int32_t i = 0; i < n; ++i) candidates[i] = i;
  int32_t last = n - 1;
  if (top_k > 0 && top_k < n) {
    const double any = std::numeric_limits<double>::infinity();
    last = Descend(z, weight, candidates, size, narrowed, top_k, any);
    const uint32_t key = KeyOf(z[last]);
    size = 0;
    for (int32_t i = 0; i < n; ++i) {
      const uint32_t other = KeyOf(z[i]);
      if (other > key || (other == key && i <= last)) candidates[size++] = i;
    }
  }
  if (top_p < 1) {
    double total = 0;
    for (int64_t i = 0; i < size; ++i) total += weight[candidates[i]];
    last = Descend(z, weight, candidates, size, narrowed, size, static_cast<double>(top_p) * total);
  }
  *last_z = z[last];
  *last_id = last;
}

}  // namespace hone::kernels
