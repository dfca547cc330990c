// SPDX-License-Identifier: Apache-2.0
#include "policy/model/config.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "policy/model/rope_table.h"

namespace hone {
namespace {

// Far above every published model: past them a figure is a slip or an attack.
constexpr int64_t kMaxVocabulary = 1 << 22;
constexpr int64_t kMaxWidth = 1 << 17;
constexpr int64_t kMaxFeedForward = 1 << 20;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxHeadWidth = 4096;
constexpr int64_t kMaxExperts = 4096;     // routes are stored as 16-bit numbers
constexpr int64_t kMaxContext = 1 << 20;  // the rope table's angles stay exact up to here

absl::Status Refuse(absl::string_view field, const absl::AlphaNum& value, absl::string_view rule) {
  return absl::InvalidArgumentError(
      absl::StrCat("model config: ", field, " is ", value, "; it must be ", rule));
}

struct Range {
  const char* field;
  int64_t value;
  int64_t least;
  int64_t most;
};

absl::Status Check(const Range& range) {
  if (range.value >= range.least && range.value <= range.most) return absl::OkStatus();
  return Refuse(range.field, range.value,
                absl::StrCat("between ", range.least, " and ", range.most));
}

// NaN fails every comparison, so it is refused too.
absl::Status CheckReal(absl::string_view field, double value, double least, double most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return Refuse(field, value, absl::StrCat("between ", least, " and ", most));
}

absl::Status CheckSizes(const ModelConfig& c) {
  const Range ranges[] = {
      {"vocab_size", c.vocab_size, 1, kMaxVocabulary},
      {"hidden_size", c.hidden_size, 1, kMaxWidth},
      {"num_hidden_layers", c.num_hidden_layers, 1, kMaxLayers},
      {"num_attention_heads", c.num_attention_heads, 1, kMaxHeads},
      {"n_routed_experts", c.n_routed_experts, 0, kMaxExperts},
      {"n_shared_experts", c.n_shared_experts, 0, kMaxExperts},
      {"moe_layer_freq", c.moe_layer_freq, 1, kMaxLayers},
      {"first_k_dense_replace", c.first_k_dense_replace, 0, kMaxLayers},
      {"max_position_embeddings", c.max_position_embeddings, 1, kMaxContext},
      {"mtp_layers", c.mtp_layers, 0, 1},
      {"bos_token_id", c.bos_token_id, -1, int64_t{c.vocab_size} - 1},
      {"eos_token_id", c.eos_token_id, -1, int64_t{c.vocab_size} - 1},
  };
  for (const Range& range : ranges) {
    if (const absl::Status status = Check(range); !status.ok()) return status;
  }
  for (const int32_t token : c.more_eos_token_ids) {
    const absl::Status status = Check({"eos_token_id", token, 0, int64_t{c.vocab_size} - 1});
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckAttention(const ModelConfig& c) {
  const Range latent[] = {
      {"q_lora_rank", c.q_lora_rank, 0, kMaxWidth},
      {"kv_lora_rank", c.kv_lora_rank, 1, kMaxWidth},
      {"qk_nope_head_dim", c.qk_nope_head_dim, 1, kMaxHeadWidth},
      {"qk_rope_head_dim", c.qk_rope_head_dim, 2, kMaxHeadWidth},
      {"v_head_dim", c.v_head_dim, 1, kMaxHeadWidth},
      {"num_key_value_heads", c.num_key_value_heads, 0, 0},
      {"head_dim", c.head_dim, 0, 0},
  };
  const Range grouped[] = {
      {"num_key_value_heads", c.num_key_value_heads, 1, c.num_attention_heads},
      {"head_dim", c.head_dim, 2, kMaxHeadWidth},
      {"q_lora_rank", c.q_lora_rank, 0, 0},
      {"qk_nope_head_dim", c.qk_nope_head_dim, 0, 0},
      {"qk_rope_head_dim", c.qk_rope_head_dim, 0, 0},
      {"v_head_dim", c.v_head_dim, 0, 0},
  };
  for (const Range& range :
       c.IsLatent() ? absl::Span<const Range>(latent) : absl::Span<const Range>(grouped)) {
    if (const absl::Status status = Check(range); !status.ok()) return status;
  }
  if (c.RopeWidth() % 2 != 0) {
    return Refuse(c.IsLatent() ? "qk_rope_head_dim" : "head_dim", c.RopeWidth(),
                  "even: it is rotated in pairs");
  }
  if (c.IsLatent() && (c.qkv_bias || c.o_bias || c.qk_norm)) {
    return absl::InvalidArgumentError(
        "model config: biases and norms of heads do not go with latent attention");
  }
  if (!c.IsLatent() && c.num_attention_heads % c.num_key_value_heads != 0) {
    return Refuse(
        "num_key_value_heads", c.num_key_value_heads,
        absl::StrCat("a divisor of num_attention_heads, which is ", c.num_attention_heads));
  }
  return absl::OkStatus();
}

absl::Status CheckReals(const ModelConfig& c) {
  struct Real {
    const char* field;
    double value, least, most;
  };
  const Real reals[] = {
      {"rms_norm_eps", c.rms_norm_eps, 1e-12, 1e-1},
      {"latent norm eps", c.latent_norm_eps, 1e-12, 1e-1},
      {"rope_theta", c.rope_theta, 1.001, 1e12},
      {"routed_scaling_factor", c.routed_scaling_factor, 1e-6, 1e6},
      {"initializer_range", c.initializer_range, 1e-9, 1e3},
  };
  for (const Real& real : reals) {
    if (const absl::Status status = CheckReal(real.field, real.value, real.least, real.most);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRopeScaling(const ModelConfig& c) {
  const RopeScaling& s = c.rope_scaling;
  if (s.kind == RopeScalingKind::kNone) {
    if (s == RopeScaling()) return absl::OkStatus();
    return absl::InvalidArgumentError("model config: rope_scaling has values but no type");
  }
  if (s.kind == RopeScalingKind::kLinear) return CheckReal("rope_scaling.factor", s.factor, 1, 1e6);
  if (const absl::Status status = Check({"rope_scaling.original_max_position_embeddings",
                                         s.original_max_position_embeddings, 1, kMaxContext});
      !status.ok()) {
    return status;
  }
  struct Real {
    const char* field;
    double value, least, most;
  };
  const Real reals[] = {
      {"rope_scaling.factor", s.factor, 1, 1e6},
      {"rope_scaling.beta_fast", s.beta_fast, 1e-3, 1e6},
      {"rope_scaling.beta_slow", s.beta_slow, 1e-3, 1e6},
      {"rope_scaling.low_freq_factor", s.low_freq_factor, 1e-3, 1e6},
      {"rope_scaling.high_freq_factor", s.high_freq_factor, 1e-3, 1e6},
      {"rope_scaling.mscale", s.mscale, 0, 100},
      {"rope_scaling.mscale_all_dim", s.mscale_all_dim, 0, 100},
  };
  for (const Real& real : reals) {
    if (const absl::Status status = CheckReal(real.field, real.value, real.least, real.most);
        !status.ok()) {
      return status;
    }
  }
  if (s.high_freq_factor <= s.low_freq_factor) {
    return Refuse("rope_scaling.high_freq_factor", s.high_freq_factor,
                  absl::StrCat("above low_freq_factor, which is ", s.low_freq_factor));
  }
  if (s.beta_fast < s.beta_slow) {
    return Refuse("rope_scaling.beta_fast", s.beta_fast,
                  absl::StrCat("at least beta_slow, which is ", s.beta_slow));
  }
  return absl::OkStatus();
}

absl::Status CheckRouterNames(const ModelConfig& c) {
  const bool sigmoid = c.scoring_func == "sigmoid";
  if (!sigmoid && c.scoring_func != "softmax") {
    return Refuse("scoring_func", absl::StrCat("\"", c.scoring_func, "\""), "sigmoid or softmax");
  }
  const bool biased = c.topk_method == "noaux_tc";
  if (!biased && c.topk_method != "greedy" && c.topk_method != "group_limited_greedy") {
    return Refuse("topk_method", absl::StrCat("\"", c.topk_method, "\""),
                  "noaux_tc, greedy or group_limited_greedy");
  }
  if (sigmoid != biased) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model config: topk_method ", c.topk_method, " does not go with scoring_func ",
        c.scoring_func, "; noaux_tc goes with sigmoid, the greedy methods with softmax"));
  }
  if (c.topk_method == "greedy" && c.n_group != 1) {
    return Refuse("n_group", c.n_group, "1, because topk_method greedy knows no groups");
  }
  return absl::OkStatus();
}

absl::Status CheckExperts(const ModelConfig& c) {
  if (c.n_routed_experts == 0) {
    if (c.n_shared_experts != 0) {
      return Refuse("n_shared_experts", c.n_shared_experts, "0, for there are no routed experts");
    }
    if (c.num_experts_per_tok != 0) {
      return Refuse("num_experts_per_tok", c.num_experts_per_tok,
                    "0, for there are no routed experts");
    }
    return absl::OkStatus();
  }
  const Range ranges[] = {
      {"moe_intermediate_size", c.moe_intermediate_size, 1, kMaxFeedForward},
      {"n_shared_experts * moe_intermediate_size",
       int64_t{c.n_shared_experts} * c.moe_intermediate_size, 0, kMaxFeedForward},
      {"num_experts_per_tok", c.num_experts_per_tok, 1, c.n_routed_experts},
      {"n_group", c.n_group, 1, c.n_routed_experts},
      {"topk_group", c.topk_group, 1, c.n_group},
  };
  for (const Range& range : ranges) {
    if (const absl::Status status = Check(range); !status.ok()) return status;
  }
  if (const absl::Status status = CheckRouterNames(c); !status.ok()) return status;
  if (c.n_routed_experts % c.n_group != 0) {
    return Refuse("n_group", c.n_group,
                  absl::StrCat("a divisor of n_routed_experts, which is ", c.n_routed_experts));
  }
  const int32_t group = c.n_routed_experts / c.n_group;
  if (c.num_experts_per_tok > c.topk_group * group) {
    return Refuse("num_experts_per_tok", c.num_experts_per_tok,
                  absl::StrCat("at most the ", c.topk_group * group, " experts of the ",
                               c.topk_group, " groups that are kept"));
  }
  if (c.scoring_func == "sigmoid" && c.n_group > 1 && group < 2) {
    return Refuse("n_group", c.n_group,
                  "at most n_routed_experts / 2: a group is scored by its two best experts");
  }
  if (c.MoeLayers() == 0) {
    return Refuse("first_k_dense_replace", c.first_k_dense_replace,
                  "small enough to leave a layer for the routed experts");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ModelConfig::Validate() const {
  if (std::find(std::begin(kModelTypes), std::end(kModelTypes), model_type) ==
      std::end(kModelTypes)) {
    return Refuse("model_type", absl::StrCat("\"", model_type, "\""),
                  absl::StrCat("one of ", absl::StrJoin(kModelTypes, ", ")));
  }
  for (const absl::Status& status :
       {CheckSizes(*this), CheckAttention(*this), CheckReals(*this), CheckRopeScaling(*this)}) {
    if (!status.ok()) return status;
  }
  if (const absl::Status status = CheckExperts(*this); !status.ok()) return status;
  if (MoeLayers() < num_hidden_layers) {
    return Check({"intermediate_size", intermediate_size, 1, kMaxFeedForward});
  }
  return absl::OkStatus();
}

int32_t ModelConfig::MoeLayers() const {
  int32_t count = 0;
  for (int32_t layer = 0; layer < num_hidden_layers; ++layer) count += IsMoe(layer);
  return count;
}

LayerKind ModelConfig::Layer(int32_t layer) const {
  LayerKind kind;
  kind.attention = IsLatent() ? AttentionKind::kMla : AttentionKind::kGrouped;
  kind.feed_forward = IsMoe(layer) ? FeedForwardKind::kMoe : FeedForwardKind::kDense;
  kind.router = Router().kind;
  return kind;
}

kernels::RouterConfig ModelConfig::Router() const {
  kernels::RouterConfig router;
  router.kind =
      scoring_func == "softmax" ? kernels::RouterKind::kSoftmax : kernels::RouterKind::kSigmoid;
  router.experts = n_routed_experts;
  router.chosen = num_experts_per_tok;
  router.groups = n_group;
  router.topk_groups = topk_group;
  // Softmax routers normalise only a real mixture (as published).
  router.normalise =
      norm_topk_prob && (router.kind == kernels::RouterKind::kSigmoid || num_experts_per_tok > 1);
  router.scale = routed_scaling_factor;
  return router;
}

kernels::CacheRow ModelConfig::Cache() const {
  kernels::CacheRow row;
  if (IsLatent()) {
    row.key_width = kv_lora_rank + qk_rope_head_dim;
    row.value_width = kv_lora_rank;
    return row;
  }
  row.heads = num_key_value_heads;
  row.key_width = row.value_width = head_dim;
  row.value_offset = int64_t{num_key_value_heads} * head_dim;
  return row;
}

int64_t ModelConfig::QueryHeadWidth() const {
  return IsLatent() ? qk_nope_head_dim + qk_rope_head_dim : head_dim;
}

double ModelConfig::AttentionScale() const {
  const double plain = 1.0 / std::sqrt(static_cast<double>(QueryHeadWidth()));
  if (!rope_scaling.yarn()) return plain;
  const double stretch = YarnMscale(rope_scaling.factor, rope_scaling.mscale_all_dim);
  return plain * stretch * stretch;
}

}  // namespace hone
