// SPDX-License-Identifier: Apache-2.0
//
// The model against the textbook: keys and values materialised per head, one token at a time, no
// packing, no cache, no kernels. In double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/model/packed_pass.h"
#include "tests/policy/model/tiny_models.h"

namespace hone {
namespace {

using Vector = std::vector<double>;

class NaiveModel {
 public:
  explicit NaiveModel(const Model<double>& model)
      : config_(model.config()),
        registry_(model.registry()),
        values_(static_cast<size_t>(registry_.flat_elements())) {
    model.GetValues(values_.data());
  }

  // logits[t] after reading tokens[0..t].
  std::vector<Vector> Logits(const std::vector<TokenId>& tokens) const {
    std::vector<Vector> x;
    for (TokenId token : tokens) x.push_back(Row("model.embed_tokens.weight", token));
    for (int32_t i = 0; i < config_.num_hidden_layers; ++i) {
      const std::string layer = absl::StrCat("model.layers.", i, ".");
      const std::vector<Vector> attention = Attention(layer, x);
      for (size_t t = 0; t < x.size(); ++t) {
        Add(attention[t], 1, &x[t]);
        const Vector h =
            Norm(layer + "post_attention_layernorm.weight", x[t], config_.rms_norm_eps);
        Add(config_.IsMoe(i) ? Moe(layer + "mlp.", h) : Mlp(layer + "mlp.", h), 1, &x[t]);
      }
    }
    for (Vector& row : x) {
      row = Times(config_.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
                  Norm("model.norm.weight", row, config_.rms_norm_eps));
    }
    return x;
  }

 private:
  const double* Data(const std::string& name) const {
    return values_.data() + registry_.Find(name)->offset;
  }
  Vector Row(const std::string& name, int64_t row) const {
    const int64_t width = registry_.Find(name)->shape[1];
    return Vector(Data(name) + row * width, Data(name) + (row + 1) * width);
  }
  Vector Times(const std::string& name, const Vector& x) const {
    const ParameterInfo& info = *registry_.Find(name);
    Vector y;
    for (int64_t n = 0; n < info.shape[0]; ++n) {
      double sum = 0;
      const double* row = Data(name) + n * info.shape[1];
      for (size_t k = 0; k < x.size(); ++k) sum += row[k] * x[k];
      y.push_back(sum);
    }
    return y;
  }
  Vector Norm(const std::string& name, const Vector& x, double eps) const {
    double squares = 0;
    for (double value : x) squares += value * value;
    Vector y = x;
    for (size_t c = 0; c < x.size(); ++c) {
      y[c] *= Data(name)[c] / std::sqrt(squares / static_cast<double>(x.size()) + eps);
    }
    return y;
  }
  static void Add(const Vector& x, double weight, Vector* y) {
    for (size_t i = 0; i < x.size(); ++i) (*y)[i] += weight * x[i];
  }
  static double Get(double m, double factor) {
    return factor <= 1 ? 1 : 0.1 * m * std::log(factor) + 1;
  }

