// SPDX-License-Identifier: Apache-2.0
//
// What a completed configuration must satisfy. An option that does not apply is refused, never
// ignored.
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "rollout/prompt_template.h"
#include "services/clients/verifier_spec.h"
#include "services/convert/run_config.h"

namespace hone {
namespace {

// Collects the first failed check.
class Checker {
 public:
  void Fail(absl::string_view text) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(text);
  }
  void InRange(absl::string_view field, double value, double low, double high) {
    if (!(value >= low && value <= high)) {
      Fail(absl::StrFormat("%s: %.12g is not in [%.12g, %.12g]", field, value, low, high));
    }
  }
  void Positive(absl::string_view field, double value, double high) {
    if (!(value > 0 && value <= high)) {
      Fail(absl::StrCat(field, ": ", value, " is not in (0, ", high, "]"));
    }
  }
  void OneOf(absl::string_view field, absl::string_view value,
             absl::Span<const absl::string_view> known) {
    for (absl::string_view name : known) {
      if (value == name) return;
    }
    Fail(absl::StrCat(field, ": \"", value, "\" is not one of ", absl::StrJoin(known, ", ")));
  }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

void CheckOptimizer(Checker& check, absl::string_view where, const v1::OptimizerConfig& o,
                    int64_t updates) {
  check.Positive(absl::StrCat(where, ".learning_rate"), o.learning_rate(), 1.0);
  check.InRange(absl::StrCat(where, ".beta1"), o.beta1(), 0, 0.999999);
  check.InRange(absl::StrCat(where, ".beta2"), o.beta2(), 0, 0.999999999);
  check.Positive(absl::StrCat(where, ".epsilon"), o.epsilon(), 1.0);
  check.InRange(absl::StrCat(where, ".weight_decay"), o.weight_decay(), 0, 1);
  check.InRange(absl::StrCat(where, ".max_grad_norm"), o.max_grad_norm(), 0, 1e9);
  check.OneOf(absl::StrCat(where, ".schedule"), o.schedule(), {"constant", "linear", "cosine"});
  check.InRange(absl::StrCat(where, ".warmup_updates"), static_cast<double>(o.warmup_updates()), 0,
                1e9);
  check.InRange(absl::StrCat(where, ".min_ratio"), o.min_ratio(), 0, 1);
  if (o.schedule() == "constant" && o.has_min_ratio()) {
    check.Fail(absl::StrCat(where, ".min_ratio does not apply to a constant schedule"));
  }
  if (o.schedule() != "constant" && updates <= o.warmup_updates()) {
    check.Fail(absl::StrCat(where, ".warmup_updates: ", o.warmup_updates(), " of ", updates,
                            " updates; the ", o.schedule(), " schedule needs some after it"));
  }
}

void CheckSources(Checker& check, absl::string_view where,
                  const google::protobuf::RepeatedPtrField<v1::TaskSourceConfig>& sources) {
  for (int i = 0; i < sources.size(); ++i) {
    const v1::TaskSourceConfig& source = sources[i];
    const std::string at = absl::StrCat(where, ".sources[", i, "]");
    if (source.generator().empty() == source.path().empty()) {
      check.Fail(absl::StrCat(at, ": name either a generator or a path"));
    }
    check.Positive(absl::StrCat(at, ".weight"), source.weight(), 1e6);
    if (!source.path().empty() && source.options_size() > 0 &&
        !(source.options_size() == 1 && source.options().contains("split"))) {
      check.Fail(absl::StrCat(at, ".options: they are a generator's; a file has `map`"));
    }
    if (source.path().empty() && source.map_size() > 0) {
      check.Fail(absl::StrCat(at, ".map: it is a file's; a generator has `options`"));
    }
  }
}

void CheckVerifiers(Checker& check, const v1::RunConfig& config) {
  std::set<std::string> names;
  for (int i = 0; i < config.verifiers_size(); ++i) {
    const v1::VerifierConfig& verifier = config.verifiers(i);
    const std::string at = absl::StrCat("verifiers[", i, "]");
    if (verifier.name().empty() || verifier.name().find_first_of(" :@/") != std::string::npos) {
      check.Fail(absl::StrCat(at, ".name: a word without blanks, ':', '@' and '/'"));
    }
    for (const VerifierInfo& info : ListVerifiers()) {
      if (info.name == verifier.name()) {
        check.Fail(absl::StrCat(at, ".name: \"", info.name, "\" is a built-in verifier"));
      }
    }
    if (!names.insert(verifier.name()).second) {
      check.Fail(absl::StrCat(at, ".name: there are two called \"", verifier.name(), "\""));
    }
    const auto spec = ParseVerifierSpec(verifier.spec());
    if (!spec.ok()) check.Fail(absl::StrCat(at, ".spec: ", spec.status().message()));
  }
  for (const auto* sources : {&config.tasks().sources(), &config.evaluation().sources()}) {
    for (const v1::TaskSourceConfig& source : *sources) {
      if (names.count(source.verifier()) > 0 && source.verifier_options_size() > 0) {
        check.Fail(absl::StrCat("the source \"", source.name(), "\": verifier_options belong to ",
                                "verifiers, where \"", source.verifier(), "\" is declared"));
      }
    }
  }
}

void CheckPolicy(Checker& check, const v1::RunConfig& config) {
  const v1::PolicyConfig& policy = config.policy();
  check.InRange("policy.threads", policy.threads(), 0, 256);
  check.OneOf("policy.dtype", policy.dtype(), {"float32", "bfloat16"});
  check.InRange("policy.gradient_slots", policy.gradient_slots(), 1, 256);
  if ((policy.gradient_slots() & (policy.gradient_slots() - 1)) != 0) {
    check.Fail(
        absl::StrCat("policy.gradient_slots: ", policy.gradient_slots(), " is not a power of two"));
  }
  check.InRange("policy.max_rows_per_pass", policy.max_rows_per_pass(), 16, 1 << 20);
  check.InRange("policy.decode_batch", policy.decode_batch(), 1, 4096);
  check.InRange("policy.router_bias_update", policy.router_bias_update(), 0, 1);
  check.InRange("policy.balance_loss", policy.balance_loss(), 0, 10);
  check.InRange("policy.mtp_loss", policy.mtp_loss(), 0, 100);
  if (policy.mtp_through_trunk() && policy.mtp_loss() == 0) {
    check.Fail("policy.mtp_through_trunk does not apply: policy.mtp_loss is 0");
  }
  if (policy.mtp_loss() > 0 && policy.has_lora()) {
    check.Fail("policy.mtp_loss does not apply: policy.lora freezes every weight");
  }
  if (policy.has_lora()) {
    check.InRange("policy.lora.r", policy.lora().r(), 1, 1024);
    check.Positive("policy.lora.lora_alpha", policy.lora().lora_alpha(), 1e6);
    if (policy.freeze_size() > 0 || policy.freeze_router()) {
      check.Fail("policy.freeze does not apply: policy.lora freezes every weight already");
    }
    if (policy.router_bias_update() > 0) {
      check.Fail(
          "policy.router_bias_update moves a bias that policy.lora freezes; leave one of them out");
    }
  }
  if (!policy.model_dir().empty()) {
    if (policy.has_shape()) {
      check.Fail("policy: model_dir has its own shape; leave policy.shape out");
    }
    if (config.has_pretrain()) {
      check.Fail("policy.model_dir is given, so nothing is pretrained: leave pretrain out");
    }
    return;
  }
  const v1::ModelShape& shape = policy.shape();
  check.InRange("policy.shape.num_nextn_predict_layers", shape.num_nextn_predict_layers(), 0, 1);
  if (policy.mtp_loss() > 0 && shape.num_nextn_predict_layers() == 0) {
    check.Fail("policy.mtp_loss needs policy.shape.num_nextn_predict_layers: 1");
  }
  check.OneOf("policy.shape.tokenizer", shape.tokenizer(), {"words", "bytes"});
  if (shape.tokenizer() == "words" && shape.tokenizer_generators_size() == 0) {
    check.Fail(
        "policy.shape.tokenizer: words come from generators and the config names none; say "
        "tokenizer: \"bytes\" for text of your own");
  }
  if (shape.tokenizer() == "bytes" && shape.tokenizer_generators_size() > 0) {
    check.Fail("policy.shape.tokenizer_generators: only for tokenizer \"words\"");
  }
}

void CheckPretrain(Checker& check, const v1::RunConfig& config) {
  if (!config.policy().model_dir().empty()) return;
  const v1::PretrainConfig& pretrain = config.pretrain();
  check.InRange("pretrain.steps", static_cast<double>(pretrain.steps()), 0, 1e9);
  check.InRange("pretrain.batch", pretrain.batch(), 1, 65536);
  check.InRange("pretrain.balance_loss", pretrain.balance_loss(), 0, 10);
  check.InRange("pretrain.router_bias_update", pretrain.router_bias_update(), 0, 1);
  if (config.policy().shape().num_nextn_predict_layers() > 0) {
    check.Positive("pretrain.mtp_loss", pretrain.mtp_loss(), 100);
  } else if (pretrain.has_mtp_loss()) {
    check.Fail("pretrain.mtp_loss needs policy.shape.num_nextn_predict_layers: 1");
  }
  if (pretrain.steps() > 0) {
    CheckOptimizer(check, "pretrain.optimizer", pretrain.optimizer(), pretrain.steps());
  }
  if (pretrain.steps() > 0 && pretrain.documents_size() == 0) {
    check.Fail("pretrain.documents: name what to pretrain on, or set policy.model_dir");
  }
  for (int i = 0; i < pretrain.documents_size(); ++i) {
    const v1::DocumentSourceConfig& source = pretrain.documents(i);
    const std::string at = absl::StrCat("pretrain.documents[", i, "]");
    if (source.generator().empty() == source.path().empty()) {
      check.Fail(absl::StrCat(at, ": name either a generator or a path"));
    }
    if (!source.path().empty() && source.options_size() > 0) {
      check.Fail(absl::StrCat(at, ".options: they are a generator's"));
    }
    check.Positive(absl::StrCat(at, ".weight"), source.weight(), 1e6);
  }
}

void CheckRollout(Checker& check, const v1::RunConfig& config) {
  const v1::RolloutConfig& rollout = config.rollout();
  check.InRange("rollout.prompts", rollout.prompts(), 1, 65536);
  check.InRange("rollout.group_size", rollout.group_size(), 2, 4096);
  check.InRange("rollout.prompts x rollout.group_size",
                static_cast<double>(rollout.prompts()) * rollout.group_size(), 2, 1 << 20);
  check.Positive("rollout.temperature", rollout.temperature(), 100);
  check.Positive("rollout.top_p", rollout.top_p(), 1);
  check.InRange("rollout.top_k", rollout.top_k(), 0, 1 << 20);
  check.InRange("rollout.max_tokens", rollout.max_tokens(), 1, 1 << 20);
  check.InRange("rollout.workers", rollout.workers(), 0, 256);
  const std::vector<std::string> templates = TemplateNames();
  const std::vector<absl::string_view> names(templates.begin(), templates.end());
  check.OneOf("tasks.prompt_template", config.tasks().prompt_template(), names);
  check.InRange("tasks.heldout_share", config.tasks().heldout_share(), 0, 0.9);
  const v1::TasksConfig& tasks = config.tasks();
  if ((tasks.has_pass_rate_min() || tasks.has_pass_rate_max()) == tasks.pass_rate_file().empty()) {
    check.Fail("tasks: pass_rate_file and a pass-rate band go together");
  }
  if (config.tasks().sources_size() == 0) check.Fail("tasks.sources: name what to learn on");
  check.InRange("rewards.verify_attempts", config.rewards().verify_attempts(), 1, 100);
  check.InRange("rewards.verify_threads", config.rewards().verify_threads(), 1, 1024);
  check.Positive("rewards.verify_deadline_s", config.rewards().verify_deadline_s(), 86400);
  check.InRange("rewards.max_outage_share", config.rewards().max_outage_share(), 0, 1);
}

void CheckReplay(Checker& check, const v1::RunConfig& config) {
  const v1::LearnerConfig& learner = config.learner();
  check.OneOf("learner.routing_replay", learner.routing_replay(), {"off", "r2", "r3"});
  const bool dense =
      config.policy().model_dir().empty() && config.policy().shape().n_routed_experts() == 0;
  if (dense && (learner.routing_replay() != "off" || config.rollout().keep_routes())) {
    check.Fail(
        "learner.routing_replay and rollout.keep_routes do not apply: the policy has no experts");
  }
  if (learner.routing_replay() == "r2" && learner.minibatches() * learner.epochs() == 1) {
    check.Fail(
        "learner.routing_replay: r2 replays the routing before an iteration's first update, and "
        "with minibatches 1 and epochs 1 there is no other update");
  }
}

void CheckLearner(Checker& check, const v1::RunConfig& config) {
  const v1::LearnerConfig& learner = config.learner();
  check.OneOf("learner.preset", learner.preset(), {"grpo", "r1zero", "drgrpo", "dapo"});
  CheckOptimizer(check, "learner.optimizer", learner.optimizer(),
                 learner.iterations() * learner.epochs() * learner.minibatches());
  check.InRange("learner.iterations", static_cast<double>(learner.iterations()), 1, 1e9);
  check.OneOf("learner.advantage", learner.advantage(), {"grpo", "drgrpo", "rloo", "opo"});
  check.OneOf("learner.loss", learner.loss(), {"ppo_clip", "cispo", "reinforce"});
  check.OneOf(
      "learner.aggregation", learner.aggregation(),
      {"token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "seq_mean_token_sum_norm"});
  check.OneOf("learner.ratio", learner.ratio(), {"token", "sequence"});
  check.OneOf("learner.kl", learner.kl(), {"none", "k1", "k2", "k3"});
  check.InRange("learner.clip_low", learner.clip_low(), 0, 1);
  check.InRange("learner.clip_high", learner.clip_high(), 0, 1e6);
  check.InRange("learner.kl_coefficient", learner.kl_coefficient(), 0, 1e6);
  check.InRange("learner.entropy_coefficient", learner.entropy_coefficient(), -10, 10);
  check.InRange("learner.minibatches", learner.minibatches(), 1, 65536);
  check.InRange("learner.epochs", learner.epochs(), 1, 1000);
  check.InRange("learner.max_refills", learner.max_refills(), 1, 1000);
  check.InRange("learner.advantage_clip", learner.advantage_clip(), 0, 1e6);
  check.OneOf("learner.gap", learner.gap(), {"stop", "warn"});
  CheckReplay(check, config);
  if (learner.kl() == "none" && learner.kl_coefficient() != 0) {
    check.Fail("learner.kl_coefficient does not apply: learner.kl is \"none\"");
  }
  if (learner.kl() == "none" && learner.reference_reset_iterations() != 0) {
    check.Fail("learner.reference_reset_iterations does not apply: learner.kl is \"none\"");
  }
  if (learner.loss() != "ppo_clip" && learner.dual_clip() != 0) {
    check.Fail(absl::StrCat("learner.dual_clip does not apply to loss ", learner.loss()));
  }
  if (learner.dual_clip() != 0) check.InRange("learner.dual_clip", learner.dual_clip(), 1, 1e6);
  if (learner.loss() != "ppo_clip" && learner.ratio() != "token") {
    check.Fail(absl::StrCat("learner.ratio does not apply to loss ", learner.loss()));
  }
  if (learner.refill_flat() && !learner.filter_flat()) {
    check.Fail("learner.refill_flat needs learner.filter_flat");
  }
}

}  // namespace

absl::Status CheckRunConfig(const v1::RunConfig& config) {
  Checker check;
  if (absl::StrContains(config.name(), '/') || config.name().size() > 128) {
    check.Fail(absl::StrCat("name: \"", config.name(), "\" is not a folder's name"));
  }
  CheckPolicy(check, config);
  CheckPretrain(check, config);
  CheckRollout(check, config);
  CheckSources(check, "tasks", config.tasks().sources());
  CheckSources(check, "evaluation", config.evaluation().sources());
  CheckVerifiers(check, config);
  CheckLearner(check, config);
  const v1::EvaluationConfig& evaluation = config.evaluation();
  check.InRange("evaluation.every", static_cast<double>(evaluation.every()), 0, 1e9);
  check.InRange("evaluation.limit", static_cast<double>(evaluation.limit()), 1, 1e8);
  check.InRange("evaluation.final_limit", static_cast<double>(evaluation.final_limit()), 1, 1e8);
  check.InRange("evaluation.samples", evaluation.samples(), 1, 65536);
  check.InRange("evaluation.temperature", evaluation.temperature(), 0, 100);
  check.InRange("evaluation.max_tokens", evaluation.max_tokens(), 1, 1 << 20);
  if (evaluation.temperature() == 0 && evaluation.samples() > 1) {
    check.Fail("evaluation.samples: greedy completions (temperature 0) are all the same; say 1");
  }
  check.InRange("checkpoint.every", static_cast<double>(config.checkpoint().every()), 1, 1e9);
  check.InRange("checkpoint.keep", config.checkpoint().keep(), 0, 1e6);
  check.InRange("store.keep_every", static_cast<double>(config.store().keep_every()), 0, 1e9);
  check.InRange("limits.max_seconds", config.limits().max_seconds(), 0, 1e9);
  check.InRange("limits.stop_at_accuracy", config.limits().stop_at_accuracy(), 0, 1);
  if (!check.status().ok()) return check.status();
  const RolloutOptions options = RolloutOptionsOf(config, "");
  if (absl::Status rewards = CheckRewardConfig(options.reward); !rewards.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("rewards: ", rewards.message()));
  }
  return CheckAdvantageConfig(options.advantage);
}

}  // namespace hone
