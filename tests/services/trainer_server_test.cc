// SPDX-License-Identifier: Apache-2.0
#include "services/servers/trainer_server.h"

#include <thread>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "services/clients/remote_trainer.h"
#include "services/clients/rollout_agent.h"
#include "services/servers/policy_server.h"
#include "services/servers/verifier_server.h"
#include "tests/rollout/rollout_testing.h"
#include "tests/services/serving.h"

namespace hone {
namespace {

// A trainer's process: scheduler, policy and jobs behind one address.
struct Trainer {
  explicit Trainer(absl::Duration lease = absl::Seconds(20)) : lease_time(lease) { Restart(); }
  ~Trainer() { server_stop(); }

  // As a process that comes back: nothing of the old workers is known.
  void Restart() {
    server_stop();
    scheduler = std::make_unique<Scheduler>(SchedulerOptions{lease_time, 5, 64},
                                            [this](const GroupJob& job, const Group& group) {
                                              return CheckGroup(job, group, world.options);
                                            });
    WorkerSetup setup;
    setup.rollout = world.options;
    setup.tokenizer_json = world.tokenizer->json();
    setup.verifiers = {{"exact", "exact", {}}};
    setup.heartbeat = absl::Milliseconds(50);
    setup.jobs_per_lease = 2;
    EXPECT_TRUE(CheckWorkerSetup(setup).ok()) << CheckWorkerSetup(setup);
    policy =
        std::make_unique<PolicyServer>(BorrowPolicy(&world.policy, nullptr), PolicyServerOptions());
    jobs = std::make_unique<TrainerServer>(*scheduler, setup, [] { return RunStatus{3, 0}; });
    serving_start();
  }
  void server_stop() { server.reset(); }
  void serving_start() {
    auto started = rpc::Server::Start({address()}, {jobs->service(), policy->service()});
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
  }
  std::string address() const { return "unix:" + (directory / "trainer"); }

  // What a worker in this process would make with the real verifier.
  std::vector<std::string> Expected(uint64_t count) {
    VerifierPool pool;
    pool.Add("exact", *MakeVerifier("exact", {}));
    RolloutWorker worker(world.policy, pool, *world.tokenizer, world.options);
    std::vector<std::string> prints;
    for (const GroupJob& job : world.Jobs(count)) {
      auto group = worker.RunGroup(job);
      EXPECT_TRUE(group.ok()) << group.status();
      prints.push_back(Fingerprint(*group));
    }
    return prints;
  }
  absl::StatusOr<std::vector<std::string>> RunBatch(uint64_t count) {
    auto groups = scheduler->RunBatch(world.Jobs(count), [](const Group&) {});
    if (!groups.ok()) return groups.status();
    std::vector<std::string> prints;
    for (const Group& group : *groups) prints.push_back(Fingerprint(group));
    return prints;
  }

