// SPDX-License-Identifier: Apache-2.0
#include "policy/model/packed_pass.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include "policy/model/backward.h"
#include "policy/model/mtp_pass.h"
#include "policy/model/rows.h"
#include "policy/model/staging.h"

namespace hone {
namespace {

// Logits of at most this many elements exist at once; a larger pass makes them in chunks of rows,
// again for the backward.
constexpr int64_t kLogitElements = 4 << 20;

}  // namespace

template <typename Real>
struct PackedPass<Real>::State {
  explicit State(const Model<Real>& the_model)
      : model(the_model),
        ops{the_model.table()},
        arena(the_model.device()),
        backward_arena(the_model.device()),
        mtp(the_model),
        staging(the_model.device()),
        backward_staging(the_model.device()) {}

  // One sequence of the last Forward.
  struct Sequence {
    int64_t tokens = 0;  // T
    int64_t rows = 0;    // its last token is read only when its route is wanted
    int64_t first_target = 1;
  };

  void Measure(absl::Span<const PackedSequence> packed, const PackedOptions& options);
  void Stage(absl::Span<const PackedSequence> packed);
  void StageRoutes(absl::Span<const PackedSequence> packed, int32_t* to);
  void RunHead();
  View<Real, 2> ChunkLogits(int64_t first, int64_t count);
  PackedResult<Real> Collect();
  void CollectRoutes(PackedResult<Real>* result);
  void RunMtp(absl::Span<const PackedSequence> packed, PackedResult<Real>* result);
  void CountFlips(absl::Span<const PackedSequence> packed, PackedResult<Real>* result) const;
  void HeadBackward(const Gradients& gradients, View<Real, 2> d_x, Real* gradient);

  const Model<Real>& model;
  Ops<Real> ops;
  Arena arena;
  Arena backward_arena;
  MtpPass<Real> mtp;
  Staging staging;
  Staging backward_staging;

