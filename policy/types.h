// SPDX-License-Identifier: Apache-2.0
//
// Plain values that cross the policy's border: tokens, keys, sampling, stop reasons, completions.
//
// Axes used through policy/: P prompts, G group, T tokens; B sequences, C model width, H heads,
// N nope width, D rope width, V value width, R latent width, E experts, K active experts,
// F expert width, W vocabulary rows, S cache pages, M rows of a packed batch.
#ifndef HONE_POLICY_TYPES_H_
#define HONE_POLICY_TYPES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace hone {

using TokenId = int32_t;

// What a random draw is for. The numbers are stored; they never change.
enum class Purpose : uint8_t {
  kTrain = 0,
  kEval = 1,
  kBranch = 2,
  kReplay = 3,
  kData = 4,
  kInit = 5,
};

// Randomness is a key, not a state: the same key gives the same token on the same backend,
// whatever the batch, the thread count or the worker. The policy version is not in the key: two
// checkpoints share random numbers on the same task, which makes comparisons paired.
// The sampler adds the position of the token being drawn (its index in the sequence).
struct SampleKey {
  uint64_t run_seed = 0;
  Purpose purpose = Purpose::kTrain;
  uint64_t group_ordinal = 0;  // counts groups of a purpose; a task drawn again gets a new one
  uint32_t attempt = 0;        // a refill of the same ordinal gets the next attempt
  uint32_t sample = 0;         // index of the completion in its group
  uint32_t turn = 0;           // index of the model segment in its trajectory

  friend bool operator==(const SampleKey&, const SampleKey&) = default;
};

// The policy's sampling transform. It is part of the policy: scoring applies the same one.
struct SamplingParams {
  float temperature = 1.0f;  // >= 0; 0 is greedy, whose logprobs are reported at temperature 1
  float top_p = 1.0f;        // (0, 1]; logprobs are renormalised over the kept tokens
  int32_t top_k = 0;         // 0: all
  int32_t max_tokens = 0;    // of the completion; > 0

  friend bool operator==(const SamplingParams&, const SamplingParams&) = default;
};

// Checked in this order after each token: the first that holds is reported.
enum class StopReason : uint8_t {
  kNone = 0,       // still running; never stored
  kStopToken = 1,  // the policy ended the completion itself; the stop token is its last token
  kLength = 2,     // max_tokens reached
  kContext = 3,    // the model's context is full
  kCancelled = 4,  // deadline or shutdown; never trained on
};

// "stop_token", "length", "context", "cancelled"; "none" for kNone.
const char* StopReasonName(StopReason reason);
// The reverse; kNone for an unknown name.
StopReason StopReasonFromName(const std::string& name);
inline bool IsTruncated(StopReason reason) {
  return reason == StopReason::kLength || reason == StopReason::kContext;
}

// Experts chosen at sampling, ordered slots: index = (t * moe_layers + layer) * K + slot.
// Row t holds the routing of the forward that read token t. Empty when not kept.
struct Routes {
  int32_t moe_layers = 0;
  int32_t slots = 0;              // K
  std::vector<uint16_t> experts;  // [T, moe_layers, K], slots ascending by expert index
};

// One finished completion.
struct Completion {
  std::vector<TokenId> tokens;  // [T]
  std::vector<float> logprobs;  // [T] behaviour logprob of each token, natural log
  std::vector<float> entropy;   // [T] of the distribution each token was drawn from, nats
  StopReason stop_reason = StopReason::kNone;
  int64_t version = 0;   // policy version that sampled it
  Routes routes;         // of these tokens, when asked for
  Routes prompt_routes;  // of the prompt's tokens, when asked for
};

}  // namespace hone

#endif  // HONE_POLICY_TYPES_H_
