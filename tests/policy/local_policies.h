// SPDX-License-Identifier: Apache-2.0
//
// Tiny policies in this process, for tests.
#ifndef HONE_TESTS_POLICY_LOCAL_POLICIES_H_
#define HONE_TESTS_POLICY_LOCAL_POLICIES_H_

#include <memory>

#include "gtest/gtest.h"
#include "policy/local/local_policy.h"

namespace hone {

// V3 style: latent attention, one dense layer and one of 4 experts.
inline ModelConfig TinyMoeConfig() {
  ModelConfig config;
  config.vocab_size = 19;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.moe_intermediate_size = 12;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.q_lora_rank = 12;
  config.kv_lora_rank = 10;
  config.qk_nope_head_dim = 8;
  config.qk_rope_head_dim = 4;
  config.v_head_dim = 6;
  config.n_routed_experts = 4;
  config.n_shared_experts = 1;
  config.num_experts_per_tok = 2;
  config.n_group = 2;
  config.topk_group = 1;
  config.routed_scaling_factor = 1.5;
  config.first_k_dense_replace = 1;
  config.max_position_embeddings = 48;
  config.initializer_range = 0.3;
  return config;
}

inline LocalPolicyOptions TinyOptions() {
  LocalPolicyOptions options;
  options.config = TinyMoeConfig();
  options.backend = "reference";
  options.max_rows_per_pass = 40;
  options.init_seed = 5;
  return options;
}

inline std::unique_ptr<LocalPolicy> MakePolicy(const LocalPolicyOptions& options) {
  auto policy = LocalPolicy::Create(options);
  EXPECT_TRUE(policy.ok()) << policy.status();
  return policy.ok() ? *std::move(policy) : nullptr;
}

}  // namespace hone

#endif  // HONE_TESTS_POLICY_LOCAL_POLICIES_H_
