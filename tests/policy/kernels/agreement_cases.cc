// SPDX-License-Identifier: Apache-2.0
#include "tests/policy/kernels/agreement_cases.h"

namespace hone::kernels {
namespace {

using Table = KernelTable<float>;

template <int N>
void Keep(const Tensor<float, N>& tensor, Outputs* out) {
  EXPECT_TRUE(tensor.GapsUntouched());
  out->push_back(tensor.Values());
}

Outputs EmbeddingCase(const Table& t, int64_t width) {
  Tensor<float, 2> table({6, width}), out({4, width}), d_table({6, width});
  Tensor<int32_t, 1> tokens({4});
  table.Random(1);
  d_table.Random(2);
  const int32_t ids[4] = {5, 0, 5, 2};
  for (int64_t m = 0; m < 4; ++m) tokens.at(m) = ids[m];
  t.embedding(nullptr, {tokens.view(), table.view(), out.view()});
  t.embedding_backward(nullptr, {tokens.view(), out.view(), d_table.view()});
  Outputs outputs;
  Keep(out, &outputs);
  Keep(d_table, &outputs);
  return outputs;
}

Outputs RmsNormCase(const Table& t, int64_t width) {
  Tensor<float, 2> x({5, width}), y({5, width}), d_y({5, width}), d_x({5, width});
  Tensor<float, 1> weight({width}), d_weight({width});
  x.Random(1);
  weight.Random(2);
  d_y.Random(3);
  d_x.Random(4);
  d_weight.Random(5);
  t.rmsnorm(nullptr, {x.view(), weight.view(), 1e-5f, y.view()});
  t.rmsnorm_backward(nullptr,
                     {x.view(), weight.view(), 1e-5f, d_y.view(), d_x.view(), d_weight.view()});
  t.rmsnorm(nullptr, {x.view(), weight.view(), 1e-5f, x.view()});  // in place
  EXPECT_EQ(x.Values(), y.Values());
  Outputs outputs;
  Keep(y, &outputs);
  Keep(d_x, &outputs);
  Keep(d_weight, &outputs);
  return outputs;
}

// A weight packed by the table, forward or transposed, in memory that was NaN.
struct Packed {
  std::vector<float> data;
  Packed(const Table& t, Tensor<float, 2>& w, int64_t out, int64_t in, bool transposed)
      : data(static_cast<size_t>(t.packed_size(out, in)), NAN) {
    const int64_t stride = w.view().stride[0];
    EXPECT_EQ(data.size() % 16, 0u);
    t.pack(nullptr,
           {w.row(0), transposed ? 1 : stride, transposed ? stride : 1, out, in, data.data()});
  }
};

Outputs MatmulCase(const Table& t, int64_t width) {
  Outputs outputs;
  for (int64_t rows : {1, 2, 5, 8, 17}) {
    for (int64_t out : {1, 16, 33, 130}) {
      Tensor<float, 2> x({rows, width}), w({out, width}), y({rows, out}), d_x({rows, width});
      Tensor<float, 2> d_w({out, width});
      x.Random(1);
      w.Random(2);
      d_x.Random(3);
      d_w.Random(4);
      t.matmul(
          nullptr,
          {x.view(), {Packed(t, w, out, width, false).data.data(), out, width}, y.view(), false});
      t.matmul(
          nullptr,
          {y.view(), {Packed(t, w, width, out, true).data.data(), width, out}, d_x.view(), true});
      t.weight_grad(nullptr, {y.view(), x.view(), d_w.view()});
      Keep(y, &outputs);
      Keep(d_x, &outputs);
      Keep(d_w, &outputs);
    }
  }
  return outputs;
}

Outputs DeepMatmulCase(const Table& t, int64_t width) {
  // Deeper and longer than one block of any kernel.
  const int64_t rows = 200 + width, out = 20, in = 260 + width;
  Tensor<float, 2> x({rows, in}), w({out, in}), y({rows, out}), d_w({out, in});
  x.Random(1);
  w.Random(2);
  d_w.Fill(0);
  t.matmul(nullptr,
           {x.view(), {Packed(t, w, out, in, false).data.data(), out, in}, y.view(), false});
  t.weight_grad(nullptr, {y.view(), x.view(), d_w.view()});
  Outputs outputs;
  Keep(y, &outputs);
  Keep(d_w, &outputs);
  return outputs;
}

// The same bits on every backend: tolerance 0.
Outputs MergeCase(const Table& t, int64_t width) {
  Outputs outputs;
  for (int64_t rank : {1, 5, 16}) {
    Tensor<float, 2> w({7, width}), a({rank, width}), b({7, rank}), y({7, width});
    w.Random(1);
    a.Random(2);
    b.Random(3);
    t.merge(nullptr, {w.view(), a.view(), b.view(), 0.3f, y.view()});
    Keep(y, &outputs);
    t.merge(nullptr, {w.view(), a.view(), b.view(), 0.3f, w.view()});
    Keep(w, &outputs);
  }
  return outputs;
}

Outputs RopeCase(const Table& t, int64_t width) {
  const int64_t even = width + width % 2;
  Tensor<float, 3> x({4, 3, even}), y({4, 3, even}), table({7, even / 2, 2}, 0);
  Tensor<int32_t, 1> positions({4});
  x.Random(1);
  table.Random(2);
  for (int64_t m = 0; m < 4; ++m) positions.at(m) = static_cast<int32_t>((m * 5) % 7);
  Outputs outputs;
  for (RopePairing pairing : {RopePairing::kAdjacent, RopePairing::kHalves}) {
    for (bool inverse : {false, true}) {
      t.rope(nullptr, {x.view(), positions.view(), table.view(), inverse, pairing, y.view()});
      Keep(y, &outputs);
      t.rope(nullptr, {x.view(), positions.view(), table.view(), inverse, pairing, x.view()});
      Keep(x, &outputs);
    }
  }
  return outputs;
}

Outputs AttentionOf(const Table& t, const CacheRow& cache) {
  // Rows of three sequences: one prefilled, one prefilled late, one a single decode row.
  const int64_t heads = 6, page = 8, sequences = 3, width = cache.Width();
  const int64_t lengths[sequences] = {21, 40, 9}, firsts[sequences] = {0, 17, 8};
  std::vector<int64_t> sequence, length;
  for (int64_t b = 0; b < sequences; ++b) {
    for (int64_t i = firsts[b]; i < lengths[b]; ++i) {
      sequence.push_back(b);
      length.push_back(i + 1);
    }
  }
  const int64_t rows = static_cast<int64_t>(sequence.size());
  Tensor<float, 3> q({rows, heads, cache.key_width}), d_q({rows, heads, cache.key_width});
  Tensor<float, 3> out({rows, heads, cache.value_width}), d_out({rows, heads, cache.value_width});
  Tensor<float, 2> keys({70, width}), lse({rows, heads}), d_keys({70, width});
  Tensor<float, 2> key_pages({10 * page, width});
  Tensor<int32_t, 1> row_sequence({rows}), row_length({rows}), row_base({sequences});
  Tensor<int32_t, 2> pages({sequences, 7});
  Tensor<int64_t, 1> slot({70});
  q.Random(1);
  keys.Random(3);
  d_out.Random(5);
  d_keys.Random(6);
  pages.Fill(Poison<int32_t>());
  const int32_t order[10] = {4, 8, 1, 6, 0, 7, 3, 9, 5, 2};
  int32_t next = 0;
  int64_t base = 0;
  for (int64_t b = 0; b < sequences; ++b) {
    row_base.at(b) = static_cast<int32_t>(base);
    for (int64_t i = 0; i < lengths[b]; ++i) {
      if (i % page == 0) pages.row(b)[i / page] = order[next++];
      slot.at(base + i) = pages.row(b)[i / page] * page + i % page;
    }
    base += lengths[b];
  }
  for (int64_t m = 0; m < rows; ++m) {
    row_sequence.at(m) = static_cast<int32_t>(sequence[static_cast<size_t>(m)]);
    row_length.at(m) = static_cast<int32_t>(length[static_cast<size_t>(m)]);
  }
  t.cache_append(nullptr, {keys.view(), slot.view(), key_pages.view()});
  t.attention(nullptr,
              {cache, q.view(), row_sequence.view(), row_length.view(), pages.view(),
               key_pages.view(), static_cast<int32_t>(page), 40, 0.3f, out.view(), lse.view()});
  t.attention_backward(nullptr, {cache, q.view(), row_sequence.view(), row_length.view(),
                                 row_base.view(), keys.view(), 40, 0.3f, out.view(), lse.view(),
                                 d_out.view(), d_q.view(), d_keys.view()});
  Outputs outputs;
  Keep(out, &outputs);
  Keep(lse, &outputs);
  Keep(d_q, &outputs);
  Keep(d_keys, &outputs);
  return outputs;
}

// `width` of the value: a latent with a rope part of 6, then groups of 6, 2 and 1 query heads.
Outputs AttentionCase(const Table& t, int64_t width) {
  Outputs outputs = AttentionOf(t, {1, width + 6, width, 0});
  for (int64_t heads : {1, 3, 6}) {
    const Outputs more = AttentionOf(t, {heads, width + 1, width, heads * (width + 1) + 2});
    outputs.insert(outputs.end(), more.begin(), more.end());
  }
  return outputs;
}

Outputs SwigluCase(const Table& t, int64_t width) {
  Tensor<float, 2> gate({4, width}), up({4, width}), y({4, width}), d_y({4, width});
  Tensor<float, 2> d_gate({4, width}), d_up({4, width}), sum({4, width});
  gate.Random(1, 30.0);
  up.Random(2);
  d_y.Random(3);
  sum.Random(4);
  t.swiglu(nullptr, {gate.view(), up.view(), y.view()});
  t.swiglu_backward(nullptr, {gate.view(), up.view(), d_y.view(), d_gate.view(), d_up.view()});
  t.add(nullptr, {gate.view(), sum.view()});
  Outputs outputs;
  Keep(y, &outputs);
  Keep(d_gate, &outputs);
  Keep(d_up, &outputs);
  Keep(sum, &outputs);
  return outputs;
}

Outputs RouterCase(const Table& t, int64_t experts) {
  Outputs outputs;
  for (RouterKind kind : {RouterKind::kSoftmax, RouterKind::kSigmoid}) {
    RouterConfig config;
    config.kind = kind;
    config.experts = static_cast<int32_t>(experts);
    config.chosen = experts < 3 ? 1 : 3;
    config.scale = 2.5;
    const int64_t rows = 7, chosen = config.chosen;
    Tensor<float, 2> logits({rows, experts}), weights({rows, chosen}), d_weights({rows, chosen});
    Tensor<float, 2> d_logits({rows, experts});
    Tensor<int32_t, 2> picked({rows, chosen});
    Tensor<int32_t, 1> base({2});
    Tensor<float, 1> loss({1});
    logits.Random(1, 3.0);
    d_weights.Random(2);
    base.at(0) = 0;
    base.at(1) = static_cast<int32_t>(rows);
    t.route(nullptr, {config, logits.view(), {}, {}, picked.view(), weights.view()});
    t.route_backward(nullptr,
                     {config, logits.view(), picked.view(), d_weights.view(), d_logits.view()});
    t.balance_loss(nullptr, {config, logits.view(), picked.view(), base.view(), 0.1f, loss.view(),
                             d_logits.view()});
    Keep(weights, &outputs);
    Keep(d_logits, &outputs);
    Keep(loss, &outputs);
    std::vector<double> experts_picked = picked.Values();
    outputs.push_back(experts_picked);
  }
  return outputs;
}

Outputs ExpertsCase(const Table& t, int64_t width) {
  const int64_t rows = 40, chosen = 3, experts = 5, hidden = 37, slots = rows * chosen;
  Tensor<float, 2> x({rows, width}), xg({slots, width}), h({slots, hidden});
  Tensor<float, 2> weights({rows, chosen}), out({rows, hidden}), d_h({slots, hidden});
  Tensor<float, 2> h_weighted({slots, hidden}), d_weights({rows, chosen}), d_x({rows, width});
  Tensor<float, 3> w({experts, hidden, width}, 0), d_w({experts, hidden, width});
  Tensor<int32_t, 2> choice({rows, chosen}), row_slot({rows, chosen});
  Tensor<int32_t, 1> offsets({experts + 1}), slot_row({slots});
  x.Random(1);
  weights.Random(2);
  w.Random(3);
  out.Random(4);
  d_h.Random(5);
  d_x.Random(6);
  d_w.Random(7);
  for (int64_t m = 0; m < rows; ++m) {  // expert 2 gets nobody, expert 4 everybody
    choice.row(m)[0] = 0;
    choice.row(m)[1] = m % 3 == 0 ? 1 : 3;
    choice.row(m)[2] = 4;
  }
  t.moe_plan(nullptr, {choice.view(), offsets.view(), slot_row.view(), row_slot.view()});
  const int64_t stride = t.packed_size(hidden, width) + 16;
  std::vector<float> packed(static_cast<size_t>(stride * experts), NAN);
  for (int64_t e = 0; e < experts; ++e) {
    t.pack(nullptr, {w.row(e), width, 1, hidden, width, packed.data() + e * stride});
  }
  t.moe_gather(nullptr, {x.view(), slot_row.view(), xg.view()});
  t.grouped_matmul(nullptr,
                   {xg.view(), offsets.view(), packed.data(), stride, hidden, width, h.view()});
  t.moe_combine(nullptr, {h.view(), row_slot.view(), weights.view(), out.view(), true});
  t.moe_weigh(nullptr, {row_slot.view(), weights.view(), h.view(), d_h.view(), h_weighted.view(),
                        d_weights.view()});
  t.grouped_weight_grad(nullptr, {h_weighted.view(), xg.view(), offsets.view(), d_w.view()});
  t.moe_scatter(nullptr, {xg.view(), row_slot.view(), d_x.view()});
  Outputs outputs;
  for (const auto* tensor : {&xg, &h, &out, &d_h, &h_weighted, &d_weights, &d_x}) {
    Keep(*tensor, &outputs);
  }
  Keep(d_w, &outputs);
  return outputs;
}

Outputs LogprobCase(const Table& t, int64_t width) {
  Outputs outputs;
  struct Filter {
    float temperature, top_p;
    int32_t top_k;
  };
  for (const Filter f : {Filter{1, 1, 0}, {0.7f, 1, 5}, {1.1f, 0.8f, 0}, {0, 1, 0}}) {
    const int64_t rows = 6, wide = width * 9 + 3;
    const int32_t vocabulary = static_cast<int32_t>(wide - 2);
    Tensor<float, 2> logits({rows, wide}), d_logits({rows, wide});
    Tensor<float, 1> logprobs({rows}), entropy({rows}), d_logprobs({rows}), d_entropy({rows});
    Tensor<int32_t, 1> targets({rows}), argmax({rows});
    logits.Random(1, 2.0);
    d_logprobs.Random(2);
    d_entropy.Random(3);
    targets.Fill(0);
    t.logprob(nullptr, {logits.view(), vocabulary, f.temperature, f.top_p, f.top_k, targets.view(),
                        logprobs.view(), entropy.view(), argmax.view()});
    targets = argmax;
    t.logprob(nullptr, {logits.view(),
                        vocabulary,
                        f.temperature,
                        f.top_p,
                        f.top_k,
                        targets.view(),
                        logprobs.view(),
                        entropy.view(),
                        {}});
    t.logprob_backward(nullptr,
                       {logits.view(), vocabulary, f.temperature, f.top_p, f.top_k, targets.view(),
                        d_logprobs.view(), d_entropy.view(), d_logits.view()});
    Keep(logprobs, &outputs);
    Keep(entropy, &outputs);
    Keep(d_logits, &outputs);
    outputs.push_back(argmax.Values());
  }
  return outputs;
}

Outputs SampleCase(const Table& t, int64_t width) {
  const int64_t rows = 30;
  Tensor<float, 2> logits({rows, width * 9});
  Tensor<float, 1> logprobs({rows}), entropy({rows});
  Tensor<int32_t, 1> tokens({rows});
  std::vector<SampleRow> how(static_cast<size_t>(rows));
  for (uint32_t m = 0; m < how.size(); ++m) {
    for (uint32_t i = 0; i < 4; ++i) how[m].key[i] = m * 77 + i;
    how[m].temperature = m % 5 == 0 ? 0.0f : 0.8f;
    how[m].top_p = m % 3 == 0 ? 0.9f : 1.0f;
    how[m].top_k = m % 4 == 0 ? 10 : 0;
  }
  logits.Random(1);
  t.sample(nullptr, {logits.view(), static_cast<int32_t>(width * 9),
                     View<const SampleRow, 1>(how.data(), {rows}), tokens.view(), logprobs.view(),
                     entropy.view()});
  Outputs outputs;
  Keep(logprobs, &outputs);
  Keep(entropy, &outputs);
  outputs.push_back(tokens.Values());
  return outputs;
}

Outputs OptimizerCase(const Table& t, int64_t width) {
  const int64_t n = width * 100 + 7;
  Tensor<float, 1> master({n}), m({n}), v({n}), grad({n}), value({n}), sum({n});
  Tensor<double, 1> change({1}), weight({1}), squares({1});
  master.Random(1);
  m.Random(2);
  v.Random(3);
  for (int64_t i = 0; i < n; ++i) v.at(i) *= v.at(i);
  grad.Random(4);
  sum.Random(5);
  AdamWArgs<float> args;
  args.master = master.view();
  args.m = m.view();
  args.v = v.view();
  args.grad = grad.view();
  args.value = value.view();
  args.grad_scale = 0.5;
  args.learning_rate = 1e-3;
  args.weight_decay = 0.1;
  args.bias1 = 0.3;
  args.bias2 = 0.02;
  args.round_bf16 = true;
  args.change_squares = change.view();
  args.weight_squares = weight.view();
  t.adamw(nullptr, args);
  t.sum_squares(nullptr, {grad.view(), squares.view()});
  t.accumulate(nullptr, {grad.view(), sum.view()});
  Outputs outputs;
  for (const auto* tensor : {&master, &m, &v, &value, &sum}) Keep(*tensor, &outputs);
  outputs.push_back(change.Values());
  outputs.push_back(weight.Values());
  outputs.push_back(squares.Values());
  return outputs;
}

}  // namespace

const std::vector<AgreementCase>& AgreementCases() {
  static const std::vector<AgreementCase> cases = {
      {"embedding", 0, &EmbeddingCase},
      {"rmsnorm", 1e-6, &RmsNormCase},
      {"matmul", 2e-6, &MatmulCase},
      {"deep matmul", 5e-6, &DeepMatmulCase},
      {"merge", 0, &MergeCase},
      {"rope", 0, &RopeCase},
      {"attention", 3e-6, &AttentionCase},
      {"swiglu", 1e-6, &SwigluCase},
      {"router", 1e-6, &RouterCase},
      {"experts", 2e-6, &ExpertsCase},
      {"logprob", 4e-6, &LogprobCase},
      {"sample", 2e-6, &SampleCase},
      {"optimizer", 3e-7, &OptimizerCase},
  };
  return cases;
}

}  // namespace hone::kernels