  // Rotates pairs of x[first..] by the token's angles.
  void Rotate(int64_t position, double* x) const {
    const RopeScaling& s = config_.rope_scaling;
    const double width = config_.RopeWidth();
    const auto pair = [&](double turns) {
      return width * std::log(s.original_max_position_embeddings / (2 * M_PI * turns)) /
             (2 * std::log(config_.rope_theta));
    };
    for (int i = 0; i < config_.RopeWidth() / 2; ++i) {
      double frequency = std::pow(config_.rope_theta, -2 * i / width), stretch = 1;
      if (s.yarn()) {
        const double low = std::max(std::floor(pair(s.beta_fast)), 0.0);
        double high = std::min(std::ceil(pair(s.beta_slow)), width - 1);
        if (low == high) high += 0.001;
        const double ramp = std::clamp((i - low) / (high - low), 0.0, 1.0);
        frequency = frequency * (1 - ramp) + frequency / s.factor * ramp;
        stretch = Get(s.mscale, s.factor) / Get(s.mscale_all_dim, s.factor);
      }
      if (s.kind == RopeScalingKind::kLinear) frequency /= s.factor;
      if (s.kind == RopeScalingKind::kLlama3) {
        // As transformers words it, in wavelengths.
        const double original = s.original_max_position_embeddings;
        const double wavelength = 2 * M_PI / frequency;
        if (wavelength > original / s.low_freq_factor) {
          frequency /= s.factor;
        } else if (wavelength >= original / s.high_freq_factor) {
          const double smooth = (original / wavelength - s.low_freq_factor) /
                                (s.high_freq_factor - s.low_freq_factor);
          frequency = (1 - smooth) * frequency / s.factor + smooth * frequency;
        }
      }
      const double angle = static_cast<double>(position) * frequency;
      const double c = std::cos(angle) * stretch, n = std::sin(angle) * stretch;
      const bool halves = config_.rope_pairing == kernels::RopePairing::kHalves;
      const int a = halves ? i : 2 * i, b = halves ? i + config_.RopeWidth() / 2 : 2 * i + 1;
      const double first = x[a], second = x[b];
      x[a] = first * c - second * n;
      x[b] = first * n + second * c;
    }
  }

  // A projection with its bias, cut into heads; each normed and rotated where asked.
  std::vector<Vector> HeadsOf(const std::string& prefix, const Vector& x, const char* kind,
                              int64_t position) const {
    Vector y = Times(absl::StrCat(prefix, kind, "_proj.weight"), x);
    if (registry_.Find(absl::StrCat(prefix, kind, "_proj.bias")) != nullptr) {
      for (size_t i = 0; i < y.size(); ++i)
        y[i] += Data(absl::StrCat(prefix, kind, "_proj.bias"))[i];
    }
    std::vector<Vector> heads;
    for (size_t i = 0; i < y.size(); i += static_cast<size_t>(config_.head_dim)) {
      const auto from = y.begin() + static_cast<int64_t>(i);
      heads.emplace_back(from, from + config_.head_dim);
      if (*kind == 'v') continue;
      if (config_.qk_norm) {
        heads.back() =
            Norm(absl::StrCat(prefix, kind, "_norm.weight"), heads.back(), config_.rms_norm_eps);
      }
      Rotate(position, heads.back().data());
    }
    return heads;
  }

  std::vector<Vector> GroupedAttention(const std::string& layer,
                                       const std::vector<Vector>& x) const {
    const std::string prefix = layer + "self_attn.";
    const size_t group =
        static_cast<size_t>(config_.num_attention_heads / config_.num_key_value_heads);
    const double scale = 1 / std::sqrt(static_cast<double>(config_.head_dim));
    std::vector<std::vector<Vector>> keys, values;
    std::vector<Vector> outputs;
    for (size_t t = 0; t < x.size(); ++t) {
      const Vector h = Norm(layer + "input_layernorm.weight", x[t], config_.rms_norm_eps);
      const int64_t position = static_cast<int64_t>(t);
      const std::vector<Vector> queries = HeadsOf(prefix, h, "q", position);
      keys.push_back(HeadsOf(prefix, h, "k", position));
      values.push_back(HeadsOf(prefix, h, "v", position));
      Vector joined;
      for (size_t head = 0; head < queries.size(); ++head) {
        Vector weights;
        double total = 0;
        for (size_t j = 0; j <= t; ++j) {
          double score = 0;
          for (size_t d = 0; d < queries[head].size(); ++d) {
            score += queries[head][d] * keys[j][head / group][d];
          }
          weights.push_back(std::exp(scale * score));
          total += weights.back();
        }
        Vector mixed(queries[head].size(), 0.0);
        for (size_t j = 0; j <= t; ++j) Add(values[j][head / group], weights[j] / total, &mixed);
        joined.insert(joined.end(), mixed.begin(), mixed.end());
      }
      outputs.push_back(Times(prefix + "o_proj.weight", joined));
      if (config_.o_bias) {
        for (size_t c = 0; c < outputs[t].size(); ++c) {
          outputs[t][c] += Data(prefix + "o_proj.bias")[c];
        }
      }
    }
    return outputs;
  }

