// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/train_run.h"

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/checkpoint_directory.h"
#include "policy/hash.h"
#include "policy/local/local_policy.h"
#include "rollout/local_workers.h"
#include "services/clients/remote_policy.h"
#include "services/convert/run_config.h"
#include "services/metrics/policy_metrics.h"
#include "services/trainer/base_policy.h"
#include "services/trainer/check_policy.h"
#include "services/trainer/resources.h"
#include "services/trainer/run_log.h"
#include "services/trainer/train_host.h"
#include "services/trainer/train_metrics.h"
#include "services/trainer/train_setup.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Owns everything a run works with, and takes it down in the right order.
class TrainRun {
 public:
  TrainRun(const TrainRequest& request, const TrainProgressEvents& events)
      : request_(request),
        events_(events),
        config_(request.config),
        canonical_(CanonicalRunConfig(request.config)),
        run_id_(Sha256Hex(canonical_).substr(0, 32)) {}

  ~TrainRun() {
    if (scheduler_ != nullptr) scheduler_->Cancel();
    workers_.reset();
    host_.reset();
  }

  absl::StatusOr<TrainSummary> Run();

 private:
  // To whoever watches, and to the run's log.
  void Note(LogLevel level, const std::string& text);
  void Log(LogLevel level, const std::string& text);
  void LogIteration(int64_t iteration, const std::map<std::string, double>& metrics);
  void LogEvaluation(const std::string& label, const std::vector<Evaluation>& evaluations);
  absl::StatusOr<TrainSummary> RunLogged();
  absl::Status WithResume(const absl::Status& error) const;
  absl::Status OpenDirectory();
  void ForgetDirectory();
  absl::Status CheckSameConfig();
  absl::Status FindCheckpoint();
  absl::Status OpenStore();
  absl::Status PreparePolicy();
  absl::Status LoadPolicy(const std::string& directory, bool weights_only);
  void UsePolicy(Generator& generator, Learner& learner);
  absl::Status OpenParts();
  absl::Status StartWorkers();
  absl::Status EvaluateBefore(TrainLoop& loop);
  absl::Status EvaluateAfter(TrainLoop& loop);
  absl::Status WriteSummary(const TrainLoop& loop);
  absl::Status Execute();
  absl::StatusOr<TrainSummary> Finished(const std::string& summary_json);
  void AddCurves();

  const TrainRequest& request_;
  const TrainProgressEvents& events_;
  const v1::RunConfig& config_;
  const std::string canonical_;
  const std::string run_id_;
  TrainSummary summary_;
  TrainPosition position_;
  std::string checkpoint_;  // folder to go on from; empty: from the base
  std::unique_ptr<RunDirectory> directory_;
  bool made_directory_ = false;       // by this attempt
  bool began_ = false;                // it has an attempt in the store
  std::unique_ptr<RunLog> log_;       // once the directory is ours
  SchedulerCounts scheduler_counts_;  // as logged last
  std::unique_ptr<Store> store_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::map<std::string, std::string> tokenizer_configs_;  // what remote workers need beside it
  std::unique_ptr<LocalPolicy> local_;
  std::unique_ptr<RemotePolicy> remote_;
  std::unique_ptr<MeasuredPolicy> measured_;  // the one of those there is, where metrics are on
  Generator* generator_ = nullptr;
  Learner* learner_ = nullptr;
  std::unique_ptr<VerifierPool> verifiers_;
  TaskDraw draw_task_;
  std::vector<EvaluationSet> evaluations_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<LocalWorkers> workers_;
  std::unique_ptr<TrainHost> host_;
  std::unique_ptr<TrainMetrics> metrics_;
};

void TrainRun::Log(LogLevel level, const std::string& text) {
  if (log_ != nullptr) log_->Write(level, text);
}

void TrainRun::Note(LogLevel level, const std::string& text) {
  Log(level, text);
  if (events_.note) events_.note(text);
}

void TrainRun::LogIteration(int64_t iteration, const std::map<std::string, double>& metrics) {
  std::string line = absl::StrCat("iteration ", iteration, "/", config_.learner().iterations());
  for (const char* name : {"reward/mean", "accuracy/mean", "completion/length_mean",
                           "group/flat_share", "verifier/outage_share", "tokens/per_s"}) {
    const auto found = metrics.find(name);
    if (found != metrics.end()) absl::StrAppend(&line, " ", name, " ", found->second);
  }
  Log(LogLevel::kInfo, line);
  const SchedulerCounts now = scheduler_->counts();
  const SchedulerCounts before = std::exchange(scheduler_counts_, now);
  if (now.expired == before.expired && now.rejected == before.rejected &&
      now.failed == before.failed) {
    return;
  }
  Log(LogLevel::kWarning,
      absl::StrCat("iteration ", iteration, ": ", now.expired - before.expired,
                   " leases of workers ran out, ", now.rejected - before.rejected,
                   " groups were rejected, ", now.failed - before.failed,
                   " jobs failed; all were "
                   "given to others"));
}

