// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/check_policy.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "hone/v1/policy_service.pb.h"
#include "services/clients/remote_policy.h"
#include "services/convert/run_config.h"

namespace hone {
namespace {

std::string Differences(const v1::PolicyConfig& config, const v1::LearnerSettings& served) {
  std::string text;
  const auto compare = [&text](absl::string_view field, auto wanted, auto is,
                               absl::string_view flag) {
    if (wanted == is) return;
    absl::StrAppend(&text, "\n  policy.", field, ": ", wanted, " in the config, ", is,
                    " there; start it with ", flag);
  };
  compare("gradient_slots", config.gradient_slots(), served.gradient_slots(), "--slots");
  compare("max_rows_per_pass", config.max_rows_per_pass(), served.max_rows_per_pass(),
          "--rows-per-pass");
  compare("router_bias_update", config.router_bias_update(), served.router_bias_update(),
          "--router-bias-update");
  compare("balance_loss", config.balance_loss(), served.balance_loss(), "--balance-loss");
  compare("freeze", absl::StrJoin(AdaptationOf(config).freeze, ", "),
          absl::StrJoin(served.freeze(), ", "), "--freeze");
  return text;
}

}  // namespace

absl::Status CheckPolicyServer(const std::string& address, const v1::RunConfig& config) {
  for (const auto& [field, given] : {std::pair{"lora", config.policy().has_lora()},
                                     std::pair{"mtp_loss", config.policy().mtp_loss() > 0}}) {
    if (!given) continue;
    return absl::UnimplementedError(
        absl::StrCat("policy.", field, " needs the policy in this process: leave --policy out"));
  }
  auto client = RemotePolicy::Connect(address);
  if (!client.ok()) return client.status();
  auto settings = (*client)->Settings();
  const std::string peer = absl::StrCat("--policy ", address, ": ");
  if (absl::IsUnimplemented(settings.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat(peer, "what listens there is no policy; start one with hone serve policy"));
  }
  if (!settings.ok()) {
    return absl::Status(settings.status().code(), absl::StrCat(peer, settings.status().message()));
  }
  if (!settings->has_learner()) {
    return absl::FailedPreconditionError(
        absl::StrCat(peer, "the policy there generates and does not learn"));
  }
  const std::string differences = Differences(config.policy(), settings->learner());
  if (differences.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(peer, "its updates would have other bits than the config's:", differences));
}

}  // namespace hone