  std::vector<Vector> Attention(const std::string& layer, const std::vector<Vector>& x) const {
    if (!config_.IsLatent()) return GroupedAttention(layer, x);
    const std::string prefix = layer + "self_attn.";
    const int64_t nope = config_.qk_nope_head_dim, rope = config_.qk_rope_head_dim;
    const int64_t value = config_.v_head_dim, latent = config_.kv_lora_rank;
    double scale = 1 / std::sqrt(static_cast<double>(nope + rope));
    if (config_.rope_scaling.yarn() && config_.rope_scaling.mscale_all_dim != 0) {
      const double m = Get(config_.rope_scaling.mscale_all_dim, config_.rope_scaling.factor);
      scale *= m * m;
    }
    std::vector<Vector> queries, latents, kv, rotated;
    for (size_t t = 0; t < x.size(); ++t) {
      const Vector h = Norm(layer + "input_layernorm.weight", x[t], config_.rms_norm_eps);
      if (config_.q_lora_rank > 0) {
        queries.push_back(
            Times(prefix + "q_b_proj.weight",
                  Norm(prefix + "q_a_layernorm.weight", Times(prefix + "q_a_proj.weight", h),
                       config_.latent_norm_eps)));
      } else {
        queries.push_back(Times(prefix + "q_proj.weight", h));
      }
      const Vector a = Times(prefix + "kv_a_proj_with_mqa.weight", h);
      const Vector c = Norm(prefix + "kv_a_layernorm.weight", Vector(a.begin(), a.begin() + latent),
                            config_.latent_norm_eps);
      kv.push_back(Times(prefix + "kv_b_proj.weight", c));
      rotated.emplace_back(a.begin() + latent, a.end());
      Rotate(static_cast<int64_t>(t), rotated.back().data());
    }
    std::vector<Vector> out;
    for (size_t t = 0; t < x.size(); ++t) {
      Vector heads;
      for (int64_t h = 0; h < config_.num_attention_heads; ++h) {
        double* q = queries[t].data() + h * (nope + rope);
        Rotate(static_cast<int64_t>(t), q + nope);
        Vector weights, o(static_cast<size_t>(value), 0.0);
        double total = 0;
        for (size_t j = 0; j <= t; ++j) {
          const double* k = kv[j].data() + h * (nope + value);
          double score = 0;
          for (int64_t n = 0; n < nope; ++n) score += q[n] * k[n];
          for (int64_t d = 0; d < rope; ++d) {
            score += q[nope + d] * rotated[j][static_cast<size_t>(d)];
          }
          weights.push_back(std::exp(scale * score));
          total += weights.back();
        }
        for (size_t j = 0; j <= t; ++j) {
          const double* v = kv[j].data() + h * (nope + value) + nope;
          Add(Vector(v, v + value), weights[j] / total, &o);
        }
        heads.insert(heads.end(), o.begin(), o.end());
      }
      out.push_back(Times(prefix + "o_proj.weight", heads));
    }
    return out;
  }

  Vector Mlp(const std::string& prefix, const Vector& x) const {
    Vector gate = Times(prefix + "gate_proj.weight", x);
    const Vector up = Times(prefix + "up_proj.weight", x);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
    return Times(prefix + "down_proj.weight", gate);
  }

  // Indices of the `count` largest.
  static std::vector<size_t> Best(const Vector& x, size_t count) {
    std::vector<size_t> order(x.size());
    for (size_t i = 0; i < x.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] > x[b]; });
    order.resize(count);
    return order;
  }

