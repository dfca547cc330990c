// SPDX-License-Identifier: Apache-2.0
#include "policy/local/request_checks.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "policy/model/decode_request.h"

namespace hone {
namespace {

absl::Status CheckTransform(float temperature, float top_p, int32_t top_k,
                            absl::string_view where) {
  const absl::Status status = CheckSampling({temperature, top_p, top_k, 1});
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(where, ": ", status.message()));
}

absl::Status CheckTokens(absl::Span<const TokenId> tokens, int32_t limit, absl::string_view where,
                         absl::string_view what) {
  for (size_t t = 0; t < tokens.size(); ++t) {
    if (tokens[t] < 0 || tokens[t] >= limit) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": ", what, " ", t, " is ", tokens[t],
                                                     "; ids are in [0, ", limit, ")"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSequence(absl::Span<const TokenId> tokens, int32_t limit, int32_t context,
                           absl::string_view where) {
  if (tokens.empty()) return absl::InvalidArgumentError(absl::StrCat(where, " has no token"));
  if (tokens.size() > static_cast<size_t>(context)) {
    return absl::OutOfRangeError(
        absl::StrCat(where, " has ", tokens.size(), " tokens; the context holds ", context));
  }
  return CheckTokens(tokens, limit, where, "token");
}

absl::Status CheckRoutes(const Routes& routes, size_t tokens, const PolicyShape& shape,
                         absl::string_view where) {
  if (routes.experts.empty()) return absl::OkStatus();
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": routes: ", why));
  };
  if (shape.moe_layers == 0) return refuse("the model has no mixture-of-experts layer");
  if (routes.moe_layers != shape.moe_layers || routes.slots != shape.slots) {
    return refuse(absl::StrCat("of ", routes.moe_layers, " layers and ", routes.slots,
                               " slots; the model has ", shape.moe_layers, " and ", shape.slots));
  }
  const size_t row = static_cast<size_t>(shape.moe_layers) * static_cast<size_t>(shape.slots);
  if (routes.experts.size() % row != 0 || routes.experts.size() / row + 1 < tokens) {
    return refuse(absl::StrCat(routes.experts.size(), " entries do not cover the first ",
                               tokens - 1, " tokens, ", row, " each"));
  }
  const size_t slots = static_cast<size_t>(shape.slots);
  for (size_t i = 0; i < routes.experts.size(); ++i) {
    const bool ascends = i % slots == 0 || routes.experts[i] > routes.experts[i - 1];
    if (routes.experts[i] >= shape.experts || !ascends) {
      return refuse(absl::StrCat("entry ", i, " is expert ", routes.experts[i],
                                 "; experts of a token ascend and are below ", shape.experts));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckGenerate(absl::Span<const GenerateRequest> requests, const PolicyShape& shape,
                           int64_t version) {
  if (requests.size() > kMaxRequestsPerCall) {
    return absl::InvalidArgumentError(absl::StrCat(requests.size(),
                                                   " requests in one call; at "
                                                   "most ",
                                                   kMaxRequestsPerCall));
  }
  for (const GenerateRequest& request : requests) {
    if (request.required_version.has_value() && *request.required_version != version) {
      return absl::FailedPreconditionError(
          absl::StrCat("request '", request.request_id, "' requires policy version ",
                       *request.required_version, "; the policy is at ", version));
    }
  }
  return CheckGenerateRequests(requests, shape.vocabulary, shape.context_tokens);
}

absl::Status CheckScore(const ScoreRequest& request, const PolicyShape& shape) {
  if (!request.adapter_id.empty()) {
    return absl::UnimplementedError("score: adapters do not exist yet");
  }
  if (request.sequences.size() > kMaxSequencesPerCall) {
    return absl::InvalidArgumentError(absl::StrCat("score: ", request.sequences.size(),
                                                   " sequences; at most ", kMaxSequencesPerCall));
  }
  if (!request.route_override.empty() &&
      request.route_override.size() != request.sequences.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("score: route_override has ", request.route_override.size(), " entries for ",
                     request.sequences.size(), " sequences; it must be empty or one each"));
  }
  absl::Status status = CheckTransform(request.temperature, request.top_p, request.top_k, "score");
  const int32_t limit = request.mask_vocabulary ? shape.vocabulary : shape.rows;
  for (size_t i = 0; status.ok() && i < request.sequences.size(); ++i) {
    const std::string where = absl::StrCat("score: sequence ", i);
    status = CheckSequence(request.sequences[i], limit, shape.context_tokens, where);
    if (status.ok() && !request.route_override.empty()) {
      status = CheckRoutes(request.route_override[i], request.sequences[i].size(), shape, where);
    }
  }
  return status;
}

absl::Status CheckForwardBackward(const ForwardBackwardRequest& request, const PolicyShape& shape) {
  if (request.sequences.empty() || request.sequences.size() > kMaxSequencesPerCall) {
    return absl::InvalidArgumentError(absl::StrCat("forward_backward: ", request.sequences.size(),
                                                   " sequences; it must be in [1, ",
                                                   kMaxSequencesPerCall, "]"));
  }
  absl::Status status =
      CheckTransform(request.temperature, request.top_p, request.top_k, "forward_backward");
  if (!status.ok()) return status;
  if (request.temperature == 0) {
    return absl::InvalidArgumentError(
        "forward_backward: temperature is 0; greedy choices have no gradient, use 1");
  }
  const int32_t limit = request.mask_vocabulary ? shape.vocabulary : shape.rows;
  for (size_t i = 0; status.ok() && i < request.sequences.size(); ++i) {
    const TrainSequence& sequence = request.sequences[i];
    const std::string where = absl::StrCat("forward_backward: sequence ", i);
    status = CheckSequence(sequence.tokens, limit, shape.context_tokens, where);
    if (status.ok()) status = CheckRoutes(sequence.routes, sequence.tokens.size(), shape, where);
  }
  return status;
}

}  // namespace hone
