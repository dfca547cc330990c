// SPDX-License-Identifier: Apache-2.0
//
// The angles of rotary position embedding, plain or stretched (linear, llama3, YaRN), as cosines
// and sines.
// Sine, cosine, exp and log are ours: the table is the same on every machine.
#ifndef HONE_POLICY_MODEL_ROPE_TABLE_H_
#define HONE_POLICY_MODEL_ROPE_TABLE_H_

#include <cstdint>
#include <vector>

#include "policy/model/config.h"

namespace hone {

// Both to about one unit in the last place of double, for |x| < 2^20.
void SineCosine(double x, double* sine, double* cosine);

// 0.1 m ln(factor) + 1 for a factor above 1, else 1.
double YarnMscale(double factor, double m);

// [D/2] the angle that one position adds to pair i: f_i = theta^(-2i/D), stretched by a factor s:
//   linear: f_i / s
//   llama3: n_i = original context * f_i / 2 pi turns over it; kept from high_freq_factor turns on,
//     divided by s up to low_freq_factor, between them mixed in proportion to n_i
//   yarn: the same between the pairs that make beta_fast and beta_slow turns, in proportion to i
std::vector<double> RopeFrequencies(const ModelConfig& config);

// [P, D/2, 2] cosine and sine of position * frequency, times the YaRN factor of the table (1 in
// every published model). P is max_position_embeddings.
template <typename Real>
std::vector<Real> RopeTable(const ModelConfig& config);

}  // namespace hone

#endif  // HONE_POLICY_MODEL_ROPE_TABLE_H_
