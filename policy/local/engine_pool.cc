// SPDX-License-Identifier: Apache-2.0
#include "policy/local/engine_pool.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace hone {

std::unique_ptr<DecodeEngine> EnginePool::Take() {
  std::unique_lock<std::mutex> lock(mutex_);
  returned_.wait(lock, [&] { return !idle_.empty() || made_ < limit_; });
  if (idle_.empty()) {
    ++made_;
    lock.unlock();
    return std::make_unique<DecodeEngine>(*model_, options_);
  }
  std::unique_ptr<DecodeEngine> engine = std::move(idle_.back());
  idle_.pop_back();
  return engine;
}

void EnginePool::GiveBack(std::unique_ptr<DecodeEngine> engine) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(engine));
  }
  returned_.notify_one();
}

absl::Status EnginePool::RunPart(absl::Span<const GenerateRequest> requests, int64_t version,
                                 const ChunkSink& sink) {
  std::unique_ptr<DecodeEngine> engine = Take();
  const absl::Status status = engine->Generate(requests, version, sink);
  GiveBack(std::move(engine));
  return status;
}

absl::Status EnginePool::Generate(absl::Span<const GenerateRequest> requests, int64_t version,
                                  const ChunkSink& sink) {
  if (requests.empty()) return absl::OkStatus();
  std::mutex sink_mutex;
  bool cancelled = false;
  const ChunkSink guarded = [&](GenerateChunk chunk) {
    std::lock_guard<std::mutex> lock(sink_mutex);
    if (!cancelled) cancelled = !sink(std::move(chunk));
    return !cancelled;
  };
  const size_t parts = std::min(requests.size(), static_cast<size_t>(limit_));
  std::vector<absl::Status> statuses(parts);
  if (parts == 1) {
    statuses[0] = RunPart(requests, version, guarded);
  } else {
    std::vector<std::vector<GenerateRequest>> dealt(parts);
    for (size_t i = 0; i < requests.size(); ++i) dealt[i % parts].push_back(requests[i]);
    std::vector<std::thread> helpers;
    for (size_t part = 1; part < parts; ++part) {
      helpers.emplace_back([&, part] { statuses[part] = RunPart(dealt[part], version, guarded); });
    }
    statuses[0] = RunPart(dealt[0], version, guarded);
    for (std::thread& helper : helpers) helper.join();
  }
  if (cancelled) return absl::CancelledError("the caller stopped the generation");
  for (const absl::Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace hone
