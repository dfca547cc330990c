// SPDX-License-Identifier: Apache-2.0
//
// What rollout needs of a policy: completions of prompts, and logprobs of given tokens.
// In one process LocalGenerator implements it; across processes services/clients does, over gRPC.
// The same contract tests run against both (tests/policy/generator_contract.h).
#ifndef HONE_POLICY_GENERATOR_H_
#define HONE_POLICY_GENERATOR_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "policy/types.h"

namespace hone {

struct GenerateRequest {
  std::string request_id;       // echoed in every chunk; unique within one call
  std::vector<TokenId> prompt;  // [Tp], at least one token
  int32_t n = 1;                // completions; completion i uses key.sample + i
  SampleKey key;
  SamplingParams sampling;
  std::vector<TokenId> stop_tokens;         // any of them ends a completion; kept as its last token
  std::optional<int64_t> required_version;  // FAILED_PRECONDITION when the policy has another
  bool allow_switch = false;                // weights may change mid-completion (not offered yet)
  std::string adapter_id;                   // non-empty: UNIMPLEMENTED until adapters exist
  int32_t top_logprobs = 0;                 // > 0: UNIMPLEMENTED until offered
  bool return_routes = false;               // fill Completion::routes and prompt_routes
  std::string prefix_handle;                // non-empty: UNIMPLEMENTED until offered
  absl::Time deadline = absl::InfiniteFuture();  // past it: stop reason cancelled
};

struct GenerateChunk {
  std::string request_id;
  int32_t sequence = 0;  // which of the request's n completions
  int64_t version = 0;
  std::vector<TokenId> tokens;                 // appended to what came before
  std::vector<float> logprobs;                 // one per token
  std::vector<float> entropy;                  // one per token
  Routes routes;                               // of these tokens; empty unless asked for
  Routes prompt_routes;                        // of the prompt, appended; before any token
  StopReason stop_reason = StopReason::kNone;  // kNone until the sequence's last chunk
};

// Returns false to cancel everything still running in the call. Never called concurrently
// within one call of Generate.
using ChunkSink = std::function<bool(GenerateChunk)>;

struct ScoreRequest {
  std::vector<std::vector<TokenId>> sequences;  // [B][T], each at least one token
  float temperature = 1.0f;
  float top_p = 1.0f;
  int32_t top_k = 0;
  bool mask_vocabulary = true;         // rows past the tokenizer's size get no probability
  bool reference = false;              // score with the reference policy instead of the current one
  std::vector<Routes> route_override;  // empty, or one per sequence
  std::string adapter_id;
  bool return_routes = false;
};

struct ScoreResult {
  int64_t version = 0;
  // Index t is about token t given those before it; index 0 is NaN (nothing precedes it).
  std::vector<std::vector<float>> logprobs;  // [B][T]
  std::vector<std::vector<float>> entropy;   // [B][T]
  std::vector<std::vector<TokenId>> argmax;  // [B][T] most likely token, lowest id on ties
  std::vector<Routes> routes;                // [B] when asked for
};

struct PolicyInfo {
  int64_t version = 0;
  int32_t vocabulary_size = 0;  // real tokens; the model may have more rows
  int32_t context_tokens = 0;   // prompt and completion together
  int32_t moe_layers = 0;
  int32_t experts_per_token = 0;
  int64_t parameters = 0;
  std::string backend;  // name/ISA/build, as stored with every trajectory
  std::string tokenizer_hash;
  std::string weights_hash;  // of the current version
  // Any of them ends a completion: what the tokenizer's files and config.json call ends, the
  // tokenizer's own first. Empty: the policy names none.
  std::vector<TokenId> stop_tokens;
};

// What ends completions of a policy: the tokenizer's `ends` (SpecialTokens::stop), then those of
// info.stop_tokens that are not among them.
std::vector<TokenId> StopTokensOf(const std::vector<TokenId>& ends, const PolicyInfo& info);

class Generator {
 public:
  virtual ~Generator() = default;

  // Samples all requests' completions, batched as the implementation likes: a row's bits do not
  // depend on its neighbours. Chunks of one sequence arrive in order; different sequences may
  // interleave. Thread-safe. Many calls may run at once; weights do not change under a call.
  // Errors: INVALID_ARGUMENT (empty prompt, token out of range, bad sampling), OUT_OF_RANGE
  // (prompt leaves no room in the context), FAILED_PRECONDITION (another version),
  // UNIMPLEMENTED (an option not offered), UNAVAILABLE (remote gone; retry elsewhere).
  virtual absl::Status Generate(absl::Span<const GenerateRequest> requests,
                                const ChunkSink& sink) = 0;

  // Logprobs of given tokens under the current (or reference) policy, by the same arithmetic as
  // Generate: a completion scored under the version that sampled it gives its behaviour logprobs
  // to the last bit. Thread-safe. Errors as Generate.
  virtual absl::StatusOr<ScoreResult> Score(const ScoreRequest& request) = 0;

  virtual absl::StatusOr<PolicyInfo> Info() = 0;
};

// Runs Generate and gathers whole completions: result[i][j] is completion j of requests[i].
// Refuses a stream that names unknown sequences, changes version inside a call, gives unequal
// token and logprob counts, non-finite or positive logprobs, or ends without a stop reason
// (INTERNAL): a policy that answers nonsense is an outage, never a completion.
absl::StatusOr<std::vector<std::vector<Completion>>> GenerateAll(
    Generator& generator, absl::Span<const GenerateRequest> requests);

}  // namespace hone

#endif  // HONE_POLICY_GENERATOR_H_
