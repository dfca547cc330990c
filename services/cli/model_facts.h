// SPDX-License-Identifier: Apache-2.0
//
// What a model is and takes, worked out from its config.json alone, and how fast this machine could
// run it at most.
#ifndef HONE_SERVICES_CLI_MODEL_FACTS_H_
#define HONE_SERVICES_CLI_MODEL_FACTS_H_

#include <cstdint>

#include "policy/kernels/backend.h"
#include "policy/model/config.h"

namespace hone::cli {

struct ParameterCounts {
  int64_t total = 0;
  int64_t embedding = 0;      // the table, and the head where it is not the same
  int64_t head = 0;           // of the product that makes logits, tied or not
  int64_t routed = 0;         // all routed experts
  int64_t active_routed = 0;  // those that one token passes through
  int64_t non_embedding() const { return total - embedding; }
  int64_t active_non_embedding() const { return total - embedding - routed + active_routed; }
  // Weights that are multiplied for one token: without the embedding's lookup.
  int64_t multiplied() const { return active_non_embedding() + head; }
};
ParameterCounts CountParameters(const ModelConfig& config);

// Of the decode cache, all layers; a key is kept as it was computed, in float.
int64_t CacheBytesPerToken(const ModelConfig& config);

// Measured in about a second on `threads` threads.
struct MachineLimits {
  int threads = 1;
  double read_bytes_per_s = 0;  // memory, summing 64 MiB a thread front to back
  double flops_per_s = 0;       // the backend's own product of 64 x 512 by 512 x 512, in cache
};
MachineLimits MeasureMachine(const kernels::Backend& backend, int threads);

// Upper bounds; attention over a long context comes on top.
struct SpeedLimits {
  double decode_1 = 0;         // tokens a second, one completion:   min(B / b, F / f)
  double decode_64 = 0;        // 64 completions at once: 64 / max(b_64 / B, 64 f / F)
  double prefill = 0;          // also scoring: F / f
  double train = 0;            // forward and backward: F / 3f
  double bytes_per_token = 0;  // b: 4 bytes of every weight a token multiplies
  double flops_per_token = 0;  // f: 2 of every such weight
};
SpeedLimits LimitSpeed(const ModelConfig& config, const MachineLimits& machine);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_MODEL_FACTS_H_
