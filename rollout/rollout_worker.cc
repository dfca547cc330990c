// SPDX-License-Identifier: Apache-2.0
#include "rollout/rollout_worker.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "policy/hash.h"
#include "rollout/group_rewards.h"
#include "rollout/prompt_template.h"
#include "rollout/single_turn.h"

namespace hone {
namespace {

constexpr int32_t kMaxGroup = 4096;

// One completion on its way: its environment, then what came of it.
struct Run {
  std::unique_ptr<SingleTurn> environment;
  Trajectory trajectory;
  absl::Status status;
};

// One job on its way.
struct Pending {
  const GroupJob* job = nullptr;
  std::vector<std::shared_ptr<Verifier>> verifiers;
  std::vector<Segment> prompt;  // as the environment gave it, tokens counted
  std::vector<TokenId> prompt_tokens;
  std::vector<Run> runs;  // [G]
};

absl::Status AboutTask(const absl::Status& status, const Task& task) {
  return absl::Status(status.code(), absl::StrCat("task '", task.id, "': ", status.message()));
}

SampleKey KeyOf(const GroupJob& job, int32_t sample) {
  SampleKey key = job.key;
  key.sample = static_cast<uint32_t>(sample);
  key.turn = 0;
  return key;
}

// The one that is named, or all that the policy's files know.
absl::StatusOr<std::vector<TokenId>> StopTokens(const Tokenizer& tokenizer, const PolicyInfo& info,
                                                const std::string& text) {
  if (!text.empty()) {
    const TokenId token = tokenizer.TokenOf(text);
    if (token >= 0) return std::vector<TokenId>{token};
    return absl::InvalidArgumentError(
        absl::StrCat("eos is '", text, "', which is no token of the tokenizer"));
  }
  std::vector<TokenId> all = StopTokensOf(tokenizer.special().stop, info);
  if (!all.empty()) return all;
  return absl::InvalidArgumentError("the tokenizer has no end-of-text token; name one as eos");
}

absl::Status EncodePrompt(const Tokenizer& tokenizer, Pending& pending) {
  for (Segment& segment : pending.prompt) {
    const PromptText text = {segment.text, segment.literal};
    absl::StatusOr<std::vector<TokenId>> tokens =
        pending.prompt_tokens.empty() ? tokenizer.EncodePrompt(text) : tokenizer.EncodeText(text);
    if (!tokens.ok()) return AboutTask(tokens.status(), pending.job->task);
    segment.first_token = static_cast<int32_t>(pending.prompt_tokens.size());
    segment.token_count = static_cast<int32_t>(tokens->size());
    pending.prompt_tokens.insert(pending.prompt_tokens.end(), tokens->begin(), tokens->end());
  }
  if (!pending.prompt_tokens.empty()) return absl::OkStatus();
  return AboutTask(absl::InvalidArgumentError("the prompt has no token"), pending.job->task);
}

// Environments, prompts and their tokens of one job.
absl::StatusOr<Pending> Prepare(const GroupJob& job, const VerifierPool& verifiers,
                                const Tokenizer& tokenizer, const RolloutOptions& options) {
  Pending pending;
  pending.job = &job;
  absl::StatusOr<std::vector<std::shared_ptr<Verifier>>> found =
      verifiers.Find(VerifierFor(job.task, options.default_verifier));
  if (!found.ok()) return AboutTask(found.status(), job.task);
  pending.verifiers = *std::move(found);
  pending.runs.resize(static_cast<size_t>(options.group_size));
  for (int32_t i = 0; i < options.group_size; ++i) {
    const SampleKey key = KeyOf(job, i);
    SingleTurnOptions turn;
    turn.prompt_template = options.prompt_template;
    turn.item_id = TrajectoryId(options.run_id, key);
    turn.seed = static_cast<int64_t>(RewardKey(key) >> 1);
    turn.verify_attempts = options.verify_attempts;
    turn.verify_deadline = options.verify_deadline;
    turn.lenient = options.lenient;
    Run& run = pending.runs[static_cast<size_t>(i)];
    run.environment = std::make_unique<SingleTurn>(pending.verifiers, std::move(turn));
    absl::StatusOr<std::vector<Segment>> segments = run.environment->Reset(job.task);
    if (!segments.ok()) return AboutTask(segments.status(), job.task);
    if (i == 0) pending.prompt = *std::move(segments);
  }
  const absl::Status status = EncodePrompt(tokenizer, pending);
  if (!status.ok()) return status;
  return pending;
}

GenerateRequest MakeRequest(const Pending& pending, const std::vector<TokenId>& stop,
                            const RolloutOptions& options) {
  GenerateRequest request;
  request.request_id = GroupId(options.run_id, pending.job->key);
  request.prompt = pending.prompt_tokens;
  request.n = options.group_size;
  request.key = KeyOf(*pending.job, 0);
  request.sampling = options.sampling;
  request.stop_tokens = stop;
  request.required_version = pending.job->version;
  request.return_routes = options.keep_routes;
  return request;
}

// Prompt and completion as one record, before any verdict.
Trajectory Record(const Pending& pending, int32_t sample, Completion completion,
                  const PolicyInfo& info, const Tokenizer& tokenizer,
                  const RolloutOptions& options) {
  Trajectory t;
  t.key = KeyOf(*pending.job, sample);
  t.id = TrajectoryId(options.run_id, t.key);
  t.group_id = GroupId(options.run_id, pending.job->key);
  t.tokens = pending.prompt_tokens;
  const size_t prompt = t.tokens.size();
  t.tokens.insert(t.tokens.end(), completion.tokens.begin(), completion.tokens.end());
  t.behaviour_logprobs.assign(prompt, 0.0f);
  t.behaviour_logprobs.insert(t.behaviour_logprobs.end(), completion.logprobs.begin(),
                              completion.logprobs.end());
  t.entropy.assign(prompt, 0.0f);
  t.entropy.insert(t.entropy.end(), completion.entropy.begin(), completion.entropy.end());
  t.segments = pending.prompt;
  Segment model;
  model.role = "assistant";
  model.kind = SegmentKind::kModel;
  model.first_token = static_cast<int32_t>(prompt);
  model.token_count = static_cast<int32_t>(completion.tokens.size());
  model.loss_mask = true;
  model.version = completion.version;
  // The stop token is learned but is no text.
  absl::Span<const TokenId> said(completion.tokens);
  if (completion.stop_reason == StopReason::kStopToken && !said.empty()) said.remove_suffix(1);
  model.text = tokenizer.Decode(said);
  t.segments.push_back(std::move(model));
  t.stop_reason = completion.stop_reason;
  t.sampling = options.sampling;
  t.backend = info.backend;
  t.tokenizer_hash = tokenizer.hash();
  t.template_name = options.prompt_template;
  t.routes = std::move(completion.prompt_routes);
  if (t.routes.experts.empty())
    t.routes = Routes{completion.routes.moe_layers, completion.routes.slots, {}};
  t.routes.experts.insert(t.routes.experts.end(), completion.routes.experts.begin(),
                          completion.routes.experts.end());
  return t;
}

void VerifyRun(Run& run) {
  Trajectory& t = run.trajectory;
  absl::StatusOr<StepResult> step = run.environment->Step(t.completion(), t.stop_reason);
  run.environment->Close();
  if (!step.ok() || !step->done) {
    run.status = step.ok() ? absl::InternalError("the environment did not end") : step.status();
    return;
  }
  t.verdict = std::move(step->verdict);
  t.verify_attempts = step->verify_attempts;
}

// Who verifies what has no effect on any verdict: threads only shorten the wait.
void VerifyAll(const std::vector<Run*>& runs, int32_t threads) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < runs.size(); i = next++) VerifyRun(*runs[i]);
  };
  std::vector<std::thread> team;
  for (int32_t i = 1; i < threads && static_cast<size_t>(i) < runs.size(); ++i) {
    team.emplace_back(work);
  }
  work();
  for (std::thread& thread : team) thread.join();
}

