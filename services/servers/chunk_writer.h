// SPDX-License-Identifier: Apache-2.0
//
// Writes a stream of chunks from a thread of its own, so that a peer that reads slowly or not at
// all never holds up the decoder (and with it the weights).
#ifndef HONE_SERVICES_SERVERS_CHUNK_WRITER_H_
#define HONE_SERVICES_SERVERS_CHUNK_WRITER_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "hone/v1/policy_service.pb.h"
#include "policy/generator.h"
#include "services/convert/limits.h"
#include "services/convert/policy.h"

namespace hone {

class ChunkWriter {
 public:
  ChunkWriter(grpc::ServerContext* context, grpc::ServerWriter<v1::GenerateResponse>* writer)
      : context_(context), writer_(writer), thread_([this] { Drain(); }) {}
  ~ChunkWriter() { Finish(); }

  // Queues a chunk. False when the peer is gone or has cancelled.
  bool Push(GenerateChunk chunk) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (gone_ || context_->IsCancelled()) return false;
    queue_.push_back(std::move(chunk));
    wake_.notify_one();
    return true;
  }

  // Waits until everything is written. False when the peer is gone.
  bool Finish() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
      wake_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
    return !gone_;
  }

 private:
  void Drain() {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return closed_ || !queue_.empty(); });
      if (queue_.empty() || gone_) return;
      GenerateChunk chunk = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      if (Write(std::move(chunk))) continue;
      lock.lock();
      gone_ = true;
      return;
    }
  }

  // One chunk in as many messages as it needs; the last has the stop reason.
  bool Write(GenerateChunk chunk) {
    const size_t row =
        static_cast<size_t>(chunk.routes.moe_layers) * static_cast<size_t>(chunk.routes.slots);
    const size_t piece =
        std::max<size_t>(1, static_cast<size_t>(convert::kTargetMessageBytes) / (16 + 3 * row));
    v1::GenerateResponse message;
    if (!WritePromptRoutes(&chunk)) return false;
    size_t first = 0;
    for (; chunk.tokens.size() - first > piece; first += piece) {
      convert::ToProto(Slice(chunk, first, first + piece, row), &message);
      if (!writer_->Write(message)) return false;
    }
    if (first > 0) {
      GenerateChunk last = Slice(chunk, first, chunk.tokens.size(), row);
      last.stop_reason = chunk.stop_reason;
      chunk = std::move(last);
    }
    convert::ToProto(chunk, &message);
    return writer_->Write(message);
  }

  // All but the last piece, which stays with the chunk.
  bool WritePromptRoutes(GenerateChunk* chunk) {
    std::vector<uint16_t>& experts = chunk->prompt_routes.experts;
    const size_t row = static_cast<size_t>(chunk->prompt_routes.moe_layers) *
                       static_cast<size_t>(chunk->prompt_routes.slots);
    const size_t rows = static_cast<size_t>(convert::kTargetMessageBytes) / (2 * (1 + 3 * row));
    const size_t piece = std::max<size_t>(1, rows) * row;
    size_t first = 0;
    v1::GenerateResponse message;
    for (; experts.size() - first > piece; first += piece) {
      GenerateChunk part;
      part.request_id = chunk->request_id;
      part.sequence = chunk->sequence;
      part.version = chunk->version;
      part.prompt_routes = {chunk->prompt_routes.moe_layers,
                            chunk->prompt_routes.slots,
                            {experts.begin() + static_cast<ptrdiff_t>(first),
                             experts.begin() + static_cast<ptrdiff_t>(first + piece)}};
      convert::ToProto(part, &message);
      if (!writer_->Write(message)) return false;
    }
    experts.erase(experts.begin(), experts.begin() + static_cast<ptrdiff_t>(first));
    return true;
  }

  static GenerateChunk Slice(const GenerateChunk& from, size_t begin, size_t end, size_t row) {
    const auto cut = [](const auto& values, size_t a, size_t b) {
      using Values = std::decay_t<decltype(values)>;
      const size_t size = values.size();
      return Values(values.begin() + static_cast<ptrdiff_t>(std::min(a, size)),
                    values.begin() + static_cast<ptrdiff_t>(std::min(b, size)));
    };
    GenerateChunk to;
    to.request_id = from.request_id;
    to.sequence = from.sequence;
    to.version = from.version;
    to.tokens = cut(from.tokens, begin, end);
    to.logprobs = cut(from.logprobs, begin, end);
    to.entropy = cut(from.entropy, begin, end);
    if (begin == 0) to.prompt_routes = from.prompt_routes;
    to.routes.moe_layers = from.routes.moe_layers;
    to.routes.slots = from.routes.slots;
    // Routes that do not have a row per token go with the last piece.
    const bool rows = from.routes.experts.size() == from.tokens.size() * row;
    if (rows) {
      to.routes.experts = cut(from.routes.experts, begin * row, end * row);
    } else if (end == from.tokens.size()) {
      to.routes.experts = from.routes.experts;
    }
    return to;
  }

  grpc::ServerContext* context_;
  grpc::ServerWriter<v1::GenerateResponse>* writer_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<GenerateChunk> queue_;
  bool closed_ = false;
  bool gone_ = false;
  std::thread thread_;
};

}  // namespace hone

#endif  // HONE_SERVICES_SERVERS_CHUNK_WRITER_H_
