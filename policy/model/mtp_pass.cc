// SPDX-License-Identifier: Apache-2.0
#include "policy/model/mtp_pass.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include "policy/model/backward.h"

namespace hone {
namespace {

constexpr int64_t kLogitElements = 4 << 20;  // at once, as in a packed pass

template <typename Real>
View<Real, 2> ZeroMatrix(const Model<Real>& model, Arena& arena, int64_t rows, int64_t cols) {
  const View<Real, 2> out = Matrix<Real>(arena, rows, cols);
  model.device().Zero(out.data, static_cast<size_t>(out.size()) * sizeof(Real), nullptr);
  return out;
}

}  // namespace

template <typename Real>
MtpPass<Real>::MtpPass(const Model<Real>& model)
    : model_(model),
      ops_{model.table()},
      staging_(model.device()),
      backward_staging_(model.device()) {}

template <typename Real>
void MtpPass<Real>::Stage(const MtpInput<Real>& input, Arena& arena) {
  vocabulary_ = input.vocabulary;
  sequences_.clear();
  rows_ = targets_ = longest_ = 0;
  for (const PackedSequence& one : input.sequences) {
    const int64_t tokens = static_cast<int64_t>(one.tokens.size());
    sequences_.push_back({tokens, std::max<int64_t>(2, one.first_target)});
    const int64_t rows = std::max<int64_t>(0, tokens - 2);
    rows_ += rows;
    longest_ = std::max(longest_, rows);
    targets_ += std::max<int64_t>(0, tokens - sequences_.back().first_target);
  }
  if (rows_ == 0) return;
  const int64_t count = static_cast<int64_t>(sequences_.size());
  staging_.Begin(arena, 5 * Staging::Room<int32_t>(rows_) + Staging::Room<int64_t>(rows_) +
                            2 * Staging::Room<int32_t>(count + 1) +
                            2 * Staging::Room<int32_t>(targets_));
  batch_ = RowBatch<Real>();
  int32_t* tokens = staging_.Add(rows_, &batch_.tokens);
  int32_t* positions = staging_.Add(rows_, &batch_.positions);
  int32_t* row_sequence = staging_.Add(rows_, &batch_.row_sequence);
  int32_t* row_length = staging_.Add(rows_, &batch_.row_length);
  int64_t* slots = staging_.Add(rows_, &batch_.slots);
  int32_t* page_table = staging_.Add(count, 1, &batch_.page_table);
  int32_t* hidden_rows = staging_.Add(rows_, &hidden_rows_);
  int32_t* base = staging_.Add(count + 1, &row_base_);
  int32_t* to_rows = staging_.Add(targets_, &target_rows_);
  int32_t* to_ids = staging_.Add(targets_, &target_ids_);
  int64_t m = 0, l = 0;
  for (int64_t b = 0; b < count; ++b) {
    const size_t at = static_cast<size_t>(b);
    const absl::Span<const TokenId> ids = input.sequences[at].tokens;
    page_table[b] = static_cast<int32_t>(b);
    base[b] = static_cast<int32_t>(m);
    for (int64_t t = sequences_[at].first_target; t < sequences_[at].tokens; ++t, ++l) {
      to_rows[l] = static_cast<int32_t>(m + t - 2);
      to_ids[l] = ids[static_cast<size_t>(t)];
    }
    for (int64_t r = 0; r + 2 < sequences_[at].tokens; ++r, ++m) {
      tokens[m] = ids[static_cast<size_t>(r + 1)];
      positions[m] = static_cast<int32_t>(r);
      row_sequence[m] = static_cast<int32_t>(b);
      row_length[m] = static_cast<int32_t>(r + 1);
      slots[m] = b * longest_ + r;
      hidden_rows[m] = static_cast<int32_t>(input.first_rows[at] + r);
    }
  }
  base[count] = static_cast<int32_t>(m);
  staging_.Send();
  batch_.max_length = static_cast<int32_t>(longest_);
  batch_.pages = input.pages;
  batch_.pages.rows = count * longest_;
  batch_.pages.page_tokens = static_cast<int32_t>(longest_);
}

template <typename Real>
View<Real, 2> MtpPass<Real>::ChunkLogits(int64_t first, int64_t count) const {
  const View<Real, 2> out = logits_.Rows(0, count);
  ops_.Apply(model_.layout().head, head_normed_.Rows(first, count), out);
  return out;
}

template <typename Real>
void MtpPass<Real>::Forward(const MtpInput<Real>& input, Arena& arena,
                            std::vector<std::vector<Real>>* logprobs,
                            std::vector<std::vector<TokenId>>* argmax) {
  const ModelLayout<Real>& layout = model_.layout();
  const int64_t width = model_.config().hidden_size, vocabulary = model_.config().vocab_size;
  Stage(input, arena);
  std::vector<Real> found(static_cast<size_t>(targets_));
  std::vector<int32_t> best(static_cast<size_t>(targets_));
  if (targets_ > 0) {
    embedded_ = Matrix<Real>(arena, rows_, width);
    hidden_ = Matrix<Real>(arena, rows_, width);
    joined_ = Matrix<Real>(arena, rows_, 2 * width);
    const View<Real, 2> x = Matrix<Real>(arena, rows_, width);
    model_.table().embedding(nullptr, {batch_.tokens, layout.embedding, embedded_});
    GatherRows(model_, input.hidden, hidden_rows_, hidden_);
    post_ = hidden_;
    if (!model_.config().mtp_pre_norm) {
      post_ = Matrix<Real>(arena, rows_, width);
      ops_.Norm(layout.final_norm, hidden_, post_);
    }
    ops_.Norm(layout.mtp.embedding_norm, embedded_, joined_.Columns(0, width));
    ops_.Norm(layout.mtp.hidden_norm, post_, joined_.Columns(width, width));
    ops_.Apply(layout.mtp.join, joined_, x);
    ForwardLayers<Real>(model_, batch_, layout.mtp.layers, x, /*keep=*/true, arena, &trace_);

    chunk_ = std::min(targets_, std::max<int64_t>(1, kLogitElements / vocabulary));
    head_input_ = Matrix<Real>(arena, targets_, width);
    head_normed_ = Matrix<Real>(arena, targets_, width);
    logits_ = Matrix<Real>(arena, chunk_, vocabulary);
    Real* figures = arena.Allocate<Real>(2 * targets_);
    int32_t* likeliest = arena.Allocate<int32_t>(targets_);
    GatherRows(model_, trace_.output, target_rows_, head_input_);
    ops_.Norm(layout.mtp.head_norm, head_input_, head_normed_);
    for (int64_t first = 0; first < targets_; first += chunk_) {
      const int64_t count = std::min(chunk_, targets_ - first);
      kernels::LogprobArgs<Real> args;
      args.logits = ChunkLogits(first, count);
      args.vocabulary = vocabulary_;
      args.targets = target_ids_.Rows(first, count);
      args.logprobs = {figures + first, {count}};
      args.entropy = {figures + targets_ + first, {count}};
      args.argmax = {likeliest + first, {count}};
      SharedLogprob<Real>(ops_.k, args);
    }
    model_.device().CopyOut(found.data(), figures, found.size() * sizeof(Real), nullptr);
    model_.device().CopyOut(best.data(), likeliest, best.size() * sizeof(int32_t), nullptr);
  }
  int64_t l = 0;
  for (const Sequence& sequence : sequences_) {
    const size_t length = static_cast<size_t>(sequence.tokens);
    logprobs->emplace_back(length, std::numeric_limits<Real>::quiet_NaN());
    argmax->emplace_back(length, -1);
    for (int64_t t = sequence.first_target; t < sequence.tokens; ++t, ++l) {
      logprobs->back()[static_cast<size_t>(t)] = found[static_cast<size_t>(l)];
      argmax->back()[static_cast<size_t>(t)] = best[static_cast<size_t>(l)];
    }
  }
}

// From gradients of logprobs to d_output (zero before) of the module's layer.
template <typename Real>
void MtpPass<Real>::HeadBackward(const std::vector<std::vector<Real>>& d_logprobs, bool detach,
                                 View<Real, 2> d_output, Real* gradient, Arena& arena) {
  const ModelLayout<Real>& layout = model_.layout();
  const int64_t width = model_.config().hidden_size;
  View<const Real, 1> given;
  backward_staging_.Begin(arena, Staging::Room<Real>(targets_));
  Real* to = backward_staging_.Add(targets_, &given);
  int64_t l = 0;
  for (size_t b = 0; b < sequences_.size(); ++b) {
    for (int64_t t = sequences_[b].first_target; t < sequences_[b].tokens; ++t, ++l) {
      to[l] = d_logprobs[b][static_cast<size_t>(t)];
    }
  }
  backward_staging_.Send();
  const View<Real, 2> d_logits = Matrix<Real>(arena, chunk_, logits_.shape[1]);
  const View<Real, 2> d_normed = Matrix<Real>(arena, targets_, width);
  for (int64_t first = 0; first < targets_; first += chunk_) {
    const int64_t count = std::min(chunk_, targets_ - first);
    kernels::LogprobBackwardArgs<Real> args;
    args.logits = chunk_ == targets_ ? logits_ : ChunkLogits(first, count);
    args.vocabulary = vocabulary_;
    args.targets = target_ids_.Rows(first, count);
    args.d_logprobs = given.Rows(first, count);
    args.d_logits = d_logits.Rows(0, count);
    SharedLogprobBackward<Real>(ops_.k, args);
    if (!detach) {
      ops_.AddGradient(layout.head, args.d_logits, head_normed_.Rows(first, count), gradient);
    }
    ops_.ApplyBackward(layout.head, args.d_logits, d_normed.Rows(first, count));
  }
  const View<Real, 2> d_input = ZeroMatrix(model_, arena, targets_, width);
  ops_.NormBackward(layout.mtp.head_norm, head_input_, d_normed, d_input, gradient);
  ops_.k.embedding_backward(nullptr, {target_rows_, d_input, d_output});
}

template <typename Real>
void MtpPass<Real>::Backward(const std::vector<std::vector<Real>>& d_logprobs, bool detach,
                             View<Real, 2> d_hidden, Real* gradient, Arena& arena) {
  if (targets_ == 0) return;
  const ModelLayout<Real>& layout = model_.layout();
  const int64_t width = model_.config().hidden_size;
  const View<Real, 2> d_x = ZeroMatrix(model_, arena, rows_, width);
  HeadBackward(d_logprobs, detach, d_x, gradient, arena);
  BackwardBatch<Real> backward;
  backward.row_base = row_base_;
  BackwardLayers<Real>(model_, batch_, backward, layout.mtp.layers, trace_, d_x, gradient, arena);
  ops_.AddGradient(layout.mtp.join, d_x, joined_, gradient);
  const View<Real, 2> d_joined = Matrix<Real>(arena, rows_, 2 * width);
  ops_.ApplyBackward(layout.mtp.join, d_x, d_joined);
  const View<Real, 2> d_embedded = ZeroMatrix(model_, arena, rows_, width);
  const View<Real, 2> d_post = ZeroMatrix(model_, arena, rows_, width);
  ops_.NormBackward(layout.mtp.embedding_norm, embedded_, d_joined.Columns(0, width), d_embedded,
                    gradient);
  ops_.NormBackward(layout.mtp.hidden_norm, post_, d_joined.Columns(width, width), d_post,
                    gradient);
  if (detach) return;
  if (layout.embedding_trainable) {
    const View<Real, 2> d_table(gradient + layout.embedding_offset, layout.embedding.shape);
    model_.table().embedding_backward(nullptr, {batch_.tokens, d_embedded, d_table});
  }
  View<Real, 2> d_rows = d_post;
  if (!model_.config().mtp_pre_norm) {
    d_rows = ZeroMatrix(model_, arena, rows_, width);
    ops_.NormBackward(layout.final_norm, hidden_, d_post, d_rows, gradient);
  }
  ops_.k.embedding_backward(nullptr, {hidden_rows_, d_rows, d_hidden});
}

template class MtpPass<float>;
template class MtpPass<double>;

}  // namespace hone
