// SPDX-License-Identifier: Apache-2.0
//
// Sums over the vocabulary go by chunks of kChunk ids: vector lanes inside a chunk, chunks in
// ascending order. Sampling walks the same chunk sums.
#include "policy/kernels/logprob.h"

#include <cassert>

#include "policy/kernels/cpu/kernels.h"
#include "policy/kernels/cpu/top_filter.h"
#include "policy/kernels/cpu/vec.h"
#include "policy/kernels/scalar_math.h"
#include "policy/kernels/scratch.h"
#include "policy/sampling/philox.h"

namespace hone::kernels::HONE_ISA {
namespace {

constexpr int64_t kChunk = 256;

// The sampling transform of one row, and what follows from it.
struct Row {
  const float* logits = nullptr;
  int32_t vocabulary = 0;
  float temperature = 1;  // > 0
  float last_z = 0;       // kept: z > last_z, or z == last_z and id <= last_id
  int32_t last_id = 0;
  float largest = 0;   // the largest z
  int32_t argmax = 0;  // the lowest id of the largest logit
  float total = 0;     // sum_kept exp(z - largest)
  float log_total = 0;
  float entropy = 0;
};

// z of kLanes ids from `i`; -infinity past the vocabulary.
[[gnu::always_inline]] inline Vf Z(const Row& row, int64_t i) {
  const int64_t left = row.vocabulary - i;
  return KeepFirst(LoadUpTo(row.logits + i, left) / Set(row.temperature), left, -kInfinity);
}
[[gnu::always_inline]] inline Vi Kept(const Row& row, int64_t i, Vf z) {
  const Vi id = LaneIndex() + static_cast<int32_t>(i);
  const Vi inside = id < row.vocabulary;
  return inside & ((z > row.last_z) | ((z == row.last_z) & (id <= row.last_id)));
}
// exp(z - largest) of the kept ids, 0 for the others. d <- z - largest.
[[gnu::always_inline]] inline Vf Weight(const Row& row, int64_t i, Vf* d) {
  const Vf z = Z(row, i);
  *d = z - Set(row.largest);
  return Select(Kept(row, i, z), Exp(*d), Vf{});
}

float LogprobOf(const Row& row, int64_t id) {
  if (id >= row.vocabulary) return -kInfinity;
  const float z = row.logits[id] / row.temperature;
  if (!(z > row.last_z || (z == row.last_z && id <= row.last_id))) return -kInfinity;
  return (z - row.largest) - row.log_total;
}

int32_t ArgMax(const float* logits, int32_t vocabulary) {
  Vf best = Set(-kInfinity);
  for (int64_t i = 0; i < vocabulary; i += kLanes) {
    const int64_t left = vocabulary - i;
    best = Max(best, KeepFirst(LoadUpTo(logits + i, left), left, -kInfinity));
  }
  const float largest = ReduceMax(best);
  for (int32_t i = 0; i < vocabulary; ++i) {
    if (logits[i] == largest) return i;
  }
  return 0;  // nothing compares equal: the row is not a number
}

void Filter(Row* row, float top_p, int32_t top_k) {
  const int64_t padded = (row->vocabulary + kLanes - 1) / kLanes * kLanes;
  float* z = static_cast<float*>(ThreadScratch(static_cast<size_t>(padded) * 4 * sizeof(float)));
  float* weight = z + padded;
  int32_t* candidates = reinterpret_cast<int32_t*>(weight + padded);
  for (int64_t i = 0; i < row->vocabulary; i += kLanes) {
    Vf d;
    Store(weight + i, Weight(*row, i, &d));
    Store(z + i, Z(*row, i));
  }
  KeepBest(z, weight, row->vocabulary, top_p, top_k, candidates, &row->last_z, &row->last_id);
}

// chunk_sums: [vocabulary / kChunk + 1], null: not wanted.
Row Transform(const float* logits, int32_t vocabulary, float temperature, float top_p,
              int32_t top_k, float** chunk_sums) {
  assert(vocabulary >= 1 && temperature >= 0 && top_p > 0 && top_k >= 0);
  const bool greedy = temperature == 0;
  Row row;
  row.logits = logits;
  row.vocabulary = vocabulary;
  if (!greedy) row.temperature = temperature;
  row.argmax = ArgMax(logits, vocabulary);
  row.largest = logits[row.argmax] / row.temperature;
  row.last_z = -kInfinity;
  row.last_id = vocabulary - 1;
  if (!greedy && (top_p < 1 || (top_k > 0 && top_k < vocabulary))) Filter(&row, top_p, top_k);
  float* sums = nullptr;
  if (chunk_sums != nullptr) {
    sums = static_cast<float*>(
        ThreadScratch(static_cast<size_t>(vocabulary / kChunk + 1) * sizeof(float)));
    *chunk_sums = sums;
  }
  float weighted = 0;
  for (int64_t begin = 0; begin < vocabulary; begin += kChunk) {
    const int64_t end = begin + kChunk < vocabulary ? begin + kChunk : vocabulary;
    Vf sum{}, weighted_sum{};
    for (int64_t i = begin; i < end; i += kLanes) {
      Vf d;
      const Vf e = Weight(row, i, &d);
      sum += e;
      weighted_sum += Select(e > 0.0f, e * d, Vf{});
    }
    const float chunk = ReduceAdd(sum);
    if (sums != nullptr) sums[begin / kChunk] = chunk;
    row.total += chunk;
    weighted += ReduceAdd(weighted_sum);
  }
  row.log_total = kernels::Log(row.total);
  row.entropy = row.log_total - weighted / row.total;
  return row;
}

// The first id whose running sum exceeds u * total. A chunk whose own sum passes the goal but
// whose scan does not, by rounding, gives its last kept id.
int32_t Draw(const Row& row, const float* chunk_sums, float u) {
  const float goal = u * row.total;
  float sum = 0;
  int32_t last = row.argmax;
  for (int64_t begin = 0; begin < row.vocabulary; begin += kChunk) {
    const float after = sum + chunk_sums[begin / kChunk];
    const bool final_chunk = begin + kChunk >= row.vocabulary;
    if (!(after > goal) && !final_chunk) {
      sum = after;
      continue;
    }
    const int64_t end = final_chunk ? row.vocabulary : begin + kChunk;
    for (int64_t i = begin; i < end; i += kLanes) {
      Vf d;
      float weights[kLanes];
      Store(weights, Weight(row, i, &d));
      for (int lane = 0; lane < kLanes; ++lane) {
        if (!(weights[lane] > 0)) continue;
        last = static_cast<int32_t>(i) + lane;
        sum += weights[lane];
        if (sum > goal) return last;
      }
    }
    if (after > goal) return last;
  }
  return last;
}

}  // namespace

void Sample(Stream*, const SampleArgs<float>& args) {
  assert(args.vocabulary <= args.logits.shape[1]);
  for (int64_t m = 0; m < args.logits.shape[0]; ++m) {
    const SampleRow& how = args.rows.data[m * args.rows.stride[0]];
    float* chunk_sums = nullptr;
    const Row row = Transform(args.logits.data + m * args.logits.stride[0], args.vocabulary,
                              how.temperature, how.top_p, how.top_k, &chunk_sums);
    const int32_t token = how.temperature == 0
                              ? row.argmax
                              : Draw(row, chunk_sums, UniformFloatAt(how.key, how.position));
    args.tokens.data[m * args.tokens.stride[0]] = token;
    args.logprobs.data[m * args.logprobs.stride[0]] = LogprobOf(row, token);
    args.entropy.data[m * args.entropy.stride[0]] = row.entropy;
  }
}

void Logprob(Stream*, const LogprobArgs<float>& args) {
  assert(args.vocabulary <= args.logits.shape[1]);
  for (int64_t m = 0; m < args.logits.shape[0]; ++m) {
    const Row row = Transform(args.logits.data + m * args.logits.stride[0], args.vocabulary,
                              args.temperature, args.top_p, args.top_k, nullptr);
    const int64_t target = args.targets.data[m * args.targets.stride[0]];
    assert(target < args.logits.shape[1]);
    args.logprobs.data[m * args.logprobs.stride[0]] =
        target < 0 ? __builtin_nanf("") : LogprobOf(row, target);
    args.entropy.data[m * args.entropy.stride[0]] = row.entropy;
    if (args.argmax) args.argmax.data[m * args.argmax.stride[0]] = row.argmax;
  }
}

void LogprobBackward(Stream*, const LogprobBackwardArgs<float>& args) {
  const int64_t width = args.logits.shape[1];
  assert(args.vocabulary <= width && args.d_logits.shape[1] == width);
  for (int64_t m = 0; m < args.logits.shape[0]; ++m) {
    const int64_t target = args.targets.data[m * args.targets.stride[0]];
    float* d_logits = args.d_logits.data + m * args.d_logits.stride[0];
    int64_t written = 0;
    if (target >= 0) {
      const Row row = Transform(args.logits.data + m * args.logits.stride[0], args.vocabulary,
                                args.temperature, args.top_p, args.top_k, nullptr);
      const float d_logprob = args.d_logprobs.data[m * args.d_logprobs.stride[0]];
      const float d_entropy =
          args.d_entropy ? args.d_entropy.data[m * args.d_entropy.stride[0]] : 0.0f;
      for (int64_t i = 0; i < args.vocabulary; i += kLanes) {
        Vf d;
        const Vf e = Weight(row, i, &d);
        const Vf p = e / Set(row.total);
        // log p + entropy; where p is 0 so is its product, even when log p is not finite.
        const Vf pull = Select(p > 0.0f, p * (d - Set(row.log_total) + Set(row.entropy)), Vf{});
        const Vi here = (LaneIndex() + static_cast<int32_t>(i)) == static_cast<int32_t>(target);
        const Vf hit = Select(here, Set(1.0f), Vf{}) - p;
        const Vf slope = Set(d_logprob) * hit - Set(d_entropy) * pull;
        const Vf kept = Select(Kept(row, i, Z(row, i)), slope / Set(row.temperature), Vf{});
        StoreUpTo(d_logits + i, kept, args.vocabulary - i);
      }
      written = args.vocabulary;
    }
    for (int64_t i = written; i < width; i += kLanes) StoreUpTo(d_logits + i, Vf{}, width - i);
  }
}

}  // namespace hone::kernels::HONE_ISA
