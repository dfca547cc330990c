// SPDX-License-Identifier: Apache-2.0
#include "policy/model/decode_request.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace hone {
namespace {

absl::Status CheckTokens(absl::string_view what, const std::vector<TokenId>& tokens,
                         int32_t vocabulary) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocabulary) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        what, " token ", i, " is ", tokens[i], "; the vocabulary has ids 0 to ", vocabulary - 1));
  }
  return absl::OkStatus();
}

absl::Status CheckOffered(const GenerateRequest& request) {
  if (!request.adapter_id.empty()) {
    return absl::UnimplementedError(absl::StrCat("adapter_id is \"", request.adapter_id,
                                                 "\"; adapters are not offered, leave it empty"));
  }
  if (request.top_logprobs != 0) {
    return absl::UnimplementedError(absl::StrCat("top_logprobs is ", request.top_logprobs,
                                                 "; they are not offered, leave it 0"));
  }
  if (!request.prefix_handle.empty()) {
    return absl::UnimplementedError("prefix_handle is not offered, leave it empty");
  }
  if (request.allow_switch) {
    return absl::UnimplementedError(
        "allow_switch is not offered: weights do not change under a call");
  }
  return absl::OkStatus();
}

absl::Status CheckOne(const GenerateRequest& request, int32_t vocabulary, int32_t context_tokens) {
  if (const absl::Status status = CheckOffered(request); !status.ok()) return status;
  if (request.prompt.empty()) {
    return absl::InvalidArgumentError("the prompt is empty; give at least one token");
  }
  if (absl::Status status = CheckTokens("prompt", request.prompt, vocabulary); !status.ok()) {
    return status;
  }
  if (request.n < 1 || request.n > kMaxCompletionsPerRequest) {
    return absl::InvalidArgumentError(
        absl::StrCat("n is ", request.n, "; it must be between 1 and ", kMaxCompletionsPerRequest));
  }
  if (request.key.sample >
      std::numeric_limits<uint32_t>::max() - static_cast<uint32_t>(request.n - 1)) {
    return absl::InvalidArgumentError(absl::StrCat("key.sample is ", request.key.sample,
                                                   "; with n = ", request.n,
                                                   " completions it would pass 2^32 - 1"));
  }
  if (absl::Status status = CheckSampling(request.sampling); !status.ok()) return status;
  if (request.stop_tokens.size() > kMaxStopTokens) {
    return absl::InvalidArgumentError(absl::StrCat("there are ", request.stop_tokens.size(),
                                                   " stop tokens; at most ", kMaxStopTokens,
                                                   " are allowed"));
  }
  if (absl::Status status = CheckTokens("stop", request.stop_tokens, vocabulary); !status.ok()) {
    return status;
  }
  if (request.prompt.size() >= static_cast<size_t>(context_tokens)) {
    return absl::OutOfRangeError(absl::StrCat(
        "the prompt has ", request.prompt.size(), " tokens and the context holds ", context_tokens,
        ", which leaves no room for a completion; shorten the prompt"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSampling(const SamplingParams& sampling) {
  if (!(sampling.temperature >= 0) || std::isinf(sampling.temperature)) {
    return absl::InvalidArgumentError(
        absl::StrCat("temperature is ", sampling.temperature, "; it must be finite and >= 0"));
  }
  if (!(sampling.top_p > 0 && sampling.top_p <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("top_p is ", sampling.top_p, "; it must be above 0 and at most 1"));
  }
  if (sampling.top_k < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("top_k is ", sampling.top_k, "; it must be >= 0 (0: all)"));
  }
  if (sampling.max_tokens <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_tokens is ", sampling.max_tokens, "; it must be at least 1"));
  }
  return absl::OkStatus();
}

absl::Status CheckGenerateRequests(absl::Span<const GenerateRequest> requests, int32_t vocabulary,
                                   int32_t context_tokens) {
  absl::flat_hash_set<absl::string_view> ids;
  for (const GenerateRequest& request : requests) {
    if (!ids.insert(request.request_id).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("two requests of one call are called '", request.request_id, "'"));
    }
    const absl::Status status = CheckOne(request, vocabulary, context_tokens);
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat("request '", request.request_id, "': ", status.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace hone