  Vector Moe(const std::string& prefix, const Vector& x) const {
    const size_t experts = static_cast<size_t>(config_.n_routed_experts);
    const bool sigmoid = config_.scoring_func == "sigmoid";
    Vector s = Times(prefix + "gate.weight", x);
    double total = 0;
    for (double& z : s) total += z = sigmoid ? 1 / (1 + std::exp(-z)) : std::exp(z);
    Vector choice(experts);
    for (size_t e = 0; e < experts; ++e) {
      if (!sigmoid) s[e] /= total;
      choice[e] = s[e] + (sigmoid ? Data(prefix + "gate.e_score_correction_bias")[e] : 0);
    }
    const size_t groups = static_cast<size_t>(config_.n_group), size = experts / groups;
    Vector group_scores;
    for (size_t g = 0; g < groups; ++g) {
      Vector group(choice.begin() + static_cast<int64_t>(g * size),
                   choice.begin() + static_cast<int64_t>((g + 1) * size));
      std::sort(group.rbegin(), group.rend());
      group_scores.push_back(sigmoid ? group[0] + group[1] : group[0]);
    }
    const auto kept = Best(group_scores, static_cast<size_t>(config_.topk_group));
    for (size_t e = 0; e < experts; ++e) {
      if (std::find(kept.begin(), kept.end(), e / size) == kept.end()) choice[e] = -INFINITY;
    }
    const auto chosen = Best(choice, static_cast<size_t>(config_.num_experts_per_tok));
    double sum = 0;
    for (size_t e : chosen) sum += s[e];
    Vector out(x.size(), 0.0);
    for (size_t e : chosen) {
      double weight = config_.norm_topk_prob ? s[e] / sum : s[e];
      if (sigmoid || !config_.norm_topk_prob) weight *= config_.routed_scaling_factor;
      Add(Mlp(absl::StrCat(prefix, "experts.", e, "."), x), weight, &out);
    }
    if (config_.n_shared_experts > 0) Add(Mlp(prefix + "shared_experts.", x), 1, &out);
    return out;
  }

  const ModelConfig& config_;
  const ParameterRegistry& registry_;
  Vector values_;
};

void Compare(const ModelConfig& config) {
  const auto model = MakeModel<double>(config, kernels::ReferenceTableDouble());
  const NaiveModel naive(*model);
  PackedPass<double> pass(*model);
  PackedOptions options;
  options.vocabulary = config.vocab_size;
  const std::vector<std::vector<TokenId>> tokens = {RandomTokens(23, 37, 8),
                                                    RandomTokens(2, 37, 9)};
  const PackedSequence sequences[] = {{tokens[0], 1, nullptr}, {tokens[1], 1, nullptr}};
  const PackedResult<double> result = pass.Forward(sequences, options);
  for (size_t b = 0; b < 2; ++b) {
    const std::vector<Vector> logits = naive.Logits(tokens[b]);
    EXPECT_TRUE(std::isnan(result.logprobs[b][0]));
    for (size_t t = 1; t < tokens[b].size(); ++t) {
      double total = 0;
      for (double z : logits[t - 1]) total += std::exp(z);
      const double expected = logits[t - 1][static_cast<size_t>(tokens[b][t])] - std::log(total);
      EXPECT_NEAR(result.logprobs[b][t], expected, 1e-12) << b << " " << t;
    }
  }
}

TEST(AbsorbedAttention, EqualsMaterialisedAttentionInV3) {
  Compare(TinyV3());
}
TEST(AbsorbedAttention, EqualsMaterialisedAttentionInV2Lite) {
  Compare(TinyV2());
}
TEST(AbsorbedAttention, EqualsMaterialisedAttentionInV2) {
  Compare(TinyV2Groups());
}
TEST(AbsorbedAttention, EqualsMaterialisedAttentionInADenseModel) {
  Compare(TinyDense());
}
TEST(GroupedQueries, AreThoseOfTheTextbook) {
  for (const ModelConfig& config : {TinyLlama(), TinyQwen2(), TinyQwen3Moe(), TinyDeepseekMoe()}) {
    Compare(config);
  }
}

}  // namespace
}  // namespace hone
