// SPDX-License-Identifier: Apache-2.0
#include "services/convert/worker_config.h"

#include <limits>
#include <utility>

#include "hone/v1/trainer_service.pb.h"
#include "services/convert/check.h"
#include "services/convert/limits.h"
#include "services/convert/values.h"

namespace hone::convert {
namespace {

void RewardToProto(const RolloutOptions& from, v1::WorkerConfig* to) {
  for (const RewardPartConfig& part : from.reward.parts) {
    v1::WorkerConfig::RewardPart* added = to->add_reward_parts();
    added->set_name(part.name);
    added->set_weight(part.weight);
    added->set_gate(part.gate);
    added->set_gate_min(part.gate_min);
    added->set_rule(part.rule);
    added->set_max_tokens(part.max_tokens);
    added->set_cache_tokens(part.cache_tokens);
  }
  v1::WorkerConfig::Advantage* advantage = to->mutable_advantage();
  advantage->set_estimator(from.advantage.estimator);
  advantage->set_epsilon(from.advantage.epsilon);
  advantage->set_clip(from.advantage.clip);
}

void RewardFromProto(const v1::WorkerConfig& from, Checker& check, RolloutOptions* to) {
  check.Range("number of reward_parts", from.reward_parts_size(), 0, kMaxParts);
  for (const v1::WorkerConfig::RewardPart& part : from.reward_parts()) {
    check.Finite("reward_parts.weight", part.weight());
    check.Finite("reward_parts.gate_min", part.gate_min());
    to->reward.parts.push_back({part.name(), part.weight(), part.gate(), part.gate_min(),
                                part.rule(), part.max_tokens(), part.cache_tokens()});
  }
  check.Finite("advantage.epsilon", from.advantage().epsilon());
  check.Finite("advantage.clip", from.advantage().clip());
  to->advantage = {from.advantage().estimator(), from.advantage().epsilon(),
                   from.advantage().clip()};
  if (!check.ok()) return;
  check.Within("reward_parts", CheckRewardConfig(to->reward));
  check.Within("advantage", CheckAdvantageConfig(to->advantage));
}

}  // namespace

void ToProto(const WorkerSetup& from, v1::WorkerConfig* to) {
  to->Clear();
  const RolloutOptions& rollout = from.rollout;
  to->set_run_id(rollout.run_id);
  to->set_group_size(rollout.group_size);
  ToProto(rollout.sampling, to->mutable_sampling());
  to->set_prompt_template(rollout.prompt_template);
  to->set_eos(rollout.eos);
  RewardToProto(rollout, to);
  to->set_default_verifier(rollout.default_verifier);
  to->set_verify_attempts(rollout.verify_attempts);
  to->set_verify_deadline_us(absl::ToInt64Microseconds(rollout.verify_deadline));
  to->set_min_judged_share(rollout.min_judged_share);
  to->set_keep_routes(rollout.keep_routes);
  to->set_tokenizer_json(from.tokenizer_json);
  to->mutable_tokenizer_configs()->insert(from.tokenizer_configs.begin(),
                                          from.tokenizer_configs.end());
  for (const VerifierSetup& verifier : from.verifiers) {
    v1::WorkerConfig::Verifier* added = to->add_verifiers();
    added->set_name(verifier.name);
    added->set_verifier(verifier.verifier);
    added->mutable_options()->insert(verifier.options.begin(), verifier.options.end());
  }
  to->set_policy_address(from.policy_address);
  to->set_heartbeat_interval_ms(static_cast<int32_t>(absl::ToInt64Milliseconds(from.heartbeat)));
  to->set_jobs_per_lease(from.jobs_per_lease);
}

absl::StatusOr<WorkerSetup> FromProto(const v1::WorkerConfig& from) {
  Checker check;
  WorkerSetup to;
  RolloutOptions& rollout = to.rollout;
  check.Name("run_id", from.run_id());
  check.Range("group_size", from.group_size(), 1, kMaxItemsPerCall);
  check.Take("sampling", FromProto(from.sampling()), &rollout.sampling);
  check.Name("prompt_template", from.prompt_template());
  check.Name("eos", from.eos());
  RewardFromProto(from, check, &rollout);
  check.Name("default_verifier", from.default_verifier());
  check.Range("verify_attempts", from.verify_attempts(), 1, 1000);
  check.Range("verify_deadline_us", from.verify_deadline_us(), 1,
              absl::ToInt64Microseconds(absl::Hours(24)));
  check.Require(from.min_judged_share() >= 0 && from.min_judged_share() <= 1, "min_judged_share",
                "is not in [0, 1]");
  check.Bytes("tokenizer_json", from.tokenizer_json(), kMaxTokenizerBytes);
  check.Range("number of tokenizer_configs", from.tokenizer_configs_size(), 0, kMaxMapEntries);
  int64_t config_bytes = 0;
  for (const auto& [name, text] : from.tokenizer_configs()) {
    check.Name("tokenizer_configs", name);
    config_bytes += static_cast<int64_t>(text.size());
  }
  check.Range("bytes of tokenizer_configs", config_bytes, 0, kMaxTokenizerConfigsBytes);
  check.Range("number of verifiers", from.verifiers_size(), 0, kMaxMapEntries);
  for (const v1::WorkerConfig::Verifier& verifier : from.verifiers()) {
    check.Name("verifiers.name", verifier.name());
    check.Range("verifiers.options", verifier.options_size(), 0, kMaxMapEntries);
    to.verifiers.push_back({verifier.name(),
                            verifier.verifier(),
                            {verifier.options().begin(), verifier.options().end()}});
  }
  check.Name("policy_address", from.policy_address());
  check.Range("heartbeat_interval_ms", from.heartbeat_interval_ms(), 1, 3600 * 1000);
  check.Range("jobs_per_lease", from.jobs_per_lease(), 1, 1024);
  if (!check.ok()) return check.status();
  rollout.run_id = from.run_id();
  rollout.group_size = from.group_size();
  rollout.prompt_template = from.prompt_template();
  rollout.eos = from.eos();
  rollout.default_verifier = from.default_verifier();
  rollout.verify_attempts = from.verify_attempts();
  rollout.verify_deadline = absl::Microseconds(from.verify_deadline_us());
  rollout.min_judged_share = from.min_judged_share();
  rollout.keep_routes = from.keep_routes();
  check.Within("rollout", CheckRolloutOptions(rollout));
  if (!check.ok()) return check.status();
  to.tokenizer_json = from.tokenizer_json();
  to.tokenizer_configs = {from.tokenizer_configs().begin(), from.tokenizer_configs().end()};
  to.policy_address = from.policy_address();
  to.heartbeat = absl::Milliseconds(from.heartbeat_interval_ms());
  to.jobs_per_lease = from.jobs_per_lease();
  return to;
}

}  // namespace hone::convert
