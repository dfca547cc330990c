// SPDX-License-Identifier: Apache-2.0
//
// A model's weights in the order kernels read them. Each matrix is packed once for the forward
// and, in a trainable model, once transposed for the backward. Made by Model, private to
// policy/model. Nothing here owns memory but ModelLayout; all pointers are the device's.
//
// kv_b_proj is never multiplied as a whole: head h uses its nope rows W_uk [N, R] transposed, to
// bring a query into latent space (absorb), and its value rows W_uv [V, R] to bring an attended
// latent back (unabsorb).
#ifndef HONE_POLICY_MODEL_LAYOUT_H_
#define HONE_POLICY_MODEL_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "policy/kernels/kernel_table.h"
#include "policy/model/parameters.h"
#include "policy/tensor/device.h"
#include "policy/tensor/view.h"

namespace hone {

// What trains of a matrix [out, in] with an adapter: W = W0 + scale B A (adaptation.h). The packs
// are for gradients; the forward reads W.
template <typename Real>
struct LowRank {
  int64_t rank = 0;         // 0: no adapter
  const Real* a = nullptr;  // packed [rank, in], times scale; of expert e at e * a_stride
  const Real* b = nullptr;  // packed [rank, out], B transposed, times scale; likewise
  int64_t a_stride = 0, b_stride = 0;
  int64_t a_offset = 0, b_offset = 0;                // in flat arrays, of expert 0
  int64_t a_offset_stride = 0, b_offset_stride = 0;  // between experts there
};

// y = W x, + b where there is a bias.
template <typename Real>
struct Linear {
  kernels::PackedMatrix<Real> forward;   // [out, in]
  kernels::PackedMatrix<Real> backward;  // [in, out], W transposed; no data: not trainable
  // The matrix as it lies in flat arrays of values and gradients: W, or W transposed (absorb).
  int64_t offset = 0;
  int64_t rows = 0;
  int64_t cols = 0;
  bool trainable = true;   // W itself takes gradients
  LowRank<Real> low_rank;  // of W as it lies in flat arrays

  View<const Real, 2> bias;  // [1, out] null data: none
  int64_t bias_offset = 0;
  bool bias_trainable = true;
  const int32_t* zero = nullptr;  // a zero on the device: the one row of bias that every row takes

  View<Real, 2> In(Real* flat) const { return {flat + offset, {rows, cols}}; }
  View<Real, 2> BiasIn(Real* flat) const { return {flat + bias_offset, bias.shape}; }
  View<const int32_t, 1> BiasRows(int64_t count) const { return {zero, {count}, {0}}; }
};

// The weight of an RMSNorm.
template <typename Real>
struct Gain {
  View<const Real, 1> weight;  // [C]
  int64_t offset = 0;
  Real eps = 0;
  bool trainable = true;

  // Null when it is frozen.
  View<Real, 1> In(Real* flat) const {
    return {trainable ? flat + offset : nullptr, {weight.shape[0]}};
  }
};

// One kind of projection of all experts of a layer, W_e [out, in].
template <typename Real>
struct ExpertBank {
  const Real* forward = nullptr;   // expert e at e * stride, in both
  const Real* backward = nullptr;  // transposed; null: not trainable
  int64_t stride = 0;
  int64_t backward_stride = 0;
  int64_t experts = 0;
  int64_t out = 0;
  int64_t in = 0;
  int64_t offset = 0;         // of expert 0 in flat arrays
  int64_t offset_stride = 0;  // between experts there
  bool trainable = true;
  LowRank<Real> low_rank;

  View<Real, 3> In(Real* flat) const {
    return {flat + offset, {experts, out, in}, {offset_stride, in, 1}};
  }
};

template <typename Real>
struct SwigluLayout {
  Linear<Real> gate, up, down;
};

template <typename Real>
struct LayerLayout {
  Gain<Real> input_norm;
  Gain<Real> post_norm;

  bool latent = true;  // latent attention; else grouped queries
  bool q_low_rank = false;
  Linear<Real> q_a;     // with q_low_rank
  Gain<Real> q_a_norm;  // with q_low_rank
  Linear<Real> q;       // q_proj, or q_b_proj with q_low_rank
  Linear<Real> o;

  // Latent attention.
  Linear<Real> kv_a;
  Gain<Real> kv_a_norm;
  std::vector<Linear<Real>> absorb;    // [H] N -> R, W_uk transposed
  std::vector<Linear<Real>> unabsorb;  // [H] R -> V, W_uv

  // Grouped queries.
  Linear<Real> k, v;
  bool qk_norm = false;
  Gain<Real> q_norm, k_norm;  // of each head; with qk_norm

  bool moe = false;
  int32_t moe_index = -1;  // counts the MoE layers
  SwigluLayout<Real> mlp;  // dense layer: the MLP; MoE layer: the shared expert
  bool shared = false;     // the MoE layer has one
  Linear<Real> router;
  View<const Real, 1> bias;  // [E] null data: none
  ExpertBank<Real> experts_gate, experts_up, experts_down;
};

// How a matrix with an adapter comes to its packs: W0 + scale B A is made in scratch and packed
// from there.
template <typename Real>
struct MergedMatrix {
  kernels::MergeArgs<Real> merge;
  std::vector<kernels::PackArgs<Real>> packs;  // of merge.y
};

// The module that predicts one token further ahead (mtp_pass.h).
template <typename Real>
struct MtpLayout {
  Gain<Real> embedding_norm, hidden_norm, head_norm;
  Linear<Real> join;                      // [C, 2C], embedding's part first
  std::vector<LayerLayout<Real>> layers;  // one, or none: there is no module
};

template <typename Real>
struct ModelLayout {
  std::vector<LayerLayout<Real>> layers;
  View<const Real, 2> embedding;  // [W, C] in values
  int64_t embedding_offset = 0;
  bool embedding_trainable = true;
  Gain<Real> final_norm;
  Linear<Real> head;         // of the embedding when they are tied
  View<const Real, 3> rope;  // [P, D/2, 2]
  Real attention_scale = 0;
  int32_t moe_layers = 0;
  MtpLayout<Real> mtp;

  std::vector<kernels::PackArgs<Real>> packs;  // of values, in the order of packing
  std::vector<MergedMatrix<Real>> merged;      // those with adapters, after the others
  Buffer packed;
  Buffer merge_scratch;  // the largest matrix with an adapter
  Buffer rope_table;
  Buffer zero;  // one int32_t
};

// Where what a layout points to begins; all null: its sizes are asked for.
template <typename Real>
struct LayoutMemory {
  const Real* values = nullptr;  // [flat_elements]
  Real* packed = nullptr;
  Real* merge_scratch = nullptr;
  const int32_t* zero = nullptr;
};
struct LayoutSizes {
  int64_t packed = 0;         // elements
  int64_t merge_scratch = 0;  // elements
};

// Fills what is not memory: layers, embedding, norms, head, and what is to be packed.
template <typename Real>
LayoutSizes BuildLayout(const ModelConfig& config, const ParameterRegistry& registry,
                        const kernels::KernelTable<Real>& table, bool trainable,
                        const LayoutMemory<Real>& memory, ModelLayout<Real>* layout);

}  // namespace hone

#endif  // HONE_POLICY_MODEL_LAYOUT_H_
