// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/logprob.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include "policy/kernels/reference/reference.h"
#include "policy/kernels/scalar_math.h"
#include "policy/kernels/scratch.h"
#include "policy/sampling/philox.h"

namespace hone::kernels::reference {
namespace {

inline void UniformAt(const uint32_t key[4], uint32_t position, float* u) {
  *u = UniformFloatAt(key, position);
}
inline void UniformAt(const uint32_t key[4], uint32_t position, double* u) {
  *u = UniformDoubleAt(key, position);
}

// The sampling transform of one row, and what follows from it.
template <typename Real>
struct Row {
  const Real* logits = nullptr;
  int64_t vocabulary = 0;
  Real temperature = 1;  // > 0
  // Kept: z > last_z, or z == last_z and id <= last_id.
  Real last_z = 0;
  int64_t last_id = 0;
  Real largest = 0;    // the largest z
  int64_t argmax = 0;  // the lowest id of the largest logit
  Real total = 0;      // sum_kept exp(z - largest)
  Real entropy = 0;

  Real Z(int64_t i) const { return logits[i] / temperature; }
  bool Kept(int64_t i) const {
    return i < vocabulary && (Z(i) > last_z || (Z(i) == last_z && i <= last_id));
  }
  Real Logprob(int64_t i) const {
    if (!Kept(i)) return -std::numeric_limits<Real>::infinity();
    return (Z(i) - largest) - Log(total);
  }
};

// Sets last_z and last_id by top_k, then top_p, in the order (z descending, id ascending).
template <typename Real>
void KeepBest(Row<Real>* row, Real top_p, int64_t top_k) {
  int32_t* ids = static_cast<int32_t*>(ThreadScratch(row->vocabulary * sizeof(int32_t)));
  for (int64_t i = 0; i < row->vocabulary; ++i) ids[i] = static_cast<int32_t>(i);
  std::sort(ids, ids + row->vocabulary, [row](int32_t a, int32_t b) {
    return row->Z(a) > row->Z(b) || (row->Z(a) == row->Z(b) && a < b);
  });
  int64_t count = top_k > 0 && top_k < row->vocabulary ? top_k : row->vocabulary;
  if (top_p < 1) {
    double total = 0;
    for (int64_t i = 0; i < count; ++i) total += Exp(row->Z(ids[i]) - row->largest);
    double sum = 0;
    int64_t prefix = 0;
    while (prefix < count && (prefix == 0 || sum < top_p * total)) {
      sum += Exp(row->Z(ids[prefix++]) - row->largest);
    }
    count = prefix;
  }
  row->last_id = ids[count - 1];
  row->last_z = row->Z(ids[count - 1]);
}

template <typename Real>
Row<Real> Transform(const Real* logits, int64_t vocabulary, Real temperature, Real top_p,
                    int64_t top_k) {
  assert(vocabulary >= 1 && temperature >= 0 && top_p > 0 && top_k >= 0);
  const bool greedy = temperature == 0;
  Row<Real> row;
  row.logits = logits;
  row.vocabulary = vocabulary;
  if (!greedy) row.temperature = temperature;
  for (int64_t i = 1; i < vocabulary; ++i) {
    if (logits[i] > logits[row.argmax]) row.argmax = i;
  }
  row.largest = row.Z(row.argmax);
  row.last_z = -std::numeric_limits<Real>::infinity();
  row.last_id = vocabulary - 1;
  if (!greedy && (top_p < 1 || (top_k > 0 && top_k < vocabulary))) KeepBest(&row, top_p, top_k);
  Real weighted = 0;
  for (int64_t i = 0; i < vocabulary; ++i) {
    if (!row.Kept(i)) continue;
    const Real d = row.Z(i) - row.largest, e = Exp(d);
    row.total += e;
    if (e > 0) weighted += e * d;
  }
  row.entropy = Log(row.total) - weighted / row.total;
  return row;
}

template <typename Real>
int64_t Draw(const Row<Real>& row, Real u) {
  const Real goal = u * row.total;
  Real sum = 0;
  int64_t last = row.argmax;
  for (int64_t i = 0; i < row.vocabulary; ++i) {
    if (!row.Kept(i)) continue;
    last = i;
    sum += Exp(row.Z(i) - row.largest);
    if (sum > goal) return i;
  }
  return last;
}

}  // namespace

template <typename Real>
void Sample(Stream*, const SampleArgs<Real>& args) {
  assert(args.vocabulary <= args.logits.shape[1]);
  for (int64_t m = 0; m < args.logits.shape[0]; ++m) {
    const SampleRow& how = args.rows.data[m * args.rows.stride[0]];
    const Row<Real> row =
        Transform(args.logits.data + m * args.logits.stride[0], args.vocabulary,
                  static_cast<Real>(how.temperature), static_cast<Real>(how.top_p), how.top_k);
    Real u;
    UniformAt(how.key, how.position, &u);
    const int64_t token = how.temperature == 0 ? row.argmax : Draw(row, u);
    args.tokens.data[m * args.tokens.stride[0]] = static_cast<int32_t>(token);
    args.logprobs.data[m * args.logprobs.stride[0]] = row.Logprob(token);
    args.entropy.data[m * args.entropy.stride[0]] = row.entropy;
  }
}

template <typename Real>
void Logprob(Stream*, const LogprobArgs<Real>& args) {
  assert(args.vocabulary <= args.logits.shape[1]);
  for (int64_t m = 0; m < args.logits.shape[0]; ++m) {
    const Row<Real> row = Transform(args.logits.data + m * args.logits.stride[0], args.vocabulary,
                                    args.temperature, args.top_p, args.top_k);
    const int64_t target = args.targets.data[m * args.targets.stride[0]];
    assert(target < args.logits.shape[1]);
    args.logprobs.data[m * args.logprobs.stride[0]] =
        target < 0 ? std::numeric_limits<Real>::quiet_NaN() : row.Logprob(target);
    args.entropy.data[m * args.entropy.stride[0]] = row.entropy;
    if (args.argmax) {
      args.argmax.data[m * args.argmax.stride[0]] = static_cast<int32_t>(row.argmax);
    }
  }
}

template <typename Real>
void LogprobBackward(Stream*, const LogprobBackwardArgs<Real>& args) {
  assert(args.vocabulary <= args.logits.shape[1]);
  for (int64_t m = 0; m < args.logits.shape[0]; ++m) {
    const int64_t target = args.targets.data[m * args.targets.stride[0]];
    const Real* logits = args.logits.data + m * args.logits.stride[0];
    Real* d_logits = args.d_logits.data + m * args.d_logits.stride[0];
    if (target < 0) {
      for (int64_t i = 0; i < args.logits.shape[1]; ++i) d_logits[i] = 0;
      continue;
    }
    const Row<Real> row =
        Transform(logits, args.vocabulary, args.temperature, args.top_p, args.top_k);
    const Real log_total = Log(row.total);
    const Real d_logprob = args.d_logprobs.data[m * args.d_logprobs.stride[0]];
    const Real d_entropy = args.d_entropy ? args.d_entropy.data[m * args.d_entropy.stride[0]] : 0;
    for (int64_t i = 0; i < args.logits.shape[1]; ++i) {
      if (!row.Kept(i)) {
        d_logits[i] = 0;
        continue;
      }
      const Real d = row.Z(i) - row.largest, p = Exp(d) / row.total;
      const Real pull = p > 0 ? p * (d - log_total + row.entropy) : Real(0);
      const Real hit = i == target ? Real(1) : Real(0);
      d_logits[i] = (d_logprob * (hit - p) - d_entropy * pull) / row.temperature;
    }
  }
}

void DecodeAdvance(Stream*, const DecodeAdvanceArgs& args) {
  // StopReason's numbers: 1 stop token, 2 length, 3 context.
  for (int64_t m = 0; m < args.tokens.shape[0]; ++m) {
    const int32_t token = args.tokens.data[m * args.tokens.stride[0]];
    int32_t& position = args.positions.data[m * args.positions.stride[0]];
    bool stopped = false;
    for (int64_t x = 0; x < args.stop_tokens.shape[1]; ++x) {
      stopped |= token >= 0 && args.stop_tokens.data[m * args.stop_tokens.stride[0] + x] == token;
    }
    uint8_t stop = 0;
    if (stopped) {
      stop = 1;
    } else if (position >= args.last_by_length.data[m * args.last_by_length.stride[0]]) {
      stop = 2;
    } else if (position >= args.last_by_context) {
      stop = 3;
    }
    args.stop.data[m * args.stop.stride[0]] = stop;
    ++position;
  }
}

template void Sample(Stream*, const SampleArgs<float>&);
template void Sample(Stream*, const SampleArgs<double>&);
template void Logprob(Stream*, const LogprobArgs<float>&);
template void Logprob(Stream*, const LogprobArgs<double>&);
template void LogprobBackward(Stream*, const LogprobBackwardArgs<float>&);
template void LogprobBackward(Stream*, const LogprobBackwardArgs<double>&);

}  // namespace hone::kernels::reference