void TrainRun::LogEvaluation(const std::string& label, const std::vector<Evaluation>& evaluations) {
  for (const Evaluation& evaluation : evaluations) {
    Log(LogLevel::kInfo, absl::StrCat("evaluated ", label, " ", EvaluationRow(evaluation)));
  }
}

absl::Status TrainRun::OpenDirectory() {
  const bool there = fs::exists(request_.out + "/config.textproto");
  if (request_.resume && !there && events_.note) {
    events_.note(absl::StrCat("nothing to resume at ", request_.out, " yet: starting over"));
  }
  auto directory = request_.resume && there ? RunDirectory::Resume(request_.out)
                                            : RunDirectory::Create(request_.out);
  if (!directory.ok()) return directory.status();
  directory_ = *std::move(directory);
  made_directory_ = !(request_.resume && there);
  log_ = std::make_unique<RunLog>(directory_->File("logs/train.log"));
  Log(LogLevel::kInfo, absl::StrCat(there ? "resumed" : "began", ", run ", run_id_, ", threads ",
                                    request_.threads, ", workers ", request_.workers));
  if (there) return CheckSameConfig();
  return WriteFileAtomically(directory_->File("config.textproto"), PrintRunConfig(config_));
}

absl::Status TrainRun::CheckSameConfig() {
  const std::string path = directory_->File("config.textproto");
  auto text = ReadWholeFile(path);
  if (!text.ok()) return text.status();
  auto stored = ParseRunConfig(*text, path);
  if (!stored.ok()) {
    return absl::DataLossError(
        absl::StrCat(path, ", the run's own config, is damaged: ", stored.status().message()));
  }
  const std::string difference = DescribeDifference(canonical_, CanonicalRunConfig(*stored));
  if (difference.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(request_.out, " was started with another config:\n", difference,
                   "Resume with the same one, or start a new run with --out"));
}

absl::Status TrainRun::FindCheckpoint() {
  if (!request_.resume) return absl::OkStatus();
  CheckpointDirectory checkpoints(directory_->checkpoints());
  absl::Status swept = checkpoints.RemoveLeftovers().status();
  if (!swept.ok()) return swept;
  const auto read_position = [this](const std::string& path) {
    auto position = TrainPosition::Read(path + "/trainer.json");
    if (position.ok()) position_ = *position;
    return position.status();
  };
  auto found = checkpoints.FindLatestGood(read_position);
  if (absl::IsNotFound(found.status())) return absl::OkStatus();
  if (!found.ok()) return found.status();
  for (const BadCheckpoint& bad : found->bad) {
    Note(LogLevel::kWarning, absl::StrCat("passing over ", bad.path, ": ", bad.why.message()));
  }
  checkpoint_ = found->checkpoint.path;
  Log(LogLevel::kInfo, absl::StrCat("going on from ", checkpoint_));
  return absl::OkStatus();
}

absl::Status TrainRun::OpenStore() {
  const std::string path = directory_->File("store.sqlite");
  if (checkpoint_.empty()) {
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::error_code error;
      fs::remove(path + suffix, error);
    }
  }
  auto store = Store::Open(path, checkpoint_.empty() ? Store::Mode::kCreate : Store::Mode::kAppend);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  RunRecord run;
  run.id = run_id_;
  run.name = config_.name();
  run.config = canonical_;
  run.config_hash = Sha256Hex(canonical_);
  run.code_version = "0.1.0";
  absl::Status put = store_->PutRun(run);
  if (!put.ok()) return put;
  absl::Status trimmed = store_->TrimAfter(position_.iteration);
  if (!trimmed.ok()) return trimmed;
  return directory_->TrimMetrics(position_.iteration);
}

