// SPDX-License-Identifier: Apache-2.0
#include "services/clients/rollout_agent.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "policy/tokenizer/tokenizer.h"
#include "rollout/rollout_worker.h"
#include "services/clients/remote_policy.h"
#include "services/clients/remote_trainer.h"
#include "services/clients/remote_verifier.h"
#include "services/clients/verifier_spec.h"
#include "services/metrics/policy_metrics.h"
#include "services/metrics/verdict_metrics.h"
#include "services/rpc/channel.h"

namespace hone {
namespace {

constexpr absl::Duration kLeaseWait = absl::Seconds(5);
constexpr absl::Duration kLongestPause = absl::Seconds(5);

// Silence of the trainer, or a plea for time, as opposed to an answer of it.
bool IsSilence(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsResourceExhausted(status);
}

}  // namespace

class AgentWorker;

// What Prometheus is told, beside what the policy is asked for.
struct AgentMetrics {
  explicit AgentMetrics(MetricRegistry& into)
      : registry(into),
        verdicts(into),
        submissions(into.AddCounter("hone_rollout_submissions_total",
                                    "groups, by what the trainer made of them", {"result"})),
        registrations(*into.AddCounter("hone_rollout_registrations_total",
                                       "workers of this process registered with the trainer")) {}

  MetricRegistry& registry;
  VerdictMetrics verdicts;
  MetricFamily<Counter>& submissions;
  Counter& registrations;
};

// What all workers of an agent share.
struct AgentShared {
  RolloutAgentOptions options;
  rpc::CallSet stop;  // cancelled: leave
  std::mutex mutex;   // guards the log, counts and workers
  RolloutAgentCounts counts;
  std::vector<AgentWorker*> workers;
  std::unique_ptr<AgentMetrics> metrics;  // null where nobody counts

  void Log(const std::string& line) {
    std::lock_guard<std::mutex> lock(mutex);
    if (options.log) options.log(line);
  }
  // result: for hone_rollout_submissions_total.
  void Count(int64_t RolloutAgentCounts::*which, const char* result = nullptr) {
    if (metrics != nullptr && result != nullptr) metrics->submissions.With({result}).Add();
    std::lock_guard<std::mutex> lock(mutex);
    ++(counts.*which);
  }
};

struct RolloutAgent::State : AgentShared {};

// One registration at a time. Run is called once, by one thread.
class AgentWorker {
 public:
  AgentWorker(AgentShared& shared, int32_t index, std::unique_ptr<RemoteTrainer> trainer)
      : shared_(shared), index_(index), trainer_(std::move(trainer)), last_word_(absl::Now()) {}

  absl::Status Run() {
    while (!shared_.stop.cancelled()) {
      Registration registration;
      absl::Status status = Patiently([&]() -> absl::Status {
        auto registered =
            trainer_->Register(absl::StrCat(shared_.options.description, "/", index_));
        if (registered.ok()) registration = *std::move(registered);
        return registered.status();
      });
      if (!status.ok()) return status;
      if (registration.finished) return absl::OkStatus();
      shared_.Count(&RolloutAgentCounts::registrations);
      if (shared_.metrics != nullptr) shared_.metrics->registrations.Add();
      shared_.Log(absl::StrCat("registered as worker ", registration.worker));
      status = Serve(registration);
      if (!absl::IsNotFound(status) || !lost_) return status;
      shared_.Log("the trainer does not know this worker any more; registering again");
    }
    return absl::OkStatus();
  }

  // From any thread: breaks off whatever runs.
  void Cancel() {
    trainer_->Cancel();
    CancelWork();
  }

 private:
  // What one registration works with.
  struct Session {
    std::string worker;
    WorkerSetup setup;
    std::unique_ptr<Tokenizer> tokenizer;
    std::shared_ptr<RemotePolicy> policy;
    std::unique_ptr<MeasuredPolicy> measured;  // it, where metrics are on
    VerifierPool verifiers;
    rpc::CallSet over;  // cancelled when the session ends
  };

  // Calls until the trainer answers; UNAVAILABLE when it was silent for too long.
  absl::Status Patiently(const std::function<absl::Status()>& call) {
    absl::Duration pause = absl::Milliseconds(100);
    bool told = false;
    for (;;) {
      if (shared_.stop.cancelled()) return absl::CancelledError("the worker is leaving");
      const absl::Status status = call();
      if (!IsSilence(status)) {
        last_word_ = absl::Now();
        if (!absl::IsCancelled(status)) silent_ = false;
        return status;
      }
      silent_ = !absl::IsResourceExhausted(status);
      const absl::Duration silent = absl::Now() - last_word_.load();
      if (silent > shared_.options.patience) {
        return absl::UnavailableError(
            absl::StrCat("the trainer at ", shared_.options.trainer, " has not answered for ",
                         absl::FormatDuration(silent), ": ", status.message()));
      }
      if (!std::exchange(told, true) && !shared_.stop.cancelled()) {
        shared_.Log(absl::StrCat("the trainer at ", shared_.options.trainer, " does not answer (",
                                 status.message(), "); asking again for ",
                                 absl::FormatDuration(absl::Trunc(shared_.options.patience - silent,
                                                                  absl::Seconds(1)))));
      }
      shared_.stop.Sleep(pause);
      pause = std::min(pause * 2, absl::Seconds(2));
    }
  }