  PackedOptions options;
  std::vector<Sequence> sequences;
  std::vector<RouteRun> route_runs;
  int64_t rows = 0;     // M
  int64_t targets = 0;  // L, rows with a target
  int64_t longest = 0;  // rows of the longest sequence
  RowBatch<Real> batch;
  View<const int32_t, 1> row_base;     // [B + 1]
  View<const int32_t, 1> target_rows;  // [L]
  View<const int32_t, 1> target_ids;   // [L]
  ForwardTrace<Real> trace;
  View<Real, 2> head_input;   // [L, C] residual stream of the target rows
  View<Real, 2> head_normed;  // [L, C]
  View<Real, 2> logits;       // [chunk, W]
  int64_t chunk = 1;
  Real* logprobs = nullptr;   // [L] then entropy [L]
  int32_t* argmax = nullptr;  // [L] null: not wanted
};

template <typename Real>
void PackedPass<Real>::State::Measure(absl::Span<const PackedSequence> packed,
                                      const PackedOptions& wanted) {
  options = wanted;
  assert(!packed.empty() && options.vocabulary >= 1 &&
         options.vocabulary <= model.config().vocab_size);
  assert(!options.keep_for_backward || model.options().trainable);
  assert(!options.want_mtp || (options.keep_for_backward && !model.layout().mtp.layers.empty()));
  sequences.clear();
  route_runs.clear();
  rows = targets = longest = 0;
  bool overridden = false;
  for (const PackedSequence& one : packed) {
    Sequence sequence;
    sequence.tokens = static_cast<int64_t>(one.tokens.size());
    assert(sequence.tokens >= 1 && sequence.tokens <= model.config().max_position_embeddings);
    assert(one.first_target >= 1);
    sequence.rows = options.want_routes ? sequence.tokens : sequence.tokens - 1;
    sequence.first_target = one.first_target;
    const bool given = one.route_override != nullptr && model.layout().moe_layers > 0;
    if (sequence.rows > 0) route_runs.push_back({rows, sequence.rows, given});
    overridden |= given;
    rows += sequence.rows;
    targets += std::max<int64_t>(0, sequence.tokens - sequence.first_target);
    longest = std::max(longest, sequence.rows);
    sequences.push_back(sequence);
  }
  if (!overridden) route_runs.clear();
}

// Row r of sequence b reads its token r at position r; its keys lie in page b, which is as long
// as the longest sequence.
template <typename Real>
void PackedPass<Real>::State::Stage(absl::Span<const PackedSequence> packed) {
  const ModelConfig& config = model.config();
  const int64_t count = static_cast<int64_t>(packed.size());
  const int64_t routes =
      route_runs.empty() ? 0 : rows * model.layout().moe_layers * config.num_experts_per_tok;
  staging.Begin(arena, 4 * Staging::Room<int32_t>(rows) + Staging::Room<int64_t>(rows) +
                           2 * Staging::Room<int32_t>(count + 1) +
                           2 * Staging::Room<int32_t>(targets) + Staging::Room<int32_t>(routes));
  batch = RowBatch<Real>();
  int32_t* tokens = staging.Add(rows, &batch.tokens);
  int32_t* positions = staging.Add(rows, &batch.positions);
  int32_t* row_sequence = staging.Add(rows, &batch.row_sequence);
  int32_t* row_length = staging.Add(rows, &batch.row_length);
  int64_t* slots = staging.Add(rows, &batch.slots);
  int32_t* page_table = staging.Add(count, 1, &batch.page_table);
  int32_t* base = staging.Add(count + 1, &row_base);
  int32_t* to_rows = staging.Add(targets, &target_rows);
  int32_t* to_ids = staging.Add(targets, &target_ids);
  int64_t m = 0, l = 0;
  for (int64_t b = 0; b < count; ++b) {
    const absl::Span<const TokenId> ids = packed[static_cast<size_t>(b)].tokens;
    const Sequence& sequence = sequences[static_cast<size_t>(b)];
    page_table[b] = static_cast<int32_t>(b);
    base[b] = static_cast<int32_t>(m);
    for (int64_t t = sequence.first_target; t < sequence.tokens; ++t, ++l) {
      to_rows[l] = static_cast<int32_t>(m + t - 1);
      to_ids[l] = ids[static_cast<size_t>(t)];
      assert(to_ids[l] >= 0 && to_ids[l] < config.vocab_size);
    }
    for (int64_t r = 0; r < sequence.rows; ++r, ++m) {
      tokens[m] = ids[static_cast<size_t>(r)];
      assert(tokens[m] >= 0 && tokens[m] < config.vocab_size);
      positions[m] = static_cast<int32_t>(r);
      row_sequence[m] = static_cast<int32_t>(b);
      row_length[m] = static_cast<int32_t>(r + 1);
      slots[m] = b * longest + r;
    }
  }
  base[count] = static_cast<int32_t>(m);
  if (routes > 0) {
    View<const int32_t, 1> flat;
    StageRoutes(packed, staging.Add(routes, &flat));
    batch.override_experts = {flat.data,
                              {model.layout().moe_layers, rows, config.num_experts_per_tok}};
    batch.route_runs = route_runs;
    for (const PackedSequence& one : packed) {
      batch.live_routes |= one.route_override != nullptr && one.recorded != nullptr;
    }
  }
  staging.Send();
  batch.max_length = static_cast<int32_t>(longest);
  batch.pages.rows = count * longest;
  batch.pages.page_tokens = static_cast<int32_t>(longest);
  batch.pages.data = arena.Allocate<Real>(batch.pages.rows * config.Cache().Width());
}

// to: [moe_layers, M, K]; rows left to the router get zeros that nobody reads.
template <typename Real>
void PackedPass<Real>::State::StageRoutes(absl::Span<const PackedSequence> packed, int32_t* to) {
  const int64_t layers = model.layout().moe_layers, chosen = model.config().num_experts_per_tok;
  std::fill(to, to + layers * rows * chosen, 0);
  int64_t first = 0;
  for (size_t b = 0; b < packed.size(); ++b) {
    const Routes* routes = packed[b].route_override;
    const int64_t count = sequences[b].rows;
    if (routes != nullptr) {
      assert(routes->moe_layers == layers && routes->slots == chosen);
      assert(static_cast<int64_t>(routes->experts.size()) >= count * layers * chosen);
    }
    for (int64_t r = 0; routes != nullptr && r < count; ++r) {
      for (int64_t layer = 0; layer < layers; ++layer) {
        const uint16_t* from = routes->experts.data() + (r * layers + layer) * chosen;
        int32_t* row = to + (layer * rows + first + r) * chosen;
        for (int64_t slot = 0; slot < chosen; ++slot) {
          row[slot] = from[slot];
          assert(row[slot] < model.config().n_routed_experts);
          assert(slot == 0 || row[slot] > row[slot - 1]);
        }
      }
    }
    first += count;
  }
}

template <typename Real>
View<Real, 2> PackedPass<Real>::State::ChunkLogits(int64_t first, int64_t count) {
  const View<Real, 2> out = logits.Rows(0, count);
  ops.Apply(model.layout().head, head_normed.Rows(first, count), out);
  return out;
}

// Unless the pass is kept, a chunk of targets at a time goes all the way.
template <typename Real>
void PackedPass<Real>::State::RunHead() {
  const int64_t width = model.config().hidden_size, vocabulary = model.config().vocab_size;
  chunk = std::min(targets, std::max<int64_t>(1, kLogitElements / vocabulary));
  const bool keep = options.keep_for_backward;
  head_input = Matrix<Real>(arena, keep ? targets : chunk, width);
  head_normed = Matrix<Real>(arena, keep ? targets : chunk, width);
  logits = Matrix<Real>(arena, chunk, vocabulary);
  logprobs = arena.Allocate<Real>(2 * targets);
  argmax = options.want_argmax ? arena.Allocate<int32_t>(targets) : nullptr;
  for (int64_t first = 0; first < targets; first += chunk) {
    const int64_t count = std::min(chunk, targets - first), at = keep ? first : 0;
    GatherRows(model, trace.output, target_rows.Rows(first, count), head_input.Rows(at, count));
    ops.Norm(model.layout().final_norm, head_input.Rows(at, count), head_normed.Rows(at, count));
    kernels::LogprobArgs<Real> args;
    args.logits = ChunkLogits(at, count);
    args.vocabulary = options.vocabulary;
    args.temperature = static_cast<Real>(options.temperature);
    args.top_p = static_cast<Real>(options.top_p);
    args.top_k = options.top_k;
    args.targets = target_ids.Rows(first, count);
    args.logprobs = {logprobs + first, {count}};
    args.entropy = {logprobs + targets + first, {count}};
    if (argmax != nullptr) args.argmax = {argmax + first, {count}};
    SharedLogprob<Real>(ops.k, args);
  }
}

template <typename Real>
PackedResult<Real> PackedPass<Real>::State::Collect() {
  Device& device = model.device();
  std::vector<Real> figures(static_cast<size_t>(2 * targets));
  std::vector<int32_t> best(static_cast<size_t>(argmax != nullptr ? targets : 0));
  if (targets > 0) {
    device.CopyOut(figures.data(), logprobs, figures.size() * sizeof(Real), nullptr);
    if (argmax != nullptr) {
      device.CopyOut(best.data(), argmax, best.size() * sizeof(int32_t), nullptr);
    }
  }
  PackedResult<Real> result;
  const Real nothing = std::numeric_limits<Real>::quiet_NaN();
  int64_t l = 0;
  for (const Sequence& sequence : sequences) {
    const size_t length = static_cast<size_t>(sequence.tokens);
    result.logprobs.emplace_back(length, nothing);
    result.entropy.emplace_back(length, nothing);
    if (options.want_argmax) result.argmax.emplace_back(length, -1);
    for (int64_t t = sequence.first_target; t < sequence.tokens; ++t, ++l) {
      result.logprobs.back()[static_cast<size_t>(t)] = figures[static_cast<size_t>(l)];
      result.entropy.back()[static_cast<size_t>(t)] = figures[static_cast<size_t>(targets + l)];
      if (options.want_argmax) {
        result.argmax.back()[static_cast<size_t>(t)] = best[static_cast<size_t>(l)];
      }
    }
  }
  if (options.want_routes) CollectRoutes(&result);
  return result;
}

template <typename Real>
void PackedPass<Real>::State::CollectRoutes(PackedResult<Real>* result) {
  const int64_t layers = model.layout().moe_layers, chosen = model.config().num_experts_per_tok;
  std::vector<int32_t> experts(static_cast<size_t>(layers * rows * chosen));
  if (!experts.empty()) {
    model.device().CopyOut(experts.data(), trace.experts.data, experts.size() * sizeof(int32_t),
                           nullptr);
  }
  int64_t first = 0;
  for (const Sequence& sequence : sequences) {
    Routes routes;
    routes.moe_layers = static_cast<int32_t>(layers);
    routes.slots = static_cast<int32_t>(chosen);
    routes.experts.reserve(static_cast<size_t>(sequence.rows * layers * chosen));
    for (int64_t r = first; r < first + sequence.rows; ++r) {
      for (int64_t layer = 0; layer < layers; ++layer) {
        for (int64_t slot = 0; slot < chosen; ++slot) {
          routes.experts.push_back(static_cast<uint16_t>(
              experts[static_cast<size_t>((layer * rows + r) * chosen + slot)]));
        }
      }
    }
    first += sequence.rows;
    result->routes.push_back(std::move(routes));
  }
}

template <typename Real>
void PackedPass<Real>::State::RunMtp(absl::Span<const PackedSequence> packed,
                                     PackedResult<Real>* result) {
  MtpInput<Real> input;
  input.sequences = packed;
  int64_t first = 0;
  for (const Sequence& sequence : sequences) {
    input.first_rows.push_back(first);
    first += sequence.rows;
  }
  input.hidden = trace.output;
  input.pages = batch.pages;
  input.vocabulary = options.vocabulary;
  mtp.Forward(input, arena, &result->mtp_logprobs, &result->mtp_argmax);
}

// Rows of a sequence's T - 1 are compared: its last token is read by nobody.
template <typename Real>
void PackedPass<Real>::State::CountFlips(absl::Span<const PackedSequence> packed,
                                         PackedResult<Real>* result) const {
  bool wanted = false;
  for (const PackedSequence& one : packed) wanted |= one.recorded != nullptr;
  if (!wanted) return;
  result->flips.resize(packed.size());
  const int64_t layers = model.layout().moe_layers, chosen = model.config().num_experts_per_tok;
  std::vector<int32_t> routed(static_cast<size_t>(layers * rows * chosen)), live(routed.size());
  const size_t bytes = routed.size() * sizeof(int32_t);
  if (bytes == 0) return;
  model.device().CopyOut(routed.data(), trace.experts.data, bytes, nullptr);
  if (trace.live_experts) {
    model.device().CopyOut(live.data(), trace.live_experts.data, bytes, nullptr);
  }
  int64_t first = 0;
  for (size_t b = 0; b < packed.size(); ++b) {
    const Routes* recorded = packed[b].recorded;
    const int32_t* own = packed[b].route_override != nullptr ? live.data() : routed.data();
    for (int64_t r = 0; recorded != nullptr && r < sequences[b].tokens - 1; ++r) {
      for (int64_t layer = 0; layer < layers; ++layer) {
        const uint16_t* then = recorded->experts.data() + (r * layers + layer) * chosen;
        const int32_t* now = own + (layer * rows + first + r) * chosen;
        ++result->flips[b].compared;
        result->flips[b].flipped += !std::equal(then, then + chosen, now);
      }
    }
    first += sequences[b].rows;
  }
}

// From the gradients of logprobs and entropies to d_x (zero before) of the last layer's output.
template <typename Real>
void PackedPass<Real>::State::HeadBackward(const Gradients& gradients, View<Real, 2> d_x,
                                           Real* gradient) {
  const ModelLayout<Real>& layout = model.layout();
  const int64_t width = model.config().hidden_size;
  View<const Real, 1> d_logprobs, d_entropy;
  backward_staging.Begin(backward_arena, 2 * Staging::Room<Real>(targets));
  Real* to_logprobs = backward_staging.Add(targets, &d_logprobs);
  Real* to_entropy =
      gradients.d_entropy.empty() ? nullptr : backward_staging.Add(targets, &d_entropy);
  int64_t l = 0;
  for (size_t b = 0; b < sequences.size(); ++b) {
    for (int64_t t = sequences[b].first_target; t < sequences[b].tokens; ++t, ++l) {
      to_logprobs[l] = gradients.d_logprobs[b][static_cast<size_t>(t)];
      if (to_entropy != nullptr) to_entropy[l] = gradients.d_entropy[b][static_cast<size_t>(t)];
    }
  }
  backward_staging.Send();
  const View<Real, 2> d_logits = Matrix<Real>(backward_arena, chunk, logits.shape[1]);
  const View<Real, 2> d_normed = Matrix<Real>(backward_arena, targets, width);
  const View<Real, 2> d_input = Matrix<Real>(backward_arena, targets, width);
  for (int64_t first = 0; first < targets; first += chunk) {
    const int64_t count = std::min(chunk, targets - first);
    kernels::LogprobBackwardArgs<Real> args;
    args.logits = chunk == targets ? logits : ChunkLogits(first, count);
    args.vocabulary = options.vocabulary;
    args.temperature = static_cast<Real>(options.temperature);
    args.top_p = static_cast<Real>(options.top_p);
    args.top_k = options.top_k;
    args.targets = target_ids.Rows(first, count);
    args.d_logprobs = d_logprobs.Rows(first, count);
    if (d_entropy) args.d_entropy = d_entropy.Rows(first, count);
    args.d_logits = d_logits.Rows(0, count);
    SharedLogprobBackward<Real>(ops.k, args);
    ops.AddGradient(layout.head, args.d_logits, head_normed.Rows(first, count), gradient);
    ops.ApplyBackward(layout.head, args.d_logits, d_normed.Rows(first, count));
  }
  model.device().Zero(d_input.data, static_cast<size_t>(d_input.size()) * sizeof(Real), nullptr);
  ops.NormBackward(layout.final_norm, head_input, d_normed, d_input, gradient);
  ops.k.embedding_backward(nullptr, {target_rows, d_input, d_x});
}

template <typename Real>
PackedPass<Real>::PackedPass(const Model<Real>& model) : state_(new State(model)) {}

template <typename Real>
PackedPass<Real>::~PackedPass() = default;

template <typename Real>
PackedResult<Real> PackedPass<Real>::Forward(absl::Span<const PackedSequence> sequences,
                                             const PackedOptions& options) {
  State& s = *state_;
  s.arena.Reset();
  s.Measure(sequences, options);
  if (s.rows > 0) {
    s.Stage(sequences);
    ForwardRows(s.model, s.batch, options.keep_for_backward, s.arena, &s.trace);
    if (s.targets > 0) s.RunHead();
  }
  PackedResult<Real> result = s.Collect();
  if (options.want_mtp && s.rows > 0) s.RunMtp(sequences, &result);
  s.CountFlips(sequences, &result);
  return result;
}

template <typename Real>
std::vector<Real> PackedPass<Real>::Backward(const Gradients& gradients, Real* gradient) {
  State& s = *state_;
  const size_t count = s.sequences.size();
  assert(s.options.keep_for_backward && gradients.d_logprobs.size() == count);
  assert(gradients.d_entropy.empty() || gradients.d_entropy.size() == count);
  assert(gradients.balance_alpha.empty() || gradients.balance_alpha.size() == count);
  std::vector<Real> losses(count, Real(0));
  if (s.rows == 0) return losses;
  s.backward_arena.Reset();
  Device& device = s.model.device();
  const View<Real, 2> d_x = Matrix<Real>(s.backward_arena, s.rows, s.model.config().hidden_size);
  device.Zero(d_x.data, static_cast<size_t>(d_x.size()) * sizeof(Real), nullptr);
  if (s.targets > 0) s.HeadBackward(gradients, d_x, gradient);
  if (!gradients.d_mtp_logprobs.empty()) {
    assert(s.options.want_mtp && gradients.d_mtp_logprobs.size() == count);
    s.mtp.Backward(gradients.d_mtp_logprobs, gradients.mtp_detach, d_x, gradient, s.backward_arena);
  }

  BackwardBatch<Real> backward;
  backward.row_base = s.row_base;
  const int64_t moe_layers = s.model.layout().moe_layers;
  const bool balanced = moe_layers > 0 && !gradients.balance_alpha.empty();
  std::vector<Real> parts(static_cast<size_t>(moe_layers) * count);
  if (balanced) {
    backward.balance_alpha = gradients.balance_alpha;
    backward.balance_loss = Matrix<Real>(s.backward_arena, moe_layers, static_cast<int64_t>(count));
    device.Zero(backward.balance_loss.data, parts.size() * sizeof(Real), nullptr);
  }
  BackwardRows(s.model, s.batch, backward, s.trace, d_x, gradient, s.backward_arena);
  if (!balanced) return losses;
  device.CopyOut(parts.data(), backward.balance_loss.data, parts.size() * sizeof(Real), nullptr);
  for (size_t i = 0; i < parts.size(); ++i) losses[i % count] += parts[i];
  return losses;
}

template <typename Real>
std::vector<std::vector<int64_t>> PackedPass<Real>::ExpertCounts() const {
  State& s = *state_;
  const int64_t layers = s.model.layout().moe_layers, experts = s.model.config().n_routed_experts;
  std::vector<std::vector<int64_t>> counts(static_cast<size_t>(layers),
                                           std::vector<int64_t>(static_cast<size_t>(experts), 0));
  if (s.rows == 0) return counts;
  const size_t bytes = static_cast<size_t>(experts) * sizeof(int64_t);
  s.backward_arena.Reset();
  int64_t* on_device = s.backward_arena.template Allocate<int64_t>(experts);
  for (int64_t layer = 0; layer < layers; ++layer) {
    const View<int32_t, 3>& all = s.trace.experts;
    const View<const int32_t, 2> chosen(all.data + layer * all.stride[0],
                                        {all.shape[1], all.shape[2]});
    s.model.device().Zero(on_device, bytes, nullptr);
    s.ops.k.route_count(nullptr, {chosen, {on_device, {experts}}});
    s.model.device().CopyOut(counts[static_cast<size_t>(layer)].data(), on_device, bytes, nullptr);
  }
  return counts;
}

template class PackedPass<float>;
template class PackedPass<double>;

}  // namespace hone
