// SPDX-License-Identifier: Apache-2.0
//
// Completing a configuration with defaults and presets, and making plain structs of it.
#include "services/convert/run_config.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "policy/hash.h"
#include "rollout/prompt_template.h"

namespace hone {
namespace {

// Sets an optional field where the config left it unset.
#define HONE_DEFAULT(message, field, value) \
  if (!(message)->has_##field()) (message)->set_##field(value)
// The same for a string field, where empty is unset.
#define HONE_DEFAULT_TEXT(message, field, value) \
  if ((message)->field().empty()) (message)->set_##field(value)

void CompleteShape(v1::ModelShape* shape) {
  HONE_DEFAULT(shape, hidden_size, 64);
  HONE_DEFAULT(shape, intermediate_size, 128);
  HONE_DEFAULT(shape, moe_intermediate_size, 32);
  HONE_DEFAULT(shape, num_hidden_layers, 2);
  HONE_DEFAULT(shape, num_attention_heads, 4);
  HONE_DEFAULT(shape, q_lora_rank, 0);
  HONE_DEFAULT(shape, kv_lora_rank, 32);
  HONE_DEFAULT(shape, qk_nope_head_dim, 16);
  HONE_DEFAULT(shape, qk_rope_head_dim, 8);
  HONE_DEFAULT(shape, v_head_dim, 16);
  HONE_DEFAULT(shape, n_routed_experts, 8);
  HONE_DEFAULT(shape, n_shared_experts, 1);
  HONE_DEFAULT(shape, num_experts_per_tok, 2);
  HONE_DEFAULT(shape, n_group, 1);
  HONE_DEFAULT(shape, topk_group, 1);
  HONE_DEFAULT_TEXT(shape, topk_method, "noaux_tc");
  HONE_DEFAULT_TEXT(shape, scoring_func, "sigmoid");
  HONE_DEFAULT(shape, norm_topk_prob, true);
  HONE_DEFAULT(shape, routed_scaling_factor, 1.0);
  HONE_DEFAULT(shape, first_k_dense_replace, 1);
  HONE_DEFAULT(shape, rope_theta, 10000.0);
  HONE_DEFAULT(shape, max_position_embeddings, 128);
  HONE_DEFAULT(shape, tie_word_embeddings, false);
  HONE_DEFAULT(shape, initializer_range, 0.02);
  HONE_DEFAULT_TEXT(shape, tokenizer, "words");
  HONE_DEFAULT_TEXT(shape, eos, "<eos>");
  HONE_DEFAULT(shape, num_nextn_predict_layers, 0);
}

void CompleteOptimizer(v1::OptimizerConfig* optimizer, bool pretraining, int64_t updates) {
  HONE_DEFAULT(optimizer, learning_rate, pretraining ? 2e-3 : 3e-4);
  HONE_DEFAULT(optimizer, beta1, 0.9);
  HONE_DEFAULT(optimizer, beta2, pretraining ? 0.95 : 0.999);
  HONE_DEFAULT(optimizer, epsilon, 1e-8);
  HONE_DEFAULT(optimizer, weight_decay, 0.0);
  HONE_DEFAULT(optimizer, max_grad_norm, 1.0);
  HONE_DEFAULT_TEXT(optimizer, schedule, pretraining ? "cosine" : "constant");
  HONE_DEFAULT(optimizer, warmup_updates, pretraining ? std::min<int64_t>(100, updates / 10) : 0);
  if (optimizer->schedule() != "constant") HONE_DEFAULT(optimizer, min_ratio, 0.1);
}

// The published settings; docs/losses.md shows the table with sources.
void ApplyPreset(v1::RunConfig& config) {
  v1::LearnerConfig* learner = config.mutable_learner();
  v1::RolloutConfig* rollout = config.mutable_rollout();
  HONE_DEFAULT_TEXT(learner, preset, "grpo");
  const std::string& preset = learner->preset();
  if (preset == "r1zero") {
    HONE_DEFAULT(learner->mutable_optimizer(), learning_rate, 3e-6);
    HONE_DEFAULT_TEXT(learner, kl, "k3");
    HONE_DEFAULT(learner, kl_coefficient, 1e-3);
    HONE_DEFAULT(learner, clip_low, 0.2);
    HONE_DEFAULT(learner, clip_high, 0.2);
    HONE_DEFAULT(learner, reference_reset_iterations, 25);
    HONE_DEFAULT(learner, minibatches, 16);
    HONE_DEFAULT(rollout, group_size, 16);
    HONE_DEFAULT(rollout, prompts, 512);
    HONE_DEFAULT_TEXT(learner, aggregation, "seq_mean_token_mean");
  } else if (preset == "drgrpo") {
    HONE_DEFAULT_TEXT(learner, advantage, "drgrpo");
    HONE_DEFAULT_TEXT(learner, aggregation, "seq_mean_token_sum_norm");
  } else if (preset == "dapo") {
    HONE_DEFAULT(learner, clip_high, 0.28);
    HONE_DEFAULT_TEXT(learner, aggregation, "token_mean");
    HONE_DEFAULT(learner, filter_flat, true);
    HONE_DEFAULT(learner, refill_flat, true);
  } else if (preset == "grpo") {
    HONE_DEFAULT_TEXT(learner, kl, "k3");
    HONE_DEFAULT(learner, kl_coefficient, 1e-3);
    HONE_DEFAULT_TEXT(learner, aggregation, "seq_mean_token_mean");
  }
}

void CompleteLearner(v1::LearnerConfig* learner) {
  CompleteOptimizer(learner->mutable_optimizer(), false, 0);
  HONE_DEFAULT(learner, iterations, 100);
  HONE_DEFAULT_TEXT(learner, advantage, "grpo");
  HONE_DEFAULT_TEXT(learner, loss, "ppo_clip");
  HONE_DEFAULT(learner, clip_low, 0.2);
  HONE_DEFAULT(learner, clip_high, 0.2);
  HONE_DEFAULT(learner, dual_clip, 0.0);
  HONE_DEFAULT_TEXT(learner, aggregation, "token_mean");
  HONE_DEFAULT_TEXT(learner, ratio, "token");
  HONE_DEFAULT_TEXT(learner, kl, "none");
  HONE_DEFAULT(learner, kl_coefficient, 0.0);
  HONE_DEFAULT(learner, entropy_coefficient, 0.0);
  HONE_DEFAULT(learner, reference_reset_iterations, 0);
  HONE_DEFAULT(learner, minibatches, 1);
  HONE_DEFAULT(learner, epochs, 1);
  HONE_DEFAULT(learner, filter_flat, false);
  HONE_DEFAULT(learner, refill_flat, false);
  HONE_DEFAULT(learner, max_refills, 10);
  HONE_DEFAULT(learner, mask_truncated, false);
  HONE_DEFAULT(learner, advantage_clip, 0.0);
  HONE_DEFAULT_TEXT(learner, gap, "stop");
  HONE_DEFAULT_TEXT(learner, routing_replay, "off");
}

void CompleteRewards(v1::RunConfig& config) {
  v1::RewardsConfig* rewards = config.mutable_rewards();
  if (rewards->parts_size() == 0) {
    rewards->add_parts()->set_name("accuracy");
    v1::RewardPart* format = rewards->add_parts();
    format->set_name("format");
    format->set_weight(0.1);
    if (config.learner().preset() == "dapo") rewards->add_parts()->set_name("overlong");
  }
  for (v1::RewardPart& part : *rewards->mutable_parts()) {
    HONE_DEFAULT(&part, weight, 1.0);
    if (!part.gate().empty()) HONE_DEFAULT(&part, gate_min, 1.0);
    if (part.name() == "format" && part.rule().empty()) {
      part.set_rule(PrefillsThink(config.tasks().prompt_template()) ? "strict_prefilled"
                                                                    : "strict");
    }
    if (part.name() == "overlong") {
      HONE_DEFAULT(&part, max_tokens, config.rollout().max_tokens());
      HONE_DEFAULT(&part, cache_tokens, std::max(1, part.max_tokens() / 5));
    }
  }
  HONE_DEFAULT(rewards, verify_attempts, 3);
  HONE_DEFAULT(rewards, verify_threads, 1);
  HONE_DEFAULT(rewards, verify_deadline_s, 30.0);
  HONE_DEFAULT(rewards, max_outage_share, 0.05);
}

void CompleteSources(google::protobuf::RepeatedPtrField<v1::TaskSourceConfig>* sources) {
  for (v1::TaskSourceConfig& source : *sources) {
    if (source.name().empty()) {
      absl::string_view name = source.generator();
      if (name.empty()) {
        name = source.path();
        const size_t slash = name.rfind('/');
        if (slash != absl::string_view::npos) name.remove_prefix(slash + 1);
        name = name.substr(0, name.find('.'));
      }
      source.set_name(std::string(name));
    }
    HONE_DEFAULT(&source, weight, 1.0);
  }
}

void CompletePretrain(v1::RunConfig& config) {
  if (!config.policy().model_dir().empty()) return;
  v1::PretrainConfig* pretrain = config.mutable_pretrain();
  HONE_DEFAULT(pretrain, steps, 3000);
  HONE_DEFAULT(pretrain, batch, 64);
  HONE_DEFAULT(pretrain, balance_loss, 1e-3);
  HONE_DEFAULT(pretrain, router_bias_update, 1e-3);
  CompleteOptimizer(pretrain->mutable_optimizer(), true, pretrain->steps());
  for (v1::DocumentSourceConfig& source : *pretrain->mutable_documents()) {
    HONE_DEFAULT(&source, weight, 1.0);
  }
  v1::ModelShape* shape = config.mutable_policy()->mutable_shape();
  CompleteShape(shape);
  if (shape->num_nextn_predict_layers() > 0) HONE_DEFAULT(pretrain, mtp_loss, 0.3);
  if (shape->tokenizer() == "words" && shape->tokenizer_generators_size() == 0) {
    std::set<std::string> names;
    for (const auto& source : pretrain->documents()) names.insert(source.generator());
    for (const auto& source : config.tasks().sources()) names.insert(source.generator());
    names.erase("");
    for (const std::string& name : names) shape->add_tokenizer_generators(name);
  }
}

}  // namespace

void CompleteRunConfig(v1::RunConfig& config) {
  HONE_DEFAULT(&config, seed, 1);
  HONE_DEFAULT_TEXT(&config, name, "run");
  v1::PolicyConfig* policy = config.mutable_policy();
  HONE_DEFAULT_TEXT(policy, backend, "auto");
  HONE_DEFAULT(policy, threads, 0);
  HONE_DEFAULT_TEXT(policy, dtype, "float32");
  HONE_DEFAULT(policy, gradient_slots, 8);
  HONE_DEFAULT(policy, max_rows_per_pass, 4096);
  HONE_DEFAULT(policy, decode_batch, 128);
  HONE_DEFAULT(policy, router_bias_update, 0.0);
  HONE_DEFAULT(policy, balance_loss, 0.0);
  HONE_DEFAULT(policy, mtp_loss, 0.0);
  if (policy->has_lora()) {
    v1::LoraConfig* lora = policy->mutable_lora();
    HONE_DEFAULT(lora, r, 16);
    HONE_DEFAULT(lora, lora_alpha, 2.0 * lora->r());
    if (lora->target_modules_size() == 0) lora->add_target_modules("attention");
  }
  ApplyPreset(config);
  v1::RolloutConfig* rollout = config.mutable_rollout();
  HONE_DEFAULT(rollout, prompts, 16);
  HONE_DEFAULT(rollout, group_size, 8);
  HONE_DEFAULT(rollout, temperature, 1.0);
  HONE_DEFAULT(rollout, top_p, 1.0);
  HONE_DEFAULT(rollout, top_k, 0);
  HONE_DEFAULT(rollout, max_tokens, 64);
  HONE_DEFAULT(rollout, workers, 1);
  CompleteLearner(config.mutable_learner());
  if (config.learner().routing_replay() == "r3") rollout->set_keep_routes(true);
  HONE_DEFAULT_TEXT(config.mutable_tasks(), prompt_template, "plain");
  HONE_DEFAULT(config.mutable_tasks(), heldout_share, 0.0);
  CompleteSources(config.mutable_tasks()->mutable_sources());
  CompleteRewards(config);
  CompletePretrain(config);
  v1::EvaluationConfig* evaluation = config.mutable_evaluation();
  if (evaluation->sources_size() == 0) {
    for (const v1::TaskSourceConfig& source : config.tasks().sources()) {
      v1::TaskSourceConfig* held = evaluation->add_sources();
      *held = source;
      if (source.path().empty() || config.tasks().heldout_share() > 0) {
        (*held->mutable_options())["split"] = "heldout";
      }
    }
  }
  CompleteSources(evaluation->mutable_sources());
  HONE_DEFAULT(evaluation, every, 10);
  HONE_DEFAULT(evaluation, limit, 200);
  HONE_DEFAULT(evaluation, final_limit, 1000);
  HONE_DEFAULT(evaluation, samples, 1);
  HONE_DEFAULT(evaluation, temperature, 0.0);
  HONE_DEFAULT(evaluation, max_tokens, rollout->max_tokens());
  v1::CheckpointConfig* checkpoint = config.mutable_checkpoint();
  HONE_DEFAULT(checkpoint, every, 10);
  HONE_DEFAULT(checkpoint, keep, 3);
  HONE_DEFAULT(config.mutable_store(), keep_every, 1);
  HONE_DEFAULT(config.mutable_limits(), max_seconds, 0.0);
  HONE_DEFAULT(config.mutable_limits(), stop_at_accuracy, 0.0);
}

ModelConfig ModelConfigOf(const v1::ModelShape& shape, int32_t vocabulary, int32_t eos) {
  ModelConfig config;
  config.model_type = shape.scoring_func() == "softmax" ? "deepseek_v2" : "deepseek_v3";
  // Rows in steps of 8: the padding rows are masked everywhere.
  config.vocab_size = (vocabulary + 7) / 8 * 8;
  config.hidden_size = shape.hidden_size();
  config.intermediate_size = shape.intermediate_size();
  config.moe_intermediate_size = shape.moe_intermediate_size();
  config.num_hidden_layers = shape.num_hidden_layers();
  config.num_attention_heads = shape.num_attention_heads();
  config.q_lora_rank = shape.q_lora_rank();
  config.kv_lora_rank = shape.kv_lora_rank();
  config.qk_nope_head_dim = shape.qk_nope_head_dim();
  config.qk_rope_head_dim = shape.qk_rope_head_dim();
  config.v_head_dim = shape.v_head_dim();
  config.n_routed_experts = shape.n_routed_experts();
  config.n_shared_experts = shape.n_shared_experts();
  config.num_experts_per_tok = shape.num_experts_per_tok();
  config.n_group = shape.n_group();
  config.topk_group = shape.topk_group();
  config.topk_method = shape.topk_method();
  config.scoring_func = shape.scoring_func();
  config.norm_topk_prob = shape.norm_topk_prob();
  config.routed_scaling_factor = shape.routed_scaling_factor();
  config.first_k_dense_replace = shape.first_k_dense_replace();
  config.rope_theta = shape.rope_theta();
  config.max_position_embeddings = shape.max_position_embeddings();
  config.tie_word_embeddings = shape.tie_word_embeddings();
  config.initializer_range = shape.initializer_range();
  config.eos_token_id = eos;
  config.mtp_layers = shape.num_nextn_predict_layers();
  return config;
}

RolloutOptions RolloutOptionsOf(const v1::RunConfig& config, const std::string& run_id) {
  RolloutOptions options;
  options.run_id = run_id;
  options.group_size = config.rollout().group_size();
  options.sampling.temperature = static_cast<float>(config.rollout().temperature());
  options.sampling.top_p = static_cast<float>(config.rollout().top_p());
  options.sampling.top_k = config.rollout().top_k();
  options.sampling.max_tokens = config.rollout().max_tokens();
  options.prompt_template = config.tasks().prompt_template();
  for (const v1::RewardPart& part : config.rewards().parts()) {
    RewardPartConfig out;
    out.name = part.name();
    out.weight = part.weight();
    out.gate = part.gate();
    if (!part.gate().empty()) out.gate_min = part.gate_min();
    if (!part.rule().empty()) out.rule = part.rule();
    out.max_tokens = part.max_tokens();
    out.cache_tokens = part.cache_tokens();
    options.reward.parts.push_back(std::move(out));
  }
  options.advantage.estimator = config.learner().advantage();
  options.advantage.clip = config.learner().advantage_clip();
  options.verify_attempts = config.rewards().verify_attempts();
  options.verify_threads = config.rewards().verify_threads();
  options.verify_deadline = absl::Seconds(config.rewards().verify_deadline_s());
  options.keep_routes = config.rollout().keep_routes();
  return options;
}

AdaptationOptions AdaptationOf(const v1::PolicyConfig& policy) {
  AdaptationOptions out;
  if (policy.has_lora()) {
    out.lora.r = policy.lora().r();
    out.lora.lora_alpha = policy.lora().lora_alpha();
    out.lora.use_rslora = policy.lora().use_rslora();
    out.lora.target_modules.assign(policy.lora().target_modules().begin(),
                                   policy.lora().target_modules().end());
  }
  out.freeze.assign(policy.freeze().begin(), policy.freeze().end());
  if (policy.freeze_router()) out.freeze.push_back("router");
  return out;
}

LossSpec LossOf(const v1::LearnerConfig& learner, int32_t max_tokens) {
  LossSpec loss;
  loss.name = learner.loss();
  loss.options["aggregation"] = learner.aggregation();
  if (learner.aggregation() == "seq_mean_token_sum_norm") {
    loss.parameters["max_tokens"] = max_tokens;
  }
  if (learner.kl() != "none") {
    loss.options["kl"] = learner.kl();
    loss.parameters["kl_coefficient"] = learner.kl_coefficient();
  }
  if (learner.entropy_coefficient() != 0) {
    loss.parameters["entropy_coefficient"] = learner.entropy_coefficient();
  }
  if (loss.name == "reinforce") return loss;
  loss.parameters["clip_low"] = learner.clip_low();
  loss.parameters["clip_high"] = learner.clip_high();
  if (loss.name == "ppo_clip") {
    loss.options["ratio"] = learner.ratio();
    if (learner.dual_clip() != 0) loss.parameters["dual_clip"] = learner.dual_clip();
  }
  return loss;
}

ScheduleOptions ScheduleOf(const v1::OptimizerConfig& optimizer, int64_t total_updates) {
  ScheduleOptions schedule;
  schedule.kind = ScheduleKindFromName(optimizer.schedule()).value_or(ScheduleKind::kConstant);
  schedule.peak = optimizer.learning_rate();
  schedule.warmup_updates = optimizer.warmup_updates();
  if (schedule.kind != ScheduleKind::kConstant) {
    schedule.total_updates = total_updates;
    schedule.min_ratio = optimizer.min_ratio();
  }
  return schedule;
}

AdamWParams AdamWOf(const v1::OptimizerConfig& optimizer, double learning_rate) {
  AdamWParams adamw;
  adamw.learning_rate = learning_rate;
  adamw.beta1 = optimizer.beta1();
  adamw.beta2 = optimizer.beta2();
  adamw.epsilon = optimizer.epsilon();
  adamw.weight_decay = optimizer.weight_decay();
  adamw.max_grad_norm = optimizer.max_grad_norm();
  return adamw;
}

std::string BaseKey(const v1::RunConfig& config, absl::string_view more) {
  v1::RunConfig base;
  base.set_seed(config.seed());
  *base.mutable_policy()->mutable_shape() = config.policy().shape();
  base.mutable_policy()->set_dtype(config.policy().dtype());
  base.mutable_policy()->set_gradient_slots(config.policy().gradient_slots());
  base.mutable_policy()->set_max_rows_per_pass(config.policy().max_rows_per_pass());
  *base.mutable_pretrain() = config.pretrain();
  return Sha256Hex(absl::StrCat(PrintRunConfig(base), "\n", more)).substr(0, 16);
}

}  // namespace hone
