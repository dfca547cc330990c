// SPDX-License-Identifier: Apache-2.0
//
// The life of a completion: its prompt waits, is read once for all completions of its request
// (Prefill), gives each of them a first token (Launch), and then every running completion reads
// one token and draws the next, together, one row each (Step).
#include "policy/model/decode_engine.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "policy/model/decode_request.h"
#include "policy/model/decode_state.h"

namespace hone {
namespace {

constexpr int32_t kMaxBatch = 4096;

}  // namespace

DecodeEngine::State::State(const Model<float>& the_model, const DecodeOptions& the_options)
    : model(the_model),
      options(the_options),
      ops{the_model.table()},
      cache(the_model.config(), the_model.device(), the_options.page_tokens),
      arena(the_model.device()),
      staging(the_model.device()) {
  assert(options.max_batch >= 1 && options.max_batch <= kMaxBatch && options.chunk_tokens >= 0);
  assert(options.vocabulary >= 1 && options.vocabulary <= model.config().vocab_size);
  drawn_host.resize(static_cast<size_t>(options.max_batch) * 13);
}

absl::Status DecodeEngine::State::Run(absl::Span<const GenerateRequest> requests) {
  const size_t logits = static_cast<size_t>(1 + options.max_batch) *
                        static_cast<size_t>(model.config().vocab_size) * sizeof(float);
  for (auto [buffer, bytes] :
       {std::pair(&drawn, drawn_host.size()), std::pair(&prompt_logits, logits)}) {
    if (buffer->data() != nullptr) continue;
    absl::StatusOr<Buffer> memory = Buffer::Allocate(model.device(), bytes);
    if (!memory.ok()) return memory.status();
    *buffer = *std::move(memory);
  }
  cache.ReleaseAll();
  running.clear();
  prompts.assign(requests.size(), WaitingPrompt());
  next = 0;
  stopped = deadlines = false;
  most_stop_tokens = 1;
  for (size_t i = 0; i < requests.size(); ++i) {
    prompts[i].request = &requests[i];
    deadlines |= requests[i].deadline != absl::InfiniteFuture();
    most_stop_tokens =
        std::max(most_stop_tokens, static_cast<int64_t>(requests[i].stop_tokens.size()));
  }
  while (!stopped && (next < prompts.size() || !running.empty())) {
    if (deadlines) CancelExpired();
    if (const absl::Status status = Admit(); !status.ok()) return status;
    if (running.empty() || stopped) continue;
    if (const absl::Status status = Step(); !status.ok()) return status;
  }
  return stopped ? absl::CancelledError("the caller stopped it") : absl::OkStatus();
}

// Fills free places of the running batch. A first token may end its completion at once.
absl::Status DecodeEngine::State::Admit() {
  while (!stopped && next < prompts.size() &&
         running.size() < static_cast<size_t>(options.max_batch)) {
    if (const absl::Status status = Prefill(); !status.ok()) return status;
    if (const absl::Status status = Launch(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Every running completion reads its last token and draws the next.
absl::Status DecodeEngine::State::Step() {
  const int64_t rows = static_cast<int64_t>(running.size());
  int64_t most_pages = 1;
  bool want_routes = false;
  RowBatch<float> batch;
  for (RunningCompletion& completion : running) {
    if (static_cast<int64_t>(completion.pages.size()) * options.page_tokens < completion.length) {
      const absl::StatusOr<int32_t> page = cache.Take();
      if (!page.ok()) return page.status();
      completion.pages.push_back(*page);
    }
    most_pages = std::max(most_pages, static_cast<int64_t>(completion.pages.size()));
    batch.max_length = std::max(batch.max_length, completion.length);
    want_routes |= completion.request->return_routes;
  }
  arena.Reset();
  staging.Begin(arena, 3 * Staging::Room<int32_t>(rows) + Staging::Room<int64_t>(rows) +
                           Staging::Room<int32_t>(rows * most_pages) + DrawRoom(rows));
  int32_t* positions = staging.Add(rows, &batch.positions);
  int32_t* row_sequence = staging.Add(rows, &batch.row_sequence);
  int32_t* row_length = staging.Add(rows, &batch.row_length);
  int64_t* slots = staging.Add(rows, &batch.slots);
  int32_t* page_table = staging.Add(rows, most_pages, &batch.page_table);
  for (int64_t m = 0; m < rows; ++m) {
    const RunningCompletion& completion = running[static_cast<size_t>(m)];
    const int32_t position = completion.length - 1;
    positions[m] = position;
    row_sequence[m] = static_cast<int32_t>(m);
    row_length[m] = completion.length;
    slots[m] = int64_t{completion.pages[static_cast<size_t>(position / options.page_tokens)]} *
                   options.page_tokens +
               position % options.page_tokens;
    int32_t* pages = page_table + m * most_pages;
    std::fill(std::copy(completion.pages.begin(), completion.pages.end(), pages),
              pages + most_pages, 0);
  }
  const DrawRows draw_rows = StageDraw(running);
  staging.Send();
  if (order_changed) {
    std::vector<int32_t> tokens;
    for (const RunningCompletion& completion : running) tokens.push_back(completion.last_token);
    model.device().CopyIn(drawn.data(), tokens.data(), tokens.size() * sizeof(int32_t), nullptr);
    order_changed = false;
  }
  batch.tokens = {drawn.as<int32_t>(), {rows}};
  batch.pages = cache.pages();
  ForwardRows(model, batch, false, arena, &trace);
  ops.Norm(model.layout().final_norm, trace.output, trace.scratch.normed);
  const View<float, 2> logits = Matrix<float>(arena, rows, model.config().vocab_size);
  ops.Apply(model.layout().head, trace.scratch.normed, logits);
  Draw(logits, draw_rows);
  if (want_routes) FetchRoutes();
  for (size_t m = 0; want_routes && m < running.size(); ++m) {
    if (running[m].request->return_routes) KeepRoutes(m, &running[m].chunk.routes);
  }
  Accept(0);
  RemoveDone();
  return absl::OkStatus();
}

size_t DecodeEngine::State::DrawRoom(int64_t rows) const {
  return Staging::Room<kernels::SampleRow>(rows) + 2 * Staging::Room<int32_t>(rows) +
         Staging::Room<int32_t>(rows * most_stop_tokens);
}

DrawRows DecodeEngine::State::StageDraw(absl::Span<const RunningCompletion> completions) {
  const int64_t rows = static_cast<int64_t>(completions.size());
  DrawRows out;
  kernels::SampleRow* sample = staging.Add(rows, &out.sample);
  int32_t* positions = staging.Add(rows, &out.positions);
  int32_t* last_by_length = staging.Add(rows, &out.last_by_length);
  int32_t* stop_tokens = staging.Add(rows, most_stop_tokens, &out.stop_tokens);
  for (int64_t m = 0; m < rows; ++m) {
    const RunningCompletion& completion = completions[static_cast<size_t>(m)];
    sample[m] = completion.sample;
    sample[m].position = static_cast<uint32_t>(completion.length);
    positions[m] = completion.length;
    last_by_length[m] = completion.last_by_length;
    const std::vector<TokenId>& stops = completion.request->stop_tokens;
    int32_t* row = stop_tokens + m * most_stop_tokens;
    std::fill(std::copy(stops.begin(), stops.end(), row), row + most_stop_tokens, -1);
  }
  return out;
}

// Draws a token a row and brings tokens, logprobs, entropies and stop flags to the host.
void DecodeEngine::State::Draw(View<float, 2> logits, const DrawRows& rows) {
  const int64_t count = logits.shape[0], room = options.max_batch;
  int32_t* tokens = drawn.as<int32_t>();
  float* logprobs = drawn.as<float>() + room;
  float* entropy = logprobs + room;
  uint8_t* stop = reinterpret_cast<uint8_t*>(entropy + room);
  ops.k.sample(nullptr, {logits,
                         options.vocabulary,
                         rows.sample,
                         {tokens, {count}},
                         {logprobs, {count}},
                         {entropy, {count}}});
  kernels::DecodeAdvanceArgs args;
  args.tokens = View<const int32_t, 1>(tokens, {count});
  args.stop_tokens = rows.stop_tokens;
  args.positions = rows.positions;
  args.last_by_length = rows.last_by_length;
  args.last_by_context = model.config().max_position_embeddings - 1;
  args.stop = {stop, {count}};
  ops.k.decode_advance(nullptr, args);
  model.device().CopyOut(drawn_host.data(), drawn.data(), drawn_host.size(), nullptr);
}

// Gives the drawn tokens to the completions from `first` on.
void DecodeEngine::State::Accept(size_t first) {
  const size_t room = static_cast<size_t>(options.max_batch);
  const int32_t* tokens = reinterpret_cast<const int32_t*>(drawn_host.data());
  const float* logprobs = reinterpret_cast<const float*>(drawn_host.data()) + room;
  const float* entropy = logprobs + room;
  const uint8_t* stop = reinterpret_cast<const uint8_t*>(entropy + room);
  const size_t chunk_tokens = static_cast<size_t>(options.chunk_tokens);
  for (size_t m = first; m < running.size() && !stopped; ++m) {
    RunningCompletion& completion = running[m];
    if (completion.ending != StopReason::kNone) {
      Emit(&completion, completion.ending);
      continue;
    }
    // With routes a chunk waits until its last token has been read.
    const bool routes = completion.request->return_routes;
    const auto full = [&] {
      return chunk_tokens > 0 && completion.chunk.tokens.size() >= chunk_tokens;
    };
    if (routes && full()) Emit(&completion, StopReason::kNone);
    completion.last_token = tokens[m - first];
    completion.chunk.tokens.push_back(completion.last_token);
    completion.chunk.logprobs.push_back(logprobs[m - first]);
    completion.chunk.entropy.push_back(entropy[m - first]);
    ++completion.length;
    const StopReason reason = static_cast<StopReason>(stop[m - first]);
    if (reason == StopReason::kNone) {
      if (!routes && full()) Emit(&completion, StopReason::kNone);
    } else if (routes) {
      completion.ending = reason;
    } else {
      Emit(&completion, reason);
    }
  }
}

// The experts of the last pass come to the host.
void DecodeEngine::State::FetchRoutes() {
  if (trace.experts.size() == 0) return;
  routes_host.resize(static_cast<size_t>(trace.experts.size()));
  model.device().CopyOut(routes_host.data(), trace.experts.data,
                         routes_host.size() * sizeof(int32_t), nullptr);
}

// Appends the experts of row `row` of the last pass.
void DecodeEngine::State::KeepRoutes(size_t row, Routes* routes) const {
  const size_t layers = static_cast<size_t>(trace.experts.shape[0]);
  const size_t rows = static_cast<size_t>(trace.experts.shape[1]);
  const size_t chosen = static_cast<size_t>(trace.experts.shape[2]);
  routes->moe_layers = static_cast<int32_t>(layers);
  routes->slots = static_cast<int32_t>(chosen);
  for (size_t layer = 0; layer < layers; ++layer) {
    const int32_t* from = routes_host.data() + (layer * rows + row) * chosen;
    for (size_t slot = 0; slot < chosen; ++slot) {
      routes->experts.push_back(static_cast<uint16_t>(from[slot]));
    }
  }
}

void DecodeEngine::State::Emit(RunningCompletion* completion, StopReason reason) {
  GenerateChunk rest;
  rest.request_id = completion->chunk.request_id;
  rest.sequence = completion->chunk.sequence;
  rest.version = completion->chunk.version;
  std::swap(rest, completion->chunk);
  rest.stop_reason = reason;
  completion->done = reason != StopReason::kNone;
  if (!(*sink)(std::move(rest))) stopped = true;
}

void DecodeEngine::State::CancelExpired() {
  const absl::Time now = absl::Now();
  for (RunningCompletion& completion : running) {
    if (stopped || completion.request->deadline > now) continue;
    Emit(&completion, StopReason::kCancelled);
  }
  RemoveDone();
  for (size_t i = next; i < prompts.size(); ++i) {
    WaitingPrompt& prompt = prompts[i];
    if (prompt.request->deadline > now) continue;
    for (; !stopped && prompt.launched < prompt.request->n; ++prompt.launched) {
      GenerateChunk chunk;
      chunk.request_id = prompt.request->request_id;
      chunk.sequence = prompt.launched;
      chunk.version = version;
      chunk.stop_reason = StopReason::kCancelled;
      if (!(*sink)(std::move(chunk))) stopped = true;
    }
    for (int32_t page : prompt.pages) cache.Release(page);
    prompt.pages.clear();
  }
}

void DecodeEngine::State::RemoveDone() {
  size_t kept = 0;
  for (size_t m = 0; m < running.size(); ++m) {
    if (running[m].done) {
      for (int32_t page : running[m].pages) cache.Release(page);
      continue;
    }
    if (kept != m) running[kept] = std::move(running[m]);
    ++kept;
  }
  order_changed |= kept != running.size();
  running.resize(kept);
}

DecodeEngine::DecodeEngine(const Model<float>& model, const DecodeOptions& options)
    : state_(new State(model, options)) {}

DecodeEngine::~DecodeEngine() = default;

absl::Status DecodeEngine::Generate(absl::Span<const GenerateRequest> requests, int64_t version,
                                    const ChunkSink& sink) {
  State& s = *state_;
  if (absl::Status status = CheckGenerateRequests(requests, s.options.vocabulary,
                                                  s.model.config().max_position_embeddings);
      !status.ok()) {
    return status;
  }
  s.sink = &sink;
  s.version = version;
  return s.Run(requests);
}

}  // namespace hone
