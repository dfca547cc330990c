// SPDX-License-Identifier: Apache-2.0
//
// What a generate request may ask for. Everything here comes from outside.
#ifndef HONE_POLICY_MODEL_DECODE_REQUEST_H_
#define HONE_POLICY_MODEL_DECODE_REQUEST_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "policy/generator.h"
#include "policy/types.h"

namespace hone {

inline constexpr int32_t kMaxCompletionsPerRequest = 65536;
inline constexpr size_t kMaxStopTokens = 256;

// INVALID_ARGUMENT, OUT_OF_RANGE or UNIMPLEMENTED as Generator::Generate says, naming the request.
// vocabulary: tokens are below it; context_tokens: prompt and completion together.
absl::Status CheckGenerateRequests(absl::Span<const GenerateRequest> requests, int32_t vocabulary,
                                   int32_t context_tokens);

// Temperature, top_p, top_k, and max_tokens.
absl::Status CheckSampling(const SamplingParams& sampling);

}  // namespace hone

#endif  // HONE_POLICY_MODEL_DECODE_REQUEST_H_