  absl::Status AddVerifier(const VerifierSetup& wanted, VerifierPool* pool) {
    const auto spec = ParseVerifierSpec(wanted.verifier);
    if (!spec.ok()) return spec.status();
    if (!shared_.options.verifier.empty()) {
      auto remote = RemoteVerifier::Connect(shared_.options.verifier,
                                            spec->custom() ? wanted.name : wanted.verifier,
                                            spec->custom() ? VerifierOptions() : wanted.options);
      if (!remote.ok()) return remote.status();
      pool->Add(wanted.name, *std::move(remote));
      return absl::OkStatus();
    }
    if (spec->runs_programs() && !shared_.options.run_custom) {
      return absl::FailedPreconditionError(
          absl::StrCat("the trainer asks to run \"", wanted.verifier,
                       "\" here; allow it with --run-custom, or name a service that has it with "
                       "--verifier"));
    }
    auto local = OpenVerifier(wanted.verifier, wanted.options);
    if (!local.ok()) return local.status();
    pool->Add(wanted.name, *std::move(local));
    return absl::OkStatus();
  }

  absl::Status Prepare(Session* session) {
    TokenizerFiles files = session->setup.tokenizer_configs;
    files["tokenizer.json"] = session->setup.tokenizer_json;
    auto tokenizer = ParseTokenizerFiles(files);
    if (!tokenizer.ok()) return tokenizer.status();
    session->tokenizer = *std::move(tokenizer);
    for (const VerifierSetup& wanted : session->setup.verifiers) {
      const absl::Status added = AddVerifier(wanted, &session->verifiers);
      if (!added.ok()) return added;
    }
    std::string address = shared_.options.policy;
    if (address.empty()) address = session->setup.policy_address;
    if (address.empty()) address = shared_.options.trainer;
    auto policy = RemotePolicy::Connect(address);
    if (!policy.ok()) return policy.status();
    session->policy = *std::move(policy);
    std::lock_guard<std::mutex> lock(work_mutex_);
    policy_ = session->policy;
    return absl::OkStatus();
  }

  // Ends with OK (the run is over, or Stop), NOT_FOUND with lost_ (register again), or an error.
  absl::Status Serve(const Registration& registration) {
    Session session;
    session.worker = registration.worker;
    session.setup = registration.setup;
    session.setup.rollout.verify_threads = shared_.options.threads;
    lost_ = false;
    absl::Status status = Prepare(&session);
    if (status.ok()) {
      std::thread heart([&] { Beat(session); });
      status = Work(session);
      session.over.Cancel();
      heart.join();
    }
    // Not to a trainer that was silent just now: the goodbye would wait for it.
    const bool silent = absl::IsUnavailable(status) || silent_.load();
    if (!silent && !lost_) (void)trainer_->Deregister(session.worker);
    return status;
  }

  void Beat(Session& session) {
    while (session.over.Sleep(session.setup.heartbeat)) {
      const auto finished = trainer_->Heartbeat(session.worker);
      if (!IsSilence(finished.status())) last_word_ = absl::Now();
      if (finished.ok() && *finished) {
        session.over.Cancel();
        CancelWork();
      }
    }
  }

  void CancelWork() {
    std::lock_guard<std::mutex> lock(work_mutex_);
    if (policy_ != nullptr) policy_->Cancel();
  }

  // The lease loop of the session.
  absl::Status Work(Session& session) {
    Generator* generator = session.policy.get();
    if (shared_.metrics != nullptr) {
      session.measured =
          std::make_unique<MeasuredPolicy>(*session.policy, nullptr, shared_.metrics->registry);
      generator = session.measured.get();
    }
    RolloutWorker worker(*generator, session.verifiers, *session.tokenizer, session.setup.rollout);
    absl::Duration pause = absl::Milliseconds(200);
    while (!session.over.cancelled() && !shared_.stop.cancelled()) {
      LeasedJobs leased;
      absl::Status status = Patiently([&]() -> absl::Status {
        auto jobs = trainer_->LeaseJobs(session.worker, session.setup.jobs_per_lease, kLeaseWait);
        if (jobs.ok()) leased = *std::move(jobs);
        return jobs.status();
      });
      if (!status.ok()) return Ended(status);
      if (leased.finished) return absl::OkStatus();
      if (leased.leases.empty()) continue;
      bool made = false;
      status = MakeAndSubmit(session, worker, leased.leases, &made);
      if (!status.ok()) return Ended(status);
      // A machine that cannot work must not use up the jobs' attempts in a hurry.
      if (!made && !session.over.Sleep(pause)) break;
      pause = made ? absl::Milliseconds(200) : std::min(pause * 2, kLongestPause);
    }
    return absl::OkStatus();
  }