// Rewards and advantages of the judged completions; the others are counted and leave.
Group Finish(Pending& pending, const RolloutOptions& options) {
  Group group;
  group.id = GroupId(options.run_id, pending.job->key);
  group.task = pending.job->task;
  group.key = KeyOf(*pending.job, 0);
  group.iteration = pending.job->iteration;
  group.version = pending.job->version;
  group.asked = options.group_size;
  for (Run& run : pending.runs) {
    Trajectory& t = run.trajectory;
    group.verify_us += t.verdict.elapsed_us;
    if (!IsVerdict(t.verdict.outcome)) {
      ++(t.verdict.outcome == Outcome::kSkipped ? group.skipped : group.outages);
      group.lost.push_back(std::move(t.verdict));
      continue;
    }
    t.reward = RewardOf(options.reward, t);
    group.trajectories.push_back(std::move(t));
  }
  const double judged = static_cast<double>(group.trajectories.size());
  if (judged == 0 || judged < options.min_judged_share * group.asked) {
    group.drop = DropReason::kOutage;
  }
  SetAdvantages(options.advantage, group);
  return group;
}

absl::Status CheckJobs(const std::vector<GroupJob>& jobs) {
  for (const GroupJob& job : jobs) {
    if (job.key.sample != 0 || job.key.turn != 0) {
      return AboutTask(absl::InvalidArgumentError("a job's key names a sample or a turn"),
                       job.task);
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string VerifierFor(const Task& task, const std::string& default_verifier) {
  if (!task.verifier.empty()) return task.verifier;
  if (!default_verifier.empty()) return default_verifier;
  if (!task.tests_json.empty()) return "code";
  const bool countdown = task.metadata.count("nums") != 0 && task.metadata.count("target") != 0;
  return countdown ? "countdown" : "math";
}

absl::Status CheckRolloutOptions(const RolloutOptions& options) {
  const auto bad = [](absl::string_view what) { return absl::InvalidArgumentError(what); };
  if (options.group_size < 1 || options.group_size > kMaxGroup) {
    return bad(
        absl::StrCat("group_size is ", options.group_size, "; it must be from 1 to ", kMaxGroup));
  }
  if (options.sampling.max_tokens < 1) return bad("max_tokens must be at least 1");
  if (!std::isfinite(options.sampling.temperature) || options.sampling.temperature < 0) {
    return bad("temperature must be 0 or more");
  }
  if (!(options.sampling.top_p > 0 && options.sampling.top_p <= 1)) {
    return bad("top_p must be above 0 and at most 1");
  }
  if (options.sampling.top_k < 0) return bad("top_k must be 0 (all) or more");
  if (options.verify_attempts < 1 || options.verify_attempts > 100) {
    return bad("verify_attempts must be from 1 to 100");
  }
  if (options.verify_deadline <= absl::ZeroDuration()) {
    return bad("verify_deadline must be above 0");
  }
  if (options.verify_threads < 1 || options.verify_threads > 1024) {
    return bad("verify_threads must be from 1 to 1024");
  }
  if (!(options.min_judged_share >= 0 && options.min_judged_share <= 1)) {
    return bad("min_judged_share must be from 0 to 1");
  }
  absl::Status status = ApplyTemplate(options.prompt_template, "").status();
  if (status.ok()) status = CheckRewardConfig(options.reward);
  if (status.ok()) status = CheckAdvantageConfig(options.advantage);
  return status;
}

uint64_t RewardKey(const SampleKey& key) {
  Sha256 hash;
  hash.UpdateField("sample key/1");
  hash.UpdateU64(key.run_seed);
  hash.UpdateU64(static_cast<uint64_t>(key.purpose));
  hash.UpdateU64(key.group_ordinal);
  hash.UpdateU64(key.attempt);
  hash.UpdateU64(key.sample);
  const std::array<uint8_t, 32> digest = hash.Finish();
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | digest[i];
  return value;
}

void VerifierPool::Add(const std::string& name, std::shared_ptr<Verifier> verifier) {
  verifiers_[name].push_back(std::move(verifier));
}

absl::StatusOr<std::vector<std::shared_ptr<Verifier>>> VerifierPool::Find(
    const std::string& name) const {
  const auto found = verifiers_.find(name);
  if (found != verifiers_.end()) return found->second;
  return absl::NotFoundError(
      absl::StrCat("there is no verifier '", name, "' here; there are ",
                   verifiers_.empty() ? "none" : absl::StrJoin(names(), ", ")));
}

std::vector<std::string> VerifierPool::names() const {
  std::vector<std::string> names;
  for (const auto& [name, verifiers] : verifiers_) names.push_back(name);
  return names;
}

RolloutWorker::RolloutWorker(Generator& generator, const VerifierPool& verifiers,
                             const Tokenizer& tokenizer, RolloutOptions options)
    : generator_(generator),
      verifiers_(verifiers),
      tokenizer_(tokenizer),
      options_(std::move(options)) {}

absl::StatusOr<Group> RolloutWorker::RunGroup(const GroupJob& job) {
  absl::StatusOr<std::vector<Group>> groups = RunGroups({job});
  if (!groups.ok()) return groups.status();
  return std::move(groups->front());
}

absl::StatusOr<std::vector<Group>> RolloutWorker::RunGroups(const std::vector<GroupJob>& jobs) {
  absl::Status status = CheckRolloutOptions(options_);
  if (status.ok()) status = CheckJobs(jobs);
  if (!status.ok()) return status;
  if (jobs.empty()) return std::vector<Group>();
  absl::StatusOr<PolicyInfo> info = generator_.Info();
  if (!info.ok()) return info.status();
  absl::StatusOr<std::vector<TokenId>> stop = StopTokens(tokenizer_, *info, options_.eos);
  if (!stop.ok()) return stop.status();
  std::vector<Pending> pending;
  std::vector<GenerateRequest> requests;
  for (const GroupJob& job : jobs) {
    absl::StatusOr<Pending> prepared = Prepare(job, verifiers_, tokenizer_, options_);
    if (!prepared.ok()) return prepared.status();
    if (static_cast<int64_t>(prepared->prompt_tokens.size()) >= info->context_tokens) {
      return AboutTask(absl::OutOfRangeError(absl::StrCat(
                           "a prompt of ", prepared->prompt_tokens.size(),
                           " tokens leaves no room in a context of ", info->context_tokens)),
                       job.task);
    }
    pending.push_back(*std::move(prepared));
    requests.push_back(MakeRequest(pending.back(), *stop, options_));
  }
  const absl::Time begin = absl::Now();
  absl::StatusOr<std::vector<std::vector<Completion>>> completions =
      GenerateAll(generator_, requests);
  if (!completions.ok()) return completions.status();
  const int64_t generate_us = absl::ToInt64Microseconds(absl::Now() - begin);
  std::vector<Run*> runs;
  for (size_t i = 0; i < pending.size(); ++i) {
    for (size_t j = 0; j < pending[i].runs.size(); ++j) {
      Run& run = pending[i].runs[j];
      run.trajectory = Record(pending[i], static_cast<int32_t>(j), std::move((*completions)[i][j]),
                              *info, tokenizer_, options_);
      runs.push_back(&run);
    }
  }
  VerifyAll(runs, options_.verify_threads);
  for (const Run* run : runs) {
    if (!run->status.ok()) return run->status;
  }
  std::vector<Group> groups;
  for (Pending& one : pending) {
    groups.push_back(Finish(one, options_));
    groups.back().generate_us = generate_us / static_cast<int64_t>(pending.size());
  }
  return groups;
}

}  // namespace hone
