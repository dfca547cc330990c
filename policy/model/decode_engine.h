// SPDX-License-Identifier: Apache-2.0
//
// Continuous batching over a paged latent cache: many requests' completions at once, one row each
// per step, prompts prefilled once per request and shared by its completions.
#ifndef HONE_POLICY_MODEL_DECODE_ENGINE_H_
#define HONE_POLICY_MODEL_DECODE_ENGINE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "policy/generator.h"
#include "policy/model/model.h"

namespace hone {

struct DecodeOptions {
  int32_t vocabulary = 0;    // rows past it are masked
  int32_t max_batch = 64;    // completions running at once; more wait their turn
  int32_t page_tokens = 32;  // of the latent cache
  int32_t chunk_tokens = 0;  // tokens per GenerateChunk; 0: one chunk when a sequence ends
};

// One call at a time per engine; callers that want more hold several. The model must outlive it
// and must not change during Generate.
class DecodeEngine {
 public:
  DecodeEngine(const Model<float>& model, const DecodeOptions& options);
  ~DecodeEngine();

  // Generator::Generate without the version check (`version` is put into the chunks). The bits of
  // a completion depend on its prompt, key, sampling and the weights alone. A request past its
  // deadline ends with stop reason cancelled (what it has so far is sent; its last token has no
  // route). A sink that returns false is not called again and the call ends with CANCELLED. Else
  // every completion ends with a stop reason. RESOURCE_EXHAUSTED when the cache cannot grow.
  absl::Status Generate(absl::Span<const GenerateRequest> requests, int64_t version,
                        const ChunkSink& sink);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_POLICY_MODEL_DECODE_ENGINE_H_