  absl::Duration lease_time;
  World world;
  TestDirectory directory;
  std::unique_ptr<Scheduler> scheduler;
  std::unique_ptr<PolicyServer> policy;
  std::unique_ptr<TrainerServer> jobs;
  std::unique_ptr<rpc::Server> server;
};

// `hone rollout` in a thread.
struct Agent {
  explicit Agent(RolloutAgentOptions options) : agent(std::move(options)) {
    thread = std::thread([this] {
      status = agent.Run();
      done = true;
    });
  }
  ~Agent() {
    agent.Stop();
    (void)Join();
  }
  absl::Status Join() {
    if (thread.joinable()) thread.join();
    return status;
  }
  RolloutAgent agent;
  std::atomic<bool> done{false};
  absl::Status status;
  std::thread thread;
};

RolloutAgentOptions AgentOptions(const Trainer& trainer) {
  RolloutAgentOptions options;
  options.trainer = trainer.address();
  options.patience = absl::Seconds(15);
  options.description = "test";
  return options;
}

template <typename Condition>
bool Eventually(const Condition& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return false;
}

std::unique_ptr<RemoteTrainer> Connect(const Trainer& trainer) {
  auto client = RemoteTrainer::Connect(trainer.address());
  EXPECT_TRUE(client.ok());
  return *std::move(client);
}

TEST(RolloutAgent, MakesTheGroupsThatAWorkerInTheTrainersProcessWouldMake) {
  Trainer trainer;
  RolloutAgentOptions options = AgentOptions(trainer);
  options.workers = 3;
  options.threads = 2;
  Agent agent(options);
  const auto prints = trainer.RunBatch(12);
  ASSERT_TRUE(prints.ok()) << prints.status();
  EXPECT_EQ(*prints, trainer.Expected(12));
  EXPECT_EQ(agent.agent.counts().rejected, 0);
  trainer.jobs->Finish(absl::Seconds(10));
  EXPECT_TRUE(agent.Join().ok()) << agent.status;
  EXPECT_EQ(trainer.scheduler->counts().workers, 0) << "they said goodbye";
}

TEST(RolloutAgent, ExitsInPeaceWhenTheRunIsOverBeforeItCame) {
  Trainer trainer;
  trainer.jobs->Finish(absl::ZeroDuration());
  Agent agent(AgentOptions(trainer));
  EXPECT_TRUE(agent.Join().ok()) << agent.status;
}

TEST(RolloutAgent, GivesUpOnATrainerThatNeverAnswers) {
  TestDirectory directory;
  RolloutAgentOptions options;
  options.trainer = "unix:" + (directory / "nobody");
  options.patience = absl::Milliseconds(300);
  RolloutAgent agent(options);
  const absl::Time start = absl::Now();
  EXPECT_EQ(agent.Run().code(), absl::StatusCode::kUnavailable);
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST(RolloutAgent, RegistersAgainWithATrainerThatWasRestarted) {
  Trainer trainer;
  Agent agent(AgentOptions(trainer));
  ASSERT_TRUE(trainer.RunBatch(2).ok());
  trainer.Restart();
  const auto prints = trainer.RunBatch(4);
  ASSERT_TRUE(prints.ok()) << prints.status();
  EXPECT_EQ(*prints, trainer.Expected(4));
  EXPECT_GE(agent.agent.counts().registrations, 2);
  EXPECT_FALSE(agent.done);
}

TEST(RolloutAgent, ALeaseOfAWorkerThatDiedGoesToAnother) {
  Trainer trainer(absl::Milliseconds(300));
  // A worker that takes jobs and is never heard of again.
  const auto dead = Connect(trainer);
  const auto registration = dead->Register("dead");
  ASSERT_TRUE(registration.ok()) << registration.status();
  std::thread taker([&] {
    const auto leased = dead->LeaseJobs(registration->worker, 2, absl::Seconds(5));
    EXPECT_TRUE(leased.ok() && leased->leases.size() == 2) << leased.status();
  });
  std::unique_ptr<Agent> agent;
  std::thread starter([&] {
    taker.join();
    agent = std::make_unique<Agent>(AgentOptions(trainer));
  });
  const auto prints = trainer.RunBatch(4);
  starter.join();
  ASSERT_TRUE(prints.ok()) << prints.status();
  EXPECT_EQ(*prints, trainer.Expected(4));
  EXPECT_GE(trainer.scheduler->counts().expired, 2);
}

TEST(RolloutAgent, HeartbeatsKeepALeaseOverALongGeneration) {
  Trainer trainer(absl::Milliseconds(400));
  trainer.world.policy.OnGenerate([](int call) {
    if (call == 0) absl::SleepFor(absl::Milliseconds(1200));
    return absl::OkStatus();
  });
  Agent agent(AgentOptions(trainer));
  const auto prints = trainer.RunBatch(1);
  ASSERT_TRUE(prints.ok()) << prints.status();
  EXPECT_EQ(trainer.scheduler->counts().expired, 0);
  EXPECT_EQ(trainer.scheduler->counts().submitted, 1);
}

TEST(RolloutAgent, StopGivesItsJobsBackAtOnce) {
  Trainer trainer(absl::Seconds(60));
  std::atomic<bool> arrived{false}, open{false};
  trainer.world.policy.OnGenerate([&](int call) {
    arrived = true;
    while (call == 0 && !open) absl::SleepFor(absl::Milliseconds(5));
    return absl::OkStatus();
  });
  auto first = std::make_unique<Agent>(AgentOptions(trainer));
  absl::StatusOr<std::vector<std::string>> prints = absl::UnknownError("");
  std::thread batch([&] { prints = trainer.RunBatch(2); });
  ASSERT_TRUE(Eventually([&] { return arrived.load(); }));
  const absl::Time start = absl::Now();
  first->agent.Stop();
  EXPECT_TRUE(first->Join().ok()) << first->status;
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  Agent second(AgentOptions(trainer));
  batch.join();
  open = true;
  EXPECT_TRUE(prints.ok()) << prints.status();
}

TEST(RolloutAgent, APolicyThatFailsOnceCostsAnAttemptAndNotTheRun) {
  Trainer trainer;
  trainer.world.policy.OnGenerate(
      [](int call) { return call == 0 ? absl::InternalError("a bad day") : absl::OkStatus(); });
  Agent agent(AgentOptions(trainer));
  const auto prints = trainer.RunBatch(2);
  ASSERT_TRUE(prints.ok()) << prints.status();
  EXPECT_EQ(*prints, trainer.Expected(2));
}

TEST(RolloutAgent, JudgesWithTheVerifierServiceItWasGiven) {
  Trainer trainer;
  auto fake = std::make_shared<FakeVerifier>(JudgeFirstWord);
  VerifierPool pool;
  pool.Add("exact", fake);
  VerifierServer server(pool, nullptr);
  Serving serving({server.service()});
  RolloutAgentOptions options = AgentOptions(trainer);
  options.verifier = serving.address();
  Agent agent(options);
  ASSERT_TRUE(trainer.RunBatch(2).ok());
  EXPECT_GE(fake->calls(), 1);
}

TEST(RolloutAgent, AVerifierThatThisBuildLacksEndsItWithItsName) {
  Trainer trainer;
  FakeVerifier unused;
  VerifierPool empty;
  VerifierServer server(empty, nullptr);
  Serving serving({server.service()});
  RolloutAgentOptions options = AgentOptions(trainer);
  options.verifier = serving.address();
  Agent agent(options);
  EXPECT_EQ(agent.Join().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(Eventually([&] { return trainer.scheduler->counts().workers == 0; }));
}

// Leases one job by hand and makes its group.
struct ByHand {
  explicit ByHand(Trainer& t) : trainer(t), client(Connect(t)) {
    registration = *client->Register("hand");
    batch = std::thread([this] { result = trainer.RunBatch(1); });
    auto leased = client->LeaseJobs(registration.worker, 1, absl::Seconds(5));
    EXPECT_TRUE(leased.ok()) << leased.status();
    EXPECT_EQ(leased->leases.size(), 1u);
    lease = leased->leases.at(0);
    VerifierPool pool;
    pool.Add("exact", *MakeVerifier("exact", {}));
    RolloutWorker worker(t.world.policy, pool, *t.world.tokenizer, t.world.options);
    group = *worker.RunGroup(lease.job);
  }
  ~ByHand() {
    trainer.scheduler->Cancel();
    batch.join();
  }
  Trainer& trainer;
  std::unique_ptr<RemoteTrainer> client;
  Registration registration;
  Lease lease;
  Group group;
  std::thread batch;
  absl::StatusOr<std::vector<std::string>> result = absl::UnknownError("");
};

TEST(TrainerServer, RejectsAGroupThatDoesNotAnswerItsJob) {
  Trainer trainer;
  ByHand hand(trainer);
  Group forged = hand.group;
  forged.trajectories[0].reward.total += 1;
  EXPECT_EQ(hand.client->Submit(hand.registration.worker, hand.lease.id, forged).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(trainer.scheduler->counts().rejected, 1);
  EXPECT_EQ(trainer.scheduler->counts().submitted, 0);
}

TEST(TrainerServer, RejectsAMalformedGroupAndFreesItsLease) {
  Trainer trainer;
  ByHand hand(trainer);
  Group malformed = hand.group;
  malformed.trajectories[0].entropy.pop_back();
  EXPECT_EQ(hand.client->Submit(hand.registration.worker, hand.lease.id, malformed).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(trainer.scheduler->counts().failed, 1);
}

TEST(TrainerServer, AGroupSubmittedTwiceCountsOnce) {
  Trainer trainer;
  ByHand hand(trainer);
  EXPECT_TRUE(hand.client->Submit(hand.registration.worker, hand.lease.id, hand.group).ok());
  EXPECT_TRUE(hand.client->Submit(hand.registration.worker, hand.lease.id, hand.group).ok());
  EXPECT_EQ(trainer.scheduler->counts().submitted, 1);
  EXPECT_EQ(trainer.scheduler->counts().duplicates, 1);
}

TEST(TrainerServer, AGroupLargerThanAMessageArrivesWhole) {
  Trainer trainer;
  ByHand hand(trainer);
  // Evidence is not part of what follows from the job, so it may be as large as a verdict's.
  for (Trajectory& trajectory : hand.group.trajectories) {
    trajectory.segments.back().text.resize(trajectory.segments.back().text.size());
    trajectory.verdict.evidence["stderr"].assign(1000000, 'x');
    trajectory.backend.assign(4000, 'b');
  }
  for (Trajectory& trajectory : hand.group.trajectories) {
    trajectory.segments[0].text.assign(5 << 20, 'p');
  }
  EXPECT_TRUE(hand.client->Submit(hand.registration.worker, hand.lease.id, hand.group).ok());
  EXPECT_EQ(trainer.scheduler->counts().submitted, 1);
}

TEST(TrainerServer, DoesNotKnowAStranger) {
  Trainer trainer;
  const auto client = Connect(trainer);
  EXPECT_EQ(client->Heartbeat("nobody").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(client->LeaseJobs("nobody", 1, absl::ZeroDuration()).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(TrainerServer, TellsItsStatus) {
  Trainer trainer;
  const auto client = Connect(trainer);
  ASSERT_TRUE(client->Register("a").ok());
  const auto status = client->GetStatus();
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->run_id, trainer.world.options.run_id);
  EXPECT_EQ(status->iteration, 3);
  EXPECT_EQ(status->counts.workers, 1);
  EXPECT_FALSE(status->finished);
}

TEST(TrainerServer, WaitsForJobsOnlyAsLongAsAsked) {
  Trainer trainer;
  const auto client = Connect(trainer);
  const auto registration = client->Register("a");
  const absl::Time start = absl::Now();
  const auto leased = client->LeaseJobs(registration->worker, 1, absl::Milliseconds(300));
  ASSERT_TRUE(leased.ok());
  EXPECT_TRUE(leased->leases.empty());
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(290));
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

TEST(TrainerServer, FinishReachesAWorkerThatWaitsForJobs) {
  Trainer trainer;
  const auto client = Connect(trainer);
  const auto registration = client->Register("a");
  std::thread finisher([&] {
    absl::SleepFor(absl::Milliseconds(100));
    trainer.jobs->Finish(absl::ZeroDuration());
  });
  const auto leased = client->LeaseJobs(registration->worker, 1, absl::Seconds(9));
  finisher.join();
  ASSERT_TRUE(leased.ok()) << leased.status();
  EXPECT_TRUE(leased->finished);
  EXPECT_TRUE(*client->Heartbeat(registration->worker));
}

}  // namespace
}  // namespace hone
