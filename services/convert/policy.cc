// SPDX-License-Identifier: Apache-2.0
#include "services/convert/policy.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "hone/v1/policy_service.pb.h"
#include "services/convert/check.h"
#include "services/convert/limits.h"
#include "services/convert/values.h"

namespace hone::convert {

void ToProto(const GenerateRequest& from, absl::Time now, v1::GenerateRequest_Item* to) {
  to->set_request_id(from.request_id);
  to->mutable_prompt()->Assign(from.prompt.begin(), from.prompt.end());
  to->set_n(from.n);
  ToProto(from.key, to->mutable_key());
  ToProto(from.sampling, to->mutable_sampling());
  to->mutable_stop_tokens()->Assign(from.stop_tokens.begin(), from.stop_tokens.end());
  if (from.required_version) to->set_required_version(*from.required_version);
  to->set_allow_switch(from.allow_switch);
  to->set_adapter_id(from.adapter_id);
  to->set_top_logprobs(from.top_logprobs);
  to->set_return_routes(from.return_routes);
  to->set_prefix_handle(from.prefix_handle);
  if (from.deadline != absl::InfiniteFuture()) {
    to->set_time_left_us(MicrosLeft(from.deadline, now));
  }
}

absl::StatusOr<GenerateRequest> FromProto(const v1::GenerateRequest_Item& from, absl::Time now) {
  Checker check;
  GenerateRequest to;
  check.Name("request_id", from.request_id());
  check.Tokens("prompt", from.prompt());
  check.Range("n", from.n(), 1, kMaxItemsPerCall);
  check.Take("key", FromProto(from.key()), &to.key);
  check.Take("sampling", FromProto(from.sampling()), &to.sampling);
  check.Range("number of stop_tokens", from.stop_tokens_size(), 0, kMaxMapEntries);
  check.Range("top_logprobs", from.top_logprobs(), 0, 1 << 20);
  check.Name("adapter_id", from.adapter_id());
  check.Name("prefix_handle", from.prefix_handle());
  if (!check.ok()) return check.status();
  to.request_id = from.request_id();
  to.prompt = {from.prompt().begin(), from.prompt().end()};
  to.n = from.n();
  to.stop_tokens = {from.stop_tokens().begin(), from.stop_tokens().end()};
  if (from.has_required_version()) to.required_version = from.required_version();
  to.allow_switch = from.allow_switch();
  to.adapter_id = from.adapter_id();
  to.top_logprobs = from.top_logprobs();
  to.return_routes = from.return_routes();
  to.prefix_handle = from.prefix_handle();
  if (from.has_time_left_us()) to.deadline = DeadlineOf(from.time_left_us(), now);
  return to;
}

void ToProto(const GenerateChunk& from, v1::GenerateResponse* to) {
  to->Clear();
  to->set_request_id(from.request_id);
  to->set_sequence(from.sequence);
  to->set_version(from.version);
  to->mutable_tokens()->Assign(from.tokens.begin(), from.tokens.end());
  to->mutable_logprobs()->Assign(from.logprobs.begin(), from.logprobs.end());
  to->mutable_entropy()->Assign(from.entropy.begin(), from.entropy.end());
  if (from.routes.moe_layers > 0) ToProto(from.routes, to->mutable_routes());
  if (from.prompt_routes.moe_layers > 0) {
    ToProto(from.prompt_routes, to->mutable_prompt_routes());
  }
  to->set_stop_reason(static_cast<v1::StopReason>(from.stop_reason));
}

absl::StatusOr<GenerateChunk> FromProto(const v1::GenerateResponse& from) {
  Checker check;
  GenerateChunk to;
  const int64_t tokens = from.tokens_size();
  check.Range("sequence", from.sequence(), 0, kMaxItemsPerCall);
  check.Range("number of tokens", tokens, 0, kMaxSequenceTokens);
  if (tokens > 0) check.Tokens("tokens", from.tokens());
  check.Length("logprobs", from.logprobs_size(), tokens);
  check.Length("entropy", from.entropy_size(), tokens);
  check.AllFinite("logprobs", from.logprobs());
  check.AllFinite("entropy", from.entropy());
  check.Take("", StopReasonFromProto(from.stop_reason(), true), &to.stop_reason);
  if (from.has_routes()) check.Take("routes", FromProto(from.routes()), &to.routes);
  if (from.has_prompt_routes()) {
    check.Take("prompt_routes", FromProto(from.prompt_routes()), &to.prompt_routes);
  }
  if (!check.ok()) return check.status();
  to.request_id = from.request_id();
  to.sequence = from.sequence();
  to.version = from.version();
  to.tokens = {from.tokens().begin(), from.tokens().end()};
  to.logprobs = {from.logprobs().begin(), from.logprobs().end()};
  to.entropy = {from.entropy().begin(), from.entropy().end()};
  return to;
}

void SettingsToProto(const ScoreRequest& from, v1::ScoreRequest* to) {
  to->set_temperature(from.temperature);
  to->set_top_p(from.top_p);
  to->set_top_k(from.top_k);
  to->set_mask_vocabulary(from.mask_vocabulary);
  to->set_reference(from.reference);
  to->set_adapter_id(from.adapter_id);
  to->set_return_routes(from.return_routes);
  to->set_override_routes(!from.route_override.empty());
}

absl::StatusOr<ScoreRequest> SettingsFromProto(const v1::ScoreRequest& from) {
  Checker check;
  check.Finite("temperature", from.temperature());
  check.Require(from.temperature() >= 0, "temperature", "is negative");
  check.Require(from.top_p() > 0 && from.top_p() <= 1, "top_p", "is not in (0, 1]");
  check.Require(from.top_k() >= 0, "top_k", "is negative");
  check.Name("adapter_id", from.adapter_id());
  if (!check.ok()) return check.status();
  ScoreRequest to;
  to.temperature = from.temperature();
  to.top_p = from.top_p();
  to.top_k = from.top_k();
  to.mask_vocabulary = from.mask_vocabulary();
  to.reference = from.reference();
  to.adapter_id = from.adapter_id();
  to.return_routes = from.return_routes();
  return to;
}

void SequenceToProto(const ScoreRequest& from, size_t i, v1::TokenSequence* to) {
  to->mutable_tokens()->Assign(from.sequences[i].begin(), from.sequences[i].end());
  if (!from.route_override.empty()) ToProto(from.route_override[i], to->mutable_routes());
}

absl::Status AppendFromProto(const v1::TokenSequence& from, bool override_routes,
                             ScoreRequest* to) {
  Checker check;
  check.Tokens("tokens", from.tokens());
  check.Require(from.has_routes() == override_routes, "routes",
                override_routes ? "are missing" : "are set without override_routes");
  Routes routes;
  if (from.has_routes()) check.Take("routes", FromProto(from.routes()), &routes);
  if (!check.ok()) return check.status();
  to->sequences.emplace_back(from.tokens().begin(), from.tokens().end());
  if (override_routes) to->route_override.push_back(std::move(routes));
  return absl::OkStatus();
}

void SequenceToProto(const ScoreResult& from, size_t i, v1::ScoreResponse_Sequence* to) {
  to->mutable_logprobs()->Assign(from.logprobs[i].begin(), from.logprobs[i].end());
  to->mutable_entropy()->Assign(from.entropy[i].begin(), from.entropy[i].end());
  to->mutable_argmax()->Assign(from.argmax[i].begin(), from.argmax[i].end());
  if (i < from.routes.size()) ToProto(from.routes[i], to->mutable_routes());
}

absl::Status AppendFromProto(const v1::ScoreResponse_Sequence& from, size_t tokens,
                             bool with_routes, ScoreResult* to) {
  Checker check;
  const int64_t expected = static_cast<int64_t>(tokens);
  check.Length("logprobs", from.logprobs_size(), expected);
  check.Length("entropy", from.entropy_size(), expected);
  check.Length("argmax", from.argmax_size(), expected);
  for (int t = 1; t < from.logprobs_size(); ++t) {
    const float logprob = from.logprobs(t);
    check.Require(logprob <= 1e-3f, At("logprobs", t), "is not a log probability");
    check.Require(t >= from.argmax_size() || from.argmax(t) >= 0, At("argmax", t),
                  "is not a token id");
  }
  check.AllFinite("entropy", from.entropy(), 1);
  check.Require(from.has_routes() == with_routes, "routes",
                with_routes ? "were asked for and are missing" : "were not asked for");
  Routes routes;
  if (from.has_routes()) check.Take("routes", FromProto(from.routes()), &routes);
  if (!check.ok()) return check.status();
  to->logprobs.emplace_back(from.logprobs().begin(), from.logprobs().end());
  to->entropy.emplace_back(from.entropy().begin(), from.entropy().end());
  to->argmax.emplace_back(from.argmax().begin(), from.argmax().end());
  if (with_routes) to->routes.push_back(std::move(routes));
  return absl::OkStatus();
}

void ToProto(const PolicyInfo& from, v1::InfoResponse* to) {
  to->set_version(from.version);
  to->set_vocabulary_size(from.vocabulary_size);
  to->set_context_tokens(from.context_tokens);
  to->set_moe_layers(from.moe_layers);
  to->set_experts_per_token(from.experts_per_token);
  to->set_parameters(from.parameters);
  to->set_backend(from.backend);
  to->set_tokenizer_hash(from.tokenizer_hash);
  to->set_weights_hash(from.weights_hash);
  to->mutable_stop_tokens()->Assign(from.stop_tokens.begin(), from.stop_tokens.end());
}

absl::StatusOr<PolicyInfo> FromProto(const v1::InfoResponse& from) {
  Checker check;
  constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();
  check.Require(from.version() >= 0, "version", "is negative");
  check.Range("vocabulary_size", from.vocabulary_size(), 1, kMaxInt);
  check.Range("context_tokens", from.context_tokens(), 1, kMaxInt);
  check.Range("moe_layers", from.moe_layers(), 0, 1024);
  check.Range("experts_per_token", from.experts_per_token(), 0, 1024);
  check.Require(from.parameters() >= 0, "parameters", "is negative");
  check.Name("backend", from.backend());
  check.Name("tokenizer_hash", from.tokenizer_hash());
  check.Name("weights_hash", from.weights_hash());
  check.Range("number of stop_tokens", from.stop_tokens_size(), 0, kMaxMapEntries);
  for (const TokenId token : from.stop_tokens()) {
    check.Range("stop_tokens", token, 0, from.vocabulary_size() - 1);
  }
  if (!check.ok()) return check.status();
  PolicyInfo to;
  to.version = from.version();
  to.vocabulary_size = from.vocabulary_size();
  to.context_tokens = from.context_tokens();
  to.moe_layers = from.moe_layers();
  to.experts_per_token = from.experts_per_token();
  to.parameters = from.parameters();
  to.backend = from.backend();
  to.tokenizer_hash = from.tokenizer_hash();
  to.weights_hash = from.weights_hash();
  to.stop_tokens = {from.stop_tokens().begin(), from.stop_tokens().end()};
  return to;
}

}  // namespace hone::convert