absl::Status TrainRun::LoadPolicy(const std::string& directory, bool weights_only) {
  auto tokenizer = ReadTokenizer(directory);
  if (!tokenizer.ok()) return tokenizer.status();
  tokenizer_ = *std::move(tokenizer);
  auto files = ReadTokenizerFiles(directory);
  if (!files.ok()) return files.status();
  for (const char* name : kSpecialTokenFiles) {
    const auto found = files->find(name);
    if (found != files->end()) tokenizer_configs_[name] = found->second;
  }
  if (!request_.policy_address.empty()) {
    auto remote = RemotePolicy::Connect(request_.policy_address);
    if (!remote.ok()) return remote.status();
    remote_ = *std::move(remote);
    UsePolicy(*remote_, *remote_);
    return learner_->LoadState(directory, weights_only);
  }
  auto local = LocalPolicy::CreateFromDirectory(directory, weights_only,
                                                LocalOptionsOf(config_, request_.threads));
  if (!local.ok()) return local.status();
  local_ = *std::move(local);
  UsePolicy(*local_, *local_);
  return absl::OkStatus();
}

void TrainRun::UsePolicy(Generator& generator, Learner& learner) {
  generator_ = &generator;
  learner_ = &learner;
  if (request_.metrics == nullptr) return;
  measured_ = std::make_unique<MeasuredPolicy>(generator, &learner, *request_.metrics);
  generator_ = measured_.get();
  learner_ = measured_.get();
}

absl::Status TrainRun::PreparePolicy() {
  if (!checkpoint_.empty()) return LoadPolicy(checkpoint_, /*weights_only=*/false);
  std::string base = config_.policy().model_dir();
  if (base.empty()) {
    BaseOptions options;
    options.threads = request_.threads;
    options.bases_directory = request_.bases_directory;
    if (options.bases_directory.empty()) {
      options.bases_directory =
          (fs::absolute(request_.out).lexically_normal().parent_path() / "bases").string();
    }
    options.stop = request_.stop;
    options.progress = events_.pretraining;
    auto prepared = PrepareBase(config_, options, &summary_.pretrain_s);
    if (!prepared.ok()) return prepared.status();
    base = *prepared;
    Log(LogLevel::kInfo, absl::StrCat("base ", base, ", pretraining ", summary_.pretrain_s, " s"));
  }
  absl::Status loaded = LoadPolicy(base, /*weights_only=*/true);
  if (!loaded.ok()) return loaded;
  return config_.learner().kl() == "none" ? absl::OkStatus() : learner_->ResetReference();
}

absl::Status TrainRun::OpenParts() {
  if (verifiers_ != nullptr) return absl::OkStatus();
  if (!request_.policy_address.empty()) {
    const absl::Status fit = CheckPolicyServer(request_.policy_address, config_);
    if (!fit.ok()) return fit;
  }
  auto verifiers = MakeVerifiers(VerifierSetups(config_), request_.verifier_address);
  if (!verifiers.ok()) return verifiers.status();
  verifiers_ = *std::move(verifiers);
  auto draw_task = MakeTaskDraw(config_);
  if (!draw_task.ok()) return draw_task.status();
  draw_task_ = *std::move(draw_task);
  auto evaluations = MakeEvaluations(config_);
  if (!evaluations.ok()) return evaluations.status();
  evaluations_ = *std::move(evaluations);
  return absl::OkStatus();
}

absl::Status TrainRun::StartWorkers() {
  const RolloutOptions rollout = RolloutOptionsOf(config_, run_id_);
  scheduler_ = std::make_unique<Scheduler>(SchedulerOptions(),
                                           [rollout](const GroupJob& job, const Group& group) {
                                             return CheckGroup(job, group, rollout);
                                           });
  if (request_.workers > 0) {
    LocalWorkersOptions options;
    options.workers = request_.workers;
    options.jobs_per_lease =
        (config_.rollout().prompts() + request_.workers - 1) / request_.workers;
    workers_ = std::make_unique<LocalWorkers>(*scheduler_, *generator_, *verifiers_, *tokenizer_,
                                              rollout, options);
  }
  if (request_.metrics != nullptr) {
    metrics_ = std::make_unique<TrainMetrics>(*request_.metrics, *scheduler_, *store_,
                                              config_.learner().iterations());
  }
  if (request_.listen.empty()) return absl::OkStatus();
  WorkerSetup setup;
  setup.rollout = rollout;
  setup.tokenizer_json = tokenizer_->json();
  setup.tokenizer_configs = tokenizer_configs_;
  setup.verifiers = VerifierSetups(config_);
  setup.policy_address = request_.policy_address;
  auto host = TrainHost::Start(request_.listen, *scheduler_, generator_, setup, request_.metrics);
  if (!host.ok()) return host.status();
  host_ = *std::move(host);
  Log(LogLevel::kInfo, absl::StrCat("listening at ", host_->address()));
  if (events_.listening) events_.listening(host_->address());
  return absl::OkStatus();
}

