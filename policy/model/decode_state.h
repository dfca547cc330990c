// SPDX-License-Identifier: Apache-2.0
//
// The state of a decode engine: what waits, what runs, and the memory both use. Private to
// policy/model; the engine's loop is in decode_engine.cc, the way in is in decode_prefill.cc.
#ifndef HONE_POLICY_MODEL_DECODE_STATE_H_
#define HONE_POLICY_MODEL_DECODE_STATE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "policy/model/decode_engine.h"
#include "policy/model/key_value_cache.h"
#include "policy/model/rows.h"
#include "policy/model/staging.h"

namespace hone {

// A request on its way.
struct WaitingPrompt {
  const GenerateRequest* request = nullptr;
  int32_t launched = 0;  // completions begun
  bool read = false;
  int64_t logits_row = 0;  // once read, until all are launched
  std::vector<int32_t> pages;
  Routes routes;  // of the tokens read, when the request wants them

  int64_t tokens() const { return static_cast<int64_t>(request->prompt.size()); }
};

// A completion on its way. `length` tokens exist, prompt included; the last is not read yet.
struct RunningCompletion {
  const GenerateRequest* request = nullptr;
  int32_t length = 0;
  int32_t last_by_length = 0;  // index of the last token max_tokens allows
  kernels::SampleRow sample;
  std::vector<int32_t> pages;
  TokenId last_token = 0;
  GenerateChunk chunk;                    // not sent yet
  StopReason ending = StopReason::kNone;  // its last token is only read for its routes
  bool done = false;
};

// What drawing needs of each row.
struct DrawRows {
  View<const kernels::SampleRow, 1> sample;  // [M]
  View<int32_t, 1> positions;                // [M]
  View<const int32_t, 1> last_by_length;     // [M]
  View<const int32_t, 2> stop_tokens;        // [M, X]
};

// A prompt's tokens [first, first + count) in one prefill pass.
struct PromptPiece {
  WaitingPrompt* prompt;
  int64_t first;
  int64_t count;
};

struct DecodeEngine::State {
  State(const Model<float>& the_model, const DecodeOptions& the_options);

  absl::Status Run(absl::Span<const GenerateRequest> requests);
  absl::Status Admit();
  absl::Status Prefill();
  void PrefillPass(absl::Span<const PromptPiece> pieces, int64_t first_logits_row);
  void KeepPromptRoutes(absl::Span<const PromptPiece> pieces);
  absl::Status Launch();
  absl::Status TakePages(WaitingPrompt& prompt, RunningCompletion* completion);
  absl::Status Step();

  size_t DrawRoom(int64_t rows) const;
  DrawRows StageDraw(absl::Span<const RunningCompletion> completions);
  void Draw(View<float, 2> logits, const DrawRows& rows);
  void Accept(size_t first);
  void FetchRoutes();
  void KeepRoutes(size_t row, Routes* routes) const;
  void Emit(RunningCompletion* completion, StopReason reason);
  void CancelExpired();
  void RemoveDone();

  const Model<float>& model;
  const DecodeOptions options;
  Ops<float> ops;
  KeyValueCache cache;
  Arena arena;
  Staging staging;
  ForwardTrace<float> trace;

  // Device: tokens [max_batch], logprobs, entropies, stop flags; and the same on the host.
  Buffer drawn;
  std::vector<char> drawn_host;
  Buffer prompt_logits;              // [1 + max_batch, W]; row 0: the prompt carried over
  std::vector<int32_t> routes_host;  // [moe_layers, M, K] of the last step, when wanted

  // One call.
  const ChunkSink* sink = nullptr;
  int64_t version = 0;
  bool stopped = false;    // the sink wants no more
  bool deadlines = false;  // any request has one
  int64_t most_stop_tokens = 1;
  std::vector<WaitingPrompt> prompts;
  size_t next = 0;  // first prompt with completions to launch
  std::vector<RunningCompletion> running;
  bool order_changed = false;  // the device's tokens are not those of `running`
};

}  // namespace hone

#endif  // HONE_POLICY_MODEL_DECODE_STATE_H_
