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

// Measured in about a second on `threads` threads, the best of ten moments.
struct MachineLimits {
  int threads = 1;
  double read_bytes_per_s = 0;  // memory: the backend's own product of 1 by 5120 x 5120
  double flops_per_s = 0;       // its product of 64 x 512 by 512 x 512, in cache
};
MachineLimits MeasureMachine(const kernels::Backend& backend, int threads);

// At most `tokens_per_s` tokens: bytes over the machine's reading, or floating-point operations
// over its products, whichever takes longer.
struct SpeedLimit {
  double tokens_per_s = 0;
  double bytes_per_token =
      0;  // 4 of every weight that some row of a pass multiplies, shared by them
  double flops_per_token = 0;  // 2 of every weight that a token multiplies
  bool by_bytes = false;
};

// Upper bounds; attention over a context, logits' softmax and activations come on top.
struct SpeedLimits {
  SpeedLimit decode_1;   // one completion
  SpeedLimit decode_64;  // 64 at once
  SpeedLimit score;      // also prefill: passes of 1,024 rows
  SpeedLimit train;      // forward and backward of such passes: three times both
};
SpeedLimits LimitSpeed(const ModelConfig& config, const MachineLimits& machine);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_MODEL_FACTS_H_
