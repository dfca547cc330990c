// SPDX-License-Identifier: Apache-2.0
//
// What a policy refuses before it computes: every value that came from outside is checked here,
// once, so that kernels may assert. Messages say which request, what, and what it must be.
#ifndef HONE_POLICY_LOCAL_REQUEST_CHECKS_H_
#define HONE_POLICY_LOCAL_REQUEST_CHECKS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "policy/generator.h"
#include "policy/learner.h"

namespace hone {

inline constexpr size_t kMaxRequestsPerCall = size_t{1} << 16;
inline constexpr size_t kMaxSequencesPerCall = size_t{1} << 20;

// The shape that requests are checked against.
struct PolicyShape {
  int32_t vocabulary = 0;  // real tokens
  int32_t rows = 0;        // of the embedding; >= vocabulary
  int32_t context_tokens = 0;
  int32_t moe_layers = 0;
  int32_t slots = 0;  // experts per token
  int32_t experts = 0;
};

absl::Status CheckGenerate(absl::Span<const GenerateRequest> requests, const PolicyShape& shape,
                           int64_t version);
absl::Status CheckScore(const ScoreRequest& request, const PolicyShape& shape);
// Sampling transform, tokens and routes; the loss checks its own arrays.
absl::Status CheckForwardBackward(const ForwardBackwardRequest& request, const PolicyShape& shape);

}  // namespace hone

#endif  // HONE_POLICY_LOCAL_REQUEST_CHECKS_H_