absl::Status TrainRun::EvaluateBefore(TrainLoop& loop) {
  const std::string path = directory_->File("evaluation_before.json");
  if (!checkpoint_.empty()) {
    auto text = ReadWholeFile(path);
    if (!text.ok()) return text.status();
    auto before = EvaluationSummary::FromJson(*text);
    if (!before.ok()) return before.status();
    summary_.before = *std::move(before);
    return absl::OkStatus();
  }
  VersionRecord version;
  auto info = learner_->Info();
  if (!info.ok()) return info.status();
  version.weights_hash = info->weights_hash;
  version.data_cursor = "{\"task_cursor\":0}";
  absl::Status put = store_->PutVersion(version);
  if (!put.ok()) return put;
  const double began = MonotonicSeconds();
  auto evaluations = loop.EvaluateInFull("before");
  if (!evaluations.ok()) return evaluations.status();
  summary_.eval_s += MonotonicSeconds() - began;
  LogEvaluation("before", *evaluations);
  if (!evaluations->empty()) summary_.before = EvaluationSummary::Of((*evaluations)[0]);
  absl::Status written = WriteFileAtomically(path, summary_.before.ToJson());
  if (!written.ok()) return written;
  return loop.SaveCheckpoint();
}

absl::Status TrainRun::EvaluateAfter(TrainLoop& loop) {
  const double began = MonotonicSeconds();
  auto evaluations = loop.EvaluateInFull("after");
  if (!evaluations.ok()) return evaluations.status();
  summary_.eval_s += MonotonicSeconds() - began;
  LogEvaluation("after", *evaluations);
  if (!evaluations->empty()) summary_.after = EvaluationSummary::Of((*evaluations)[0]);
  return WriteFileAtomically(directory_->File("evaluation_after.json"), summary_.after.ToJson());
}

