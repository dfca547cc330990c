// SPDX-License-Identifier: Apache-2.0
//
// From a waiting prompt to running completions.
#include <algorithm>
#include <array>
#include <utility>

#include "policy/model/decode_state.h"
#include "policy/sampling/rng.h"

namespace hone {
namespace {

constexpr int64_t kPrefillRows = 256;  // prompts are read in passes of at most this many tokens

}  // namespace

// Reads the prompts whose completions have a free place now.
absl::Status DecodeEngine::State::Prefill() {
  int64_t places = options.max_batch - static_cast<int64_t>(running.size());
  int64_t logits_row = 1, first_row = 1, rows = 0;
  std::vector<PromptPiece> pieces;
  for (size_t i = next; i < prompts.size() && places > 0; ++i) {
    WaitingPrompt& prompt = prompts[i];
    places -= prompt.request->n - prompt.launched;
    if (prompt.read || prompt.launched == prompt.request->n) continue;  // n: cancelled
    while (static_cast<int64_t>(prompt.pages.size()) * options.page_tokens < prompt.tokens()) {
      const absl::StatusOr<int32_t> page = cache.Take();
      if (!page.ok()) return page.status();
      prompt.pages.push_back(*page);
    }
    for (int64_t first = 0; first < prompt.tokens();) {
      const int64_t count = std::min(prompt.tokens() - first, kPrefillRows - rows);
      pieces.push_back({&prompt, first, count});
      first += count;
      rows += count;
      if (first == prompt.tokens()) prompt.logits_row = logits_row++;
      if (rows < kPrefillRows) continue;
      PrefillPass(pieces, first_row);
      first_row = logits_row;
      pieces.clear();
      rows = 0;
    }
    prompt.read = true;
  }
  if (!pieces.empty()) PrefillPass(pieces, first_row);
  return absl::OkStatus();
}

// Logits of the prompts that end in this pass go to rows from first_logits_row on.
void DecodeEngine::State::PrefillPass(absl::Span<const PromptPiece> pieces,
                                      int64_t first_logits_row) {
  int64_t rows = 0, most_pages = 1, ends = 0;
  RowBatch<float> batch;
  for (const PromptPiece& piece : pieces) {
    rows += piece.count;
    most_pages = std::max(most_pages, static_cast<int64_t>(piece.prompt->pages.size()));
    ends += piece.first + piece.count == piece.prompt->tokens();
    batch.max_length = std::max(batch.max_length, static_cast<int32_t>(piece.first + piece.count));
  }
  const int64_t count = static_cast<int64_t>(pieces.size());
  arena.Reset();
  staging.Begin(arena, 5 * Staging::Room<int32_t>(rows) + Staging::Room<int64_t>(rows) +
                           Staging::Room<int32_t>(count * most_pages));
  int32_t* tokens = staging.Add(rows, &batch.tokens);
  int32_t* positions = staging.Add(rows, &batch.positions);
  int32_t* row_sequence = staging.Add(rows, &batch.row_sequence);
  int32_t* row_length = staging.Add(rows, &batch.row_length);
  int64_t* slots = staging.Add(rows, &batch.slots);
  int32_t* page_table = staging.Add(count, most_pages, &batch.page_table);
  View<const int32_t, 1> end_rows;
  int32_t* ending = staging.Add(ends, &end_rows);
  int64_t m = 0;
  for (int64_t b = 0; b < count; ++b) {
    const PromptPiece& piece = pieces[static_cast<size_t>(b)];
    const std::vector<int32_t>& pages = piece.prompt->pages;
    std::fill(page_table + b * most_pages, page_table + (b + 1) * most_pages, 0);
    std::copy(pages.begin(), pages.end(), page_table + b * most_pages);
    for (int64_t t = piece.first; t < piece.first + piece.count; ++t, ++m) {
      tokens[m] = piece.prompt->request->prompt[static_cast<size_t>(t)];
      positions[m] = static_cast<int32_t>(t);
      row_sequence[m] = static_cast<int32_t>(b);
      row_length[m] = static_cast<int32_t>(t + 1);
      slots[m] =
          int64_t{pages[static_cast<size_t>(t / options.page_tokens)]} * options.page_tokens +
          t % options.page_tokens;
    }
    if (piece.first + piece.count == piece.prompt->tokens()) {
      *ending++ = static_cast<int32_t>(m - 1);
    }
  }
  staging.Send();
  batch.pages = cache.pages();
  ForwardRows(model, batch, false, arena, &trace);
  KeepPromptRoutes(pieces);
  if (ends == 0) return;
  const View<float, 2> last = Matrix<float>(arena, ends, model.config().hidden_size);
  GatherRows(model, trace.output, end_rows, last);
  ops.Norm(model.layout().final_norm, last, last);
  const int64_t vocabulary = model.config().vocab_size;
  ops.Apply(model.layout().head, last,
            {prompt_logits.as<float>() + first_logits_row * vocabulary, {ends, vocabulary}});
}

void DecodeEngine::State::KeepPromptRoutes(absl::Span<const PromptPiece> pieces) {
  bool fetched = false;
  size_t row = 0;
  for (const PromptPiece& piece : pieces) {
    const bool wanted = piece.prompt->request->return_routes;
    if (wanted && !fetched) FetchRoutes();
    fetched |= wanted;
    for (int64_t r = 0; r < piece.count; ++r, ++row) {
      if (wanted) KeepRoutes(row, &piece.prompt->routes);
    }
  }
}

// Full pages are shared; each completion writes into a last page of its own. The last completion
// takes over what the prompt owns.
absl::Status DecodeEngine::State::TakePages(WaitingPrompt& prompt, RunningCompletion* completion) {
  if (prompt.launched + 1 == prompt.request->n) {
    completion->pages = std::move(prompt.pages);
    prompt.pages.clear();
    return absl::OkStatus();
  }
  completion->pages = prompt.pages;
  const int32_t rest = static_cast<int32_t>(prompt.tokens() % options.page_tokens);
  const size_t full = prompt.pages.size() - (rest > 0 ? 1 : 0);
  if (rest > 0) {
    const absl::StatusOr<int32_t> own = cache.Take();
    if (!own.ok()) return own.status();
    cache.CopyTokens(prompt.pages.back(), *own, rest);
    completion->pages.back() = *own;
  }
  for (size_t i = 0; i < full; ++i) cache.Share(prompt.pages[i]);
  return absl::OkStatus();
}

// Begins completions of the prompts that were read: each draws its first token.
absl::Status DecodeEngine::State::Launch() {
  const size_t first = running.size();
  std::vector<int32_t> sources;
  while (next < prompts.size() && running.size() < static_cast<size_t>(options.max_batch)) {
    WaitingPrompt& prompt = prompts[next];
    if (prompt.launched == prompt.request->n) {
      ++next;
      continue;
    }
    RunningCompletion completion;
    completion.request = prompt.request;
    completion.length = static_cast<int32_t>(prompt.tokens());
    const SamplingParams& sampling = prompt.request->sampling;
    completion.last_by_length = static_cast<int32_t>(
        std::min<int64_t>(prompt.tokens() + sampling.max_tokens, INT32_MAX) - 1);
    SampleKey key = prompt.request->key;
    key.sample += static_cast<uint32_t>(prompt.launched);
    const std::array<uint32_t, 4> words = KeyWords(key);
    std::copy(words.begin(), words.end(), completion.sample.key);
    completion.sample.temperature = sampling.temperature;
    completion.sample.top_p = sampling.top_p;
    completion.sample.top_k = sampling.top_k;
    completion.chunk.request_id = prompt.request->request_id;
    completion.chunk.sequence = prompt.launched;
    completion.chunk.version = version;
    completion.chunk.prompt_routes = prompt.routes;
    if (absl::Status status = TakePages(prompt, &completion); !status.ok()) return status;
    sources.push_back(static_cast<int32_t>(prompt.logits_row));
    ++prompt.launched;
    running.push_back(std::move(completion));
  }
  if (sources.empty()) return absl::OkStatus();
  const int64_t rows = static_cast<int64_t>(sources.size());
  const int64_t vocabulary = model.config().vocab_size;
  float* table = prompt_logits.as<float>();
  arena.Reset();
  staging.Begin(arena, Staging::Room<int32_t>(rows) + DrawRoom(rows));
  View<const int32_t, 1> source_rows;
  std::copy(sources.begin(), sources.end(), staging.Add(rows, &source_rows));
  const DrawRows draw_rows = StageDraw(absl::MakeConstSpan(running).subspan(first));
  staging.Send();
  const View<float, 2> logits = Matrix<float>(arena, rows, vocabulary);
  GatherRows(model, {table, {1 + options.max_batch, vocabulary}}, source_rows, logits);
  Draw(logits, draw_rows);
  if (next < prompts.size() && prompts[next].read && prompts[next].logits_row != 0) {
    model.device().CopyWithin(table, table + prompts[next].logits_row * vocabulary,
                              static_cast<size_t>(vocabulary) * sizeof(float), nullptr);
    prompts[next].logits_row = 0;
  }
  order_changed = true;
  Accept(first);
  RemoveDone();
  return absl::OkStatus();
}

}  // namespace hone
