// SPDX-License-Identifier: Apache-2.0
#include "services/replay/counterfactual.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "services/clients/verifier_spec.h"
#include "services/convert/run_config.h"
#include "services/replay/outcomes.h"

namespace hone {
namespace {

constexpr char kOther[] = "--with";  // the other verifier's name in the pool

template <typename T, typename Read>
absl::Status SetNumber(const std::string& setting, const std::string& value, Read read, T* to) {
  if (read(value, to)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--with ", setting, ": ", value, " is no number"));
}

absl::Status SetSampling(const std::string& setting, const std::string& name,
                         const std::string& value, SamplingParams* sampling) {
  const auto real = [](const std::string& text, float* to) { return absl::SimpleAtof(text, to); };
  const auto whole = [](const std::string& text, int32_t* to) {
    return absl::SimpleAtoi(text, to);
  };
  if (name == "temperature") return SetNumber(setting, value, real, &sampling->temperature);
  if (name == "top_p") return SetNumber(setting, value, real, &sampling->top_p);
  if (name == "top_k") return SetNumber(setting, value, whole, &sampling->top_k);
  if (name == "max_tokens") return SetNumber(setting, value, whole, &sampling->max_tokens);
  return absl::InvalidArgumentError(
      absl::StrCat("--with ", setting,
                   ": say verifier=, weights=, temperature=, top_p=, top_k= or max_tokens="));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Counterfactual>> Counterfactual::Parse(
    const std::vector<std::string>& settings, const RecordedRun& run, int threads) {
  auto made = std::unique_ptr<Counterfactual>(new Counterfactual());
  made->threads_ = threads;
  made->rollout_ = RolloutOptionsOf(run.config(), run.record().id);
  made->rollout_.verify_threads = threads;
  for (const std::string& setting : settings) {
    const size_t equals = setting.find('=');
    const std::string name = setting.substr(0, equals);
    const std::string value =
        equals == std::string::npos ? std::string() : setting.substr(equals + 1);
    if (name == "verifier" && !value.empty()) {
      auto verifier = OpenVerifier(value, {});
      if (!verifier.ok()) return verifier.status();
      made->verifier_ = *std::move(verifier);
    } else if (name == "weights" && !value.empty()) {
      LocalPolicyOptions options;
      options.threads = threads;
      options.max_batch = 128;
      options.trainable = false;
      auto policy = LocalPolicy::CreateFromDirectory(value, /*weights_only=*/true, options);
      if (!policy.ok()) return policy.status();
      made->policy_ = *std::move(policy);
      auto tokenizer = ReadTokenizer(value);
      if (!tokenizer.ok()) return tokenizer.status();
      made->tokenizer_ = *std::move(tokenizer);
    } else {
      const absl::Status set = SetSampling(setting, name, value, &made->rollout_.sampling);
      if (!set.ok()) return set;
      made->sampling_ = true;
    }
  }
  const absl::Status checked = CheckRolloutOptions(made->rollout_);
  if (!checked.ok()) return checked;
  return made;
}

absl::StatusOr<std::vector<Group>> Counterfactual::Make(const std::vector<Group>& stored,
                                                        Replayer& replayer) {
  if (sampling_ || policy_ != nullptr) return Sample(stored, replayer);
  return RescoreAll(stored, {verifier_}, rollout_, threads_);
}

absl::StatusOr<std::vector<Group>> Counterfactual::Sample(const std::vector<Group>& stored,
                                                          Replayer& replayer) {
  Generator* generator = policy_.get();
  const Tokenizer* tokenizer = tokenizer_.get();
  if (generator == nullptr) {
    ReplayReport report;
    const absl::Status sought = replayer.Seek(stored.front().iteration - 1, report);
    if (!sought.ok()) return sought;
    generator = &replayer.policy();
    tokenizer = &replayer.tokenizer();
  }
  auto info = generator->Info();
  if (!info.ok()) return info.status();
  auto verifiers = replayer.Verifiers();
  if (!verifiers.ok()) return verifiers.status();
  VerifierPool pool = **verifiers;
  if (verifier_ != nullptr) pool.Add(kOther, verifier_);
  std::vector<GroupJob> jobs;
  for (const Group& group : stored) {
    GroupJob job;
    job.task = group.task;
    if (verifier_ != nullptr) job.task.verifier = kOther;
    job.key = group.key;
    job.iteration = group.iteration;
    job.version = info->version;
    jobs.push_back(std::move(job));
  }
  RolloutWorker worker(*generator, pool, *tokenizer, rollout_);
  return worker.RunGroups(jobs);
}

}  // namespace hone
