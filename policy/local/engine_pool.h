// SPDX-License-Identifier: Apache-2.0
//
// At most `limit` decode engines at once, whoever calls; made when first needed, kept for their
// scratch.
#ifndef HONE_POLICY_LOCAL_ENGINE_POOL_H_
#define HONE_POLICY_LOCAL_ENGINE_POOL_H_

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "policy/generator.h"
#include "policy/model/decode_engine.h"

namespace hone {

// Thread-safe. The model must outlive it and must not change during Generate.
class EnginePool {
 public:
  EnginePool(const Model<float>& model, const DecodeOptions& options, int limit)
      : model_(&model), options_(options), limit_(limit) {}

  // Deals the requests to up to `limit` engines, one thread each; request i goes to part
  // i mod parts. Waits while all engines are taken. The bits of a completion do not depend on it.
  absl::Status Generate(absl::Span<const GenerateRequest> requests, int64_t version,
                        const ChunkSink& sink);

 private:
  std::unique_ptr<DecodeEngine> Take();
  void GiveBack(std::unique_ptr<DecodeEngine> engine);
  absl::Status RunPart(absl::Span<const GenerateRequest> requests, int64_t version,
                       const ChunkSink& sink);

  const Model<float>* model_;
  DecodeOptions options_;
  int limit_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<DecodeEngine>> idle_;
  int made_ = 0;
};

}  // namespace hone

#endif  // HONE_POLICY_LOCAL_ENGINE_POOL_H_