  absl::Status Ended(const absl::Status& status) {
    if (absl::IsNotFound(status)) lost_ = true;
    return status;
  }

  // All leases in one batch; one by one when that fails, to find the one that is to blame.
  // `made`: at least one group was submitted.
  absl::Status MakeAndSubmit(Session& session, RolloutWorker& worker,
                             const std::vector<Lease>& leases, bool* made) {
    std::vector<GroupJob> jobs;
    for (const Lease& lease : leases) jobs.push_back(lease.job);
    auto groups = worker.RunGroups(jobs);
    const bool whole = groups.ok() && groups->size() == leases.size();
    for (size_t i = 0; i < leases.size(); ++i) {
      if (session.over.cancelled()) return absl::OkStatus();
      absl::StatusOr<Group> group = absl::InternalError("no group was made");
      if (whole) {
        group = std::move((*groups)[i]);
      } else if (leases.size() > 1 && !absl::IsUnavailable(groups.status())) {
        group = worker.RunGroup(leases[i].job);
      } else if (!groups.ok()) {
        group = groups.status();
      }
      const absl::Status status = Hand(session, leases[i].id, group, made);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // Submits a group, or reports why there is none.
  absl::Status Hand(Session& session, uint64_t lease, const absl::StatusOr<Group>& group,
                    bool* made) {
    if (session.over.cancelled()) return absl::OkStatus();
    absl::Status why = group.status();
    if (group.ok()) {
      if (shared_.metrics != nullptr) shared_.metrics->verdicts.Count(*group);
      const absl::Status sent = Patiently([&] {
        const absl::Status submitted = trainer_->Submit(session.worker, lease, *group);
        // Too large is an answer, not a request to wait.
        if (!absl::IsResourceExhausted(submitted)) return submitted;
        return absl::OutOfRangeError(submitted.message());
      });
      if (sent.ok()) {
        *made = true;
        shared_.Count(&RolloutAgentCounts::submitted, "submitted");
        return sent;
      }
      if (absl::IsNotFound(sent) || absl::IsUnavailable(sent) || absl::IsCancelled(sent)) {
        return sent;
      }
      shared_.Count(&RolloutAgentCounts::rejected, "rejected");
      shared_.Log(absl::StrCat("the trainer refused a group: ", sent.message()));
      why = sent;
    } else {
      shared_.Count(&RolloutAgentCounts::failed, "failed");
      shared_.Log(absl::StrCat("a group could not be made: ", why.message()));
    }
    return Patiently([&] { return trainer_->Fail(session.worker, lease, why); });
  }

  AgentShared& shared_;
  const int32_t index_;
  std::unique_ptr<RemoteTrainer> trainer_;
  std::atomic<absl::Time> last_word_;
  std::atomic<bool> lost_{false};
  std::atomic<bool> silent_{false};  // the last call got no answer
  std::mutex work_mutex_;
  std::shared_ptr<RemotePolicy> policy_;  // of the session
};

RolloutAgent::RolloutAgent(RolloutAgentOptions options) : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
  if (state_->options.metrics != nullptr) {
    state_->metrics = std::make_unique<AgentMetrics>(*state_->options.metrics);
  }
}
RolloutAgent::~RolloutAgent() = default;

absl::Status RolloutAgent::Run() {
  const RolloutAgentOptions& options = state_->options;
  if (options.workers < 1 || options.workers > 256 || options.threads < 1 ||
      options.threads > 256) {
    return absl::InvalidArgumentError("workers and threads must be in [1, 256]");
  }
  std::vector<std::unique_ptr<AgentWorker>> workers;
  for (int32_t i = 0; i < options.workers; ++i) {
    auto trainer = RemoteTrainer::Connect(options.trainer);
    if (!trainer.ok()) return trainer.status();
    workers.push_back(std::make_unique<AgentWorker>(*state_, i, *std::move(trainer)));
  }
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    for (const auto& worker : workers) state_->workers.push_back(worker.get());
  }
  if (state_->stop.cancelled()) Stop();
  absl::Status first;
  std::mutex first_mutex;
  std::vector<std::thread> threads;
  for (const auto& worker : workers) {
    threads.emplace_back([&, one = worker.get()] {
      const absl::Status status = one->Run();
      if (status.ok() || absl::IsCancelled(status)) return;
      std::lock_guard<std::mutex> lock(first_mutex);
      if (first.ok()) first = status;
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::lock_guard<std::mutex> lock(state_->mutex);
  state_->workers.clear();
  return first;
}

void RolloutAgent::Stop() {
  state_->stop.Cancel();
  std::lock_guard<std::mutex> lock(state_->mutex);
  for (AgentWorker* worker : state_->workers) worker->Cancel();
}

RolloutAgentCounts RolloutAgent::counts() const {
  std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->counts;
}

}  // namespace hone