absl::Status TrainRun::WriteSummary(const TrainLoop& loop) {
  auto info = learner_->Info();
  if (!info.ok()) return info.status();
  summary_.weights_hash = info->weights_hash;
  summary_.max_gap = loop.position().max_gap;
  summary_.train_s = loop.position().train_seconds;
  Json json;
  json["before"] = Json::parse(summary_.before.row_json, nullptr, false);
  json["after"] = Json::parse(summary_.after.row_json, nullptr, false);
  json["wall_s"] = {
      {"pretrain", summary_.pretrain_s}, {"train", summary_.train_s}, {"eval", summary_.eval_s}};
  json["max_generator_learner_gap"] = summary_.max_gap;
  json["weights_hash"] = summary_.weights_hash;
  json["iterations"] = loop.position().iteration;
  json["end"] = summary_.end == TrainEnd::kTimeLimit     ? "time_limit"
                : summary_.end == TrainEnd::kGoalReached ? "goal_reached"
                                                         : "finished";
  return WriteFileAtomically(directory_->File("summary.json"),
                             json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

absl::StatusOr<TrainSummary> TrainRun::Finished(const std::string& summary_json) {
  const Json json = Json::parse(summary_json, nullptr, false);
  if (!json.is_object()) return absl::DataLossError("summary.json is damaged; remove it");
  summary_.already_finished = true;
  summary_.weights_hash = json.value("weights_hash", "");
  summary_.max_gap = json.value("max_generator_learner_gap", 0.0);
  for (auto [file, summary] : {std::pair{"evaluation_before.json", &summary_.before},
                               std::pair{"evaluation_after.json", &summary_.after}}) {
    auto text = ReadWholeFile(directory_->File(file));
    if (!text.ok()) continue;
    auto parsed = EvaluationSummary::FromJson(*text);
    if (parsed.ok()) *summary = *std::move(parsed);
  }
  return summary_;
}

// What somebody else's absence ended can go on when they are back.
absl::Status TrainRun::WithResume(const absl::Status& error) const {
  if (!absl::IsUnavailable(error) && !absl::IsDeadlineExceeded(error)) return error;
  if (absl::StrContains(error.message(), "--resume")) return error;
  return absl::Status(error.code(),
                      absl::StrCat(error.message(),
                                   ". What is stored stays; continue with: hone train "
                                   "--resume ",
                                   request_.out));
}

void TrainRun::AddCurves() {
  for (const char* name :
       {"accuracy/mean", "completion/length_mean", "reflection/wait_per_completion"}) {
    auto values = store_->Metric(name);
    if (!values.ok()) continue;
    for (const auto& [iteration, value] : *values) summary_.curves[name].push_back(value);
  }
}

absl::Status TrainRun::Execute() {
  TrainParts parts;
  parts.generator = generator_;
  parts.learner = learner_;
  parts.verifiers = verifiers_.get();
  parts.tokenizer = tokenizer_.get();
  parts.draw_task = draw_task_;
  parts.evaluations = &evaluations_;
  parts.scheduler = scheduler_.get();
  parts.directory = directory_.get();
  parts.store = store_.get();
  TrainCallbacks callbacks;
  callbacks.evaluating = events_.evaluating;
  if (metrics_ != nullptr) {
    callbacks.group = [this](const Group& group) { metrics_->OnGroup(group); };
  }
  callbacks.warning = [this](const std::string& text) { Note(LogLevel::kWarning, text); };
  callbacks.iteration = [&](int64_t iteration, const std::map<std::string, double>& metrics) {
    LogIteration(iteration, metrics);
    if (metrics_ != nullptr) metrics_->OnIteration(iteration, metrics);
    if (events_.iteration) {
      events_.iteration(iteration, config_.learner().iterations(), metrics);
    }
  };
  TrainLoop loop(config_, run_id_, parts, callbacks);
  absl::Status before = EvaluateBefore(loop);
  if (!before.ok()) return before;
  auto end = loop.Run(position_, request_.stop);
  if (!end.ok()) return end.status();
  summary_.end = *end;
  AddCurves();
  if (*end == TrainEnd::kInterrupted) return absl::OkStatus();
  absl::Status after = EvaluateAfter(loop);
  if (!after.ok()) return after;
  return WriteSummary(loop);
}

// A config that names what is not there leaves no run behind: the mended one may have the name.
void TrainRun::ForgetDirectory() {
  log_.reset();
  store_.reset();
  directory_.reset();
  std::error_code error;
  fs::remove_all(request_.out, error);
}

absl::StatusOr<TrainSummary> TrainRun::Run() {
  auto summary = RunLogged();
  if (absl::IsInvalidArgument(summary.status()) && made_directory_ && !began_) {
    ForgetDirectory();
  } else if (!summary.ok()) {
    Log(LogLevel::kError, std::string(summary.status().message()));
  } else if (!summary->already_finished) {
    Log(LogLevel::kInfo, summary->end == TrainEnd::kInterrupted
                             ? "interrupted; the state is saved"
                             : absl::StrCat("finished, weights ", summary->weights_hash));
  }
  return summary;
}

absl::StatusOr<TrainSummary> TrainRun::RunLogged() {
  summary_.path = request_.out;
  // A new run whose policy or verifiers are not there, or must not be learned from, leaves nothing
  // behind.
  if (!fs::exists(request_.out + "/config.textproto")) {
    const absl::Status parts = OpenParts();
    if (!parts.ok()) return parts;
  }
  absl::Status opened = OpenDirectory();
  if (!opened.ok()) return opened;
  if (auto summary = ReadWholeFile(directory_->File("summary.json"));
      request_.resume && summary.ok() && !absl::StrContains(*summary, "\"time_limit\"")) {
    if (!fs::exists(directory_->File("store.sqlite"))) {
      return absl::NotFoundError(absl::StrCat(request_.out,
                                              " is finished, but its store.sqlite is "
                                              "not there any more"));
    }
    return Finished(*summary);
  }
  for (auto step : {&TrainRun::OpenParts, &TrainRun::FindCheckpoint, &TrainRun::OpenStore,
                    &TrainRun::PreparePolicy, &TrainRun::StartWorkers}) {
    absl::Status done = (this->*step)();
    if (!done.ok()) return done;
  }
  const std::string environment = EnvironmentJson();
  absl::Status written = WriteFileAtomically(directory_->File("env.json"), environment + "\n");
  if (!written.ok()) return written;
  AttemptRecord attempt;
  attempt.started = absl::Now();
  attempt.host = HostName();
  attempt.pid = getpid();
  attempt.environment_json = environment;
  auto number = store_->BeginAttempt(attempt);
  if (!number.ok()) return number.status();
  began_ = true;
  absl::Status executed = Execute();
  const std::string reason = !executed.ok() ? absl::StrCat("failed: ", executed.message())
                             : summary_.end == TrainEnd::kInterrupted ? "interrupted"
                                                                      : "finished";
  absl::Status ended = store_->EndAttempt(*number, absl::Now(), reason);
  if (!executed.ok()) return WithResume(executed);
  if (!ended.ok()) return ended;
  return std::move(summary_);
}

}  // namespace

absl::StatusOr<TrainSummary> RunTrain(const TrainRequest& request,
                                      const TrainProgressEvents& events) {
  TrainRun run(request, events);
  return run.Run();
}

}  // namespace hone
