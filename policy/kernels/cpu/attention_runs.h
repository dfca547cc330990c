// SPDX-License-Identifier: Apache-2.0
//
// What attention and its backward share. Included by their files alone, once an instruction set.
#ifndef HONE_POLICY_KERNELS_CPU_ATTENTION_RUNS_H_
#define HONE_POLICY_KERNELS_CPU_ATTENTION_RUNS_H_

#include <cassert>
#include <cstddef>
#include <cstdint>

#include "policy/kernels/cpu/product.h"
#include "policy/tensor/view.h"

namespace hone::kernels::HONE_ISA {

// Internal linkage: an object of one instruction set leaves no weak symbol.
namespace {

constexpr int64_t RoundUp(int64_t n) {
  return PanelCount(n) * kPanel;
}

// Cuts one piece of scratch after another.
struct Carver {
  char* next;
  template <typename T>
  [[gnu::always_inline]] T* Take(int64_t count) {
    T* out = reinterpret_cast<T*>(next);
    next += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return out;
  }
};

int64_t Padded(int64_t count, int64_t size) {
  return (count * size + 63) / 64 * 64;
}

// Consecutive rows of one sequence, from `first`: how many, and the longest of them.
struct Run {
  int64_t first = 0;
  int64_t rows = 0;
  int64_t longest = 0;
  int64_t sequence = 0;
};

Run RunAt(const View<const int32_t, 1>& row_sequence, const View<const int32_t, 1>& row_length,
          int64_t first, int64_t max_length) {
  Run run;
  run.first = first;
  run.sequence = row_sequence.data[first * row_sequence.stride[0]];
  for (int64_t m = first; m < row_sequence.shape[0]; ++m) {
    if (row_sequence.data[m * row_sequence.stride[0]] != run.sequence) break;
    const int64_t length = row_length.data[m * row_length.stride[0]];
    assert(length >= 1 && length <= max_length);
    run.longest = length > run.longest ? length : run.longest;
    ++run.rows;
  }
  return run;
}

}  // namespace

}  // namespace hone::kernels::HONE_ISA

#endif  // HONE_POLICY_KERNELS_CPU_ATTENTION_RUNS_H_
