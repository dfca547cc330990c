// SPDX-License-Identifier: Apache-2.0
#include "rollout/scheduler.h"

#include <cmath>
#include <limits>
#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "rollout/local_workers.h"
#include "tests/rollout/rollout_testing.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

// A scheduler with a batch of the world's jobs running on another thread.
struct Office {
  explicit Office(uint64_t jobs, absl::Duration lease = absl::Seconds(60), int max_attempts = 5)
      : scheduler({lease, max_attempts, 8}, [this](const GroupJob& job, const Group& group) {
          return CheckGroup(job, group, world.options);
        }) {
    batch = std::thread([this, jobs] {
      result = scheduler.RunBatch(world.Jobs(jobs), [this](const Group& group) {
        arrived.push_back(group.key.group_ordinal);
      });
    });
  }
  ~Office() {
    scheduler.Cancel();
    if (batch.joinable()) batch.join();
  }

  std::vector<Lease> Take(const std::string& worker, int32_t limit) {
    absl::StatusOr<std::vector<Lease>> leases =
        scheduler.LeaseJobs(worker, limit, absl::Seconds(10));
    EXPECT_TRUE(leases.ok()) << leases.status();
    return leases.ok() ? *leases : std::vector<Lease>();
  }
  Group Make(const GroupJob& job) {
    absl::StatusOr<Group> group = world.Worker().RunGroup(job);
    EXPECT_TRUE(group.ok()) << group.status();
    return *group;
  }

  World world;
  Scheduler scheduler;
  std::vector<uint64_t> arrived;
  absl::StatusOr<std::vector<Group>> result;
  std::thread batch;
};

std::string Fingerprints(const std::vector<Group>& groups) {
  std::string text;
  for (const Group& group : groups) absl::StrAppend(&text, Fingerprint(group), "\n");
  return text;
}

std::string Expected(uint64_t jobs) {
  World world;
  return Fingerprints(*world.Worker().RunGroups(world.Jobs(jobs)));
}

TEST(Scheduler, GroupsComeOutInJobOrderWheneverTheyArrive) {
  Office office(5);
  const std::string worker = *office.scheduler.Register("w");
  std::vector<Lease> leases = office.Take(worker, 5);
  ASSERT_EQ(leases.size(), 5u);
  for (size_t i = 5; i-- > 0;) {
    EXPECT_TRUE(office.scheduler.Submit(worker, leases[i].id, office.Make(leases[i].job)).ok());
  }
  office.batch.join();
  ASSERT_TRUE(office.result.ok()) << office.result.status();
  EXPECT_EQ(Fingerprints(*office.result), Expected(5));
  EXPECT_EQ(office.arrived.size(), 5u);
  EXPECT_EQ(std::set<uint64_t>(office.arrived.begin(), office.arrived.end()).size(), 5u);
}

TEST(Scheduler, ADeadWorkersLeaseGoesToAnotherAndTheResultIsTheSame) {
  Office office(3, absl::Milliseconds(150));
  const std::string dead = *office.scheduler.Register("dies");
  const std::vector<Lease> lost = office.Take(dead, 2);
  ASSERT_EQ(lost.size(), 2u);
  const std::string alive = *office.scheduler.Register("lives");
  while (office.scheduler.counts().submitted < 3) {
    const auto leases = office.scheduler.LeaseJobs(alive, 3, absl::Milliseconds(20));
    ASSERT_TRUE(leases.ok()) << leases.status();
    for (const Lease& lease : *leases) {
      EXPECT_TRUE(office.scheduler.Submit(alive, lease.id, office.Make(lease.job)).ok());
    }
  }
  office.batch.join();
  ASSERT_TRUE(office.result.ok()) << office.result.status();
  EXPECT_EQ(Fingerprints(*office.result), Expected(3));
  EXPECT_GE(office.scheduler.counts().expired, 2);
  // It comes back from the dead: ignored, counted, no error.
  EXPECT_TRUE(office.scheduler.Submit(dead, lost[0].id, office.Make(lost[0].job)).ok());
  EXPECT_GE(office.scheduler.counts().duplicates, 1);
}

TEST(Scheduler, HeartbeatsKeepALeaseAlive) {
  Office office(1, absl::Milliseconds(500));
  const std::string worker = *office.scheduler.Register("slow");
  const std::vector<Lease> leases = office.Take(worker, 1);
  for (int i = 0; i < 15; ++i) {
    absl::SleepFor(absl::Milliseconds(50));
    EXPECT_TRUE(office.scheduler.Heartbeat(worker).ok());
  }
  EXPECT_TRUE(office.scheduler.Submit(worker, leases[0].id, office.Make(leases[0].job)).ok());
  office.batch.join();
  EXPECT_TRUE(office.result.ok());
  EXPECT_EQ(office.scheduler.counts().expired, 0);
}

TEST(Scheduler, ANonsenseGroupIsRejectedAndItsJobGoesToAnother) {
  Office office(1);
  const std::string liar = *office.scheduler.Register("liar");
  const std::string honest = *office.scheduler.Register("honest");
  const std::vector<Lease> first = office.Take(liar, 1);
  Group nonsense = office.Make(first[0].job);
  nonsense.trajectories[0].reward.total = 100;
  const absl::Status rejected = office.scheduler.Submit(liar, first[0].id, nonsense);
  EXPECT_EQ(rejected.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(rejected.message()), HasSubstr("does not follow from its verdict"));
  EXPECT_TRUE(office.scheduler.LeaseJobs(liar, 1, absl::ZeroDuration())->empty())
      << "the one who failed is asked last";
  const std::vector<Lease> second = office.Take(honest, 1);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_TRUE(office.scheduler.Submit(honest, second[0].id, office.Make(second[0].job)).ok());
  office.batch.join();
  ASSERT_TRUE(office.result.ok());
  EXPECT_EQ(Fingerprints(*office.result), Expected(1));
  EXPECT_EQ(office.scheduler.counts().rejected, 1);
}

TEST(Scheduler, AJobThatFailsTooOftenEndsTheBatchWithItsLastError) {
  Office office(2, absl::Seconds(60), 3);
  const std::string worker = *office.scheduler.Register("w");
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const std::vector<Lease> leases = office.Take(worker, 1);
    ASSERT_EQ(leases.size(), 1u);
    EXPECT_EQ(leases[0].job.key.group_ordinal, 0u);
    EXPECT_TRUE(
        office.scheduler
            .Fail(worker, leases[0].id, absl::OutOfRangeError(absl::StrCat("reason ", attempt)))
            .ok());
  }
  office.batch.join();
  EXPECT_EQ(office.result.status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(office.result.status().message()), HasSubstr("reason 3"));
  EXPECT_EQ(office.scheduler.counts().failed, 3);
}

TEST(Scheduler, AWorkerThatLeavesGivesItsJobsBack) {
  Office office(1);
  const std::string leaver = *office.scheduler.Register("leaves");
  ASSERT_EQ(office.Take(leaver, 1).size(), 1u);
  office.scheduler.Deregister(leaver);
  EXPECT_EQ(office.scheduler.Heartbeat(leaver).code(), absl::StatusCode::kNotFound);
  const std::string other = *office.scheduler.Register("other");
  const std::vector<Lease> leases = office.Take(other, 1);
  ASSERT_EQ(leases.size(), 1u);
  EXPECT_TRUE(office.scheduler.Submit(other, leases[0].id, office.Make(leases[0].job)).ok());
}

TEST(Scheduler, CancelEndsTheBatchAndWaitingLeases) {
  Office office(1);
  const std::string one = *office.scheduler.Register("one");
  const std::string two = *office.scheduler.Register("two");
  ASSERT_EQ(office.Take(one, 1).size(), 1u);
  absl::Status waited;
  std::thread waiting(
      [&] { waited = office.scheduler.LeaseJobs(two, 1, absl::Seconds(60)).status(); });
  absl::SleepFor(absl::Milliseconds(20));
  office.scheduler.Cancel();
  waiting.join();
  office.batch.join();
  EXPECT_EQ(waited.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(office.result.status().code(), absl::StatusCode::kCancelled);
}

TEST(Scheduler, ABatchThatWaitsSaysSoAndCanBeGivenUpWithoutLosingWhatArrived) {
  World world;
  Scheduler scheduler({absl::Seconds(60), 5, 8, absl::Milliseconds(5)}, nullptr);
  const std::string worker = *scheduler.Register("one");
  std::vector<uint64_t> arrived;
  std::vector<BatchWait> waits;
  std::thread work([&] {
    const auto leases = scheduler.LeaseJobs(worker, 2, absl::Seconds(10));
    ASSERT_EQ(leases->size(), 2u);
    ASSERT_TRUE(scheduler.Submit(worker, (*leases)[0].id, Group()).ok());
    scheduler.Deregister(worker);  // with a job in hand
  });
  const auto groups = scheduler.RunBatch(
      world.Jobs(3), [&](const Group&) { arrived.push_back(0); },
      [&](const BatchWait& wait) {
        waits.push_back(wait);
        const bool left = wait.workers == 0 && wait.jobs_open == 2;
        return left ? absl::CancelledError("given up") : absl::OkStatus();
      });
  work.join();
  EXPECT_EQ(groups.status(), absl::CancelledError("given up"));
  EXPECT_EQ(arrived.size(), 1u);
  EXPECT_EQ(waits.front().jobs_open, 3u);
  EXPECT_GE(waits.back().silence, absl::ZeroDuration());
  // The next batch is not touched by it.
  const auto next = scheduler.RunBatch(
      world.Jobs(1), [](const Group&) {},
      [](const BatchWait& wait) {
        return wait.silence < absl::Milliseconds(30) ? absl::OkStatus()
                                                     : absl::UnavailableError("nobody came");
      });
  EXPECT_EQ(next.status(), absl::UnavailableError("nobody came"));
}

TEST(Scheduler, UnknownWorkersRegisterAgainAndThereAreOnlySoMany) {
  Office office(1);
  EXPECT_EQ(office.scheduler.LeaseJobs("nobody", 1, absl::ZeroDuration()).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(office.scheduler.Heartbeat("nobody").code(), absl::StatusCode::kNotFound);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(office.scheduler.Register("w").ok());
  EXPECT_EQ(office.scheduler.Register("w").status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(Scheduler, AnEmptyBatchIsDoneAtOnce) {
  Scheduler scheduler({}, nullptr);
  const auto groups = scheduler.RunBatch({}, [](const Group&) { FAIL(); });
  ASSERT_TRUE(groups.ok());
  EXPECT_TRUE(groups->empty());
}

TEST(LocalWorkers, AnyNumberOfWorkersGivesTheSameGroups) {
  for (int32_t workers : {1, 2, 4}) {
    for (int32_t jobs_per_lease : {1, 3, 100}) {
      World world;
      Scheduler scheduler({}, [&](const GroupJob& job, const Group& group) {
        return CheckGroup(job, group, world.options);
      });
      LocalWorkers local(scheduler, world.policy, world.verifiers, *world.tokenizer, world.options,
                         {workers, jobs_per_lease, absl::Seconds(1)});
      for (int batch = 0; batch < 2; ++batch) {
        const auto groups = scheduler.RunBatch(world.Jobs(10), [](const Group&) {});
        ASSERT_TRUE(groups.ok()) << groups.status();
        EXPECT_EQ(Fingerprints(*groups), Expected(10));
      }
    }
  }
}

TEST(LocalWorkers, APolicyThatStumblesIsAskedAgain) {
  World world;
  world.policy.OnGenerate(
      [](int call) { return call % 3 == 0 ? absl::UnavailableError("gone") : absl::OkStatus(); });
  Scheduler scheduler({}, nullptr);
  LocalWorkers local(scheduler, world.policy, world.verifiers, *world.tokenizer, world.options,
                     {2, 2, absl::Seconds(1)});
  const auto groups = scheduler.RunBatch(world.Jobs(6), [](const Group&) {});
  ASSERT_TRUE(groups.ok()) << groups.status();
  EXPECT_EQ(Fingerprints(*groups), Expected(6));
}

TEST(LocalWorkers, OneJobThatCannotBeDoneEndsTheBatchByName) {
  World world;
  std::vector<GroupJob> jobs = world.Jobs(4);
  jobs[2].task.verifier = "nobody";
  Scheduler scheduler({}, nullptr);
  LocalWorkers local(scheduler, world.policy, world.verifiers, *world.tokenizer, world.options,
                     {2, 4, absl::Seconds(1)});
  const auto groups = scheduler.RunBatch(jobs, [](const Group&) {});
  EXPECT_EQ(groups.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(groups.status().message()), HasSubstr("task 'test/2'"));
}

TEST(CheckGroup, RejectsEveryKindOfNonsense) {
  World world;
  // A group with a spread of rewards.
  GroupJob job;
  Group good;
  for (uint64_t i = 0; i < 50; ++i) {
    job = world.Job(i);
    good = *world.Worker().RunGroup(job);
    if (!good.flat) break;
  }
  ASSERT_FALSE(good.flat);
  ASSERT_TRUE(CheckGroup(job, good, world.options).ok()) << CheckGroup(job, good, world.options);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::pair<const char*, std::function<void(Group&)>>> changes = {
      {"id", [](Group& g) { g.id[0] = 'x'; }},
      {"key", [](Group& g) { g.key.attempt = 1; }},
      {"task", [](Group& g) { g.task.answer = "no"; }},
      {"version", [](Group& g) { g.version = 1; }},
      {"iteration", [](Group& g) { g.iteration = 1; }},
      {"asked", [](Group& g) { g.asked = 5; }},
      {"a missing trajectory", [](Group& g) { g.trajectories.pop_back(); }},
      {"an outage too many", [](Group& g) { g.outages = 1; }},
      {"order", [](Group& g) { std::swap(g.trajectories[0], g.trajectories[1]); }},
      {"a sample twice", [](Group& g) { g.trajectories[1] = g.trajectories[0]; }},
      {"sample", [](Group& g) { g.trajectories[3].key.sample = 4; }},
      {"trajectory id", [](Group& g) { g.trajectories[0].id[0] = 'x'; }},
      {"another seed", [](Group& g) { g.trajectories[0].key.run_seed = 1; }},
      {"stop reason", [](Group& g) { g.trajectories[0].stop_reason = StopReason::kCancelled; }},
      {"temperature", [](Group& g) { g.trajectories[0].sampling.temperature = 0.5f; }},
      {"template", [](Group& g) { g.trajectories[0].template_name = "r1_zero"; }},
      {"lengths", [](Group& g) { g.trajectories[0].behaviour_logprobs.pop_back(); }},
      {"NaN", [nan](Group& g) { g.trajectories[0].behaviour_logprobs.back() = nan; }},
      {"entropy", [nan](Group& g) { g.trajectories[0].entropy.back() = nan; }},
      {"logprob", [](Group& g) { g.trajectories[0].behaviour_logprobs.back() = 0.5f; }},
      {"token", [](Group& g) { g.trajectories[0].tokens[0] = -1; }},
      {"routes",
       [](Group& g) {
         g.trajectories[0].routes = {2, 2, {1, 2, 3}};
       }},
      {"no layers",
       [](Group& g) {
         g.trajectories[0].routes = {0, 2, {1, 2}};
       }},
      {"segment", [](Group& g) { g.trajectories[0].segments[1].token_count += 1; }},
      {"no segment", [](Group& g) { g.trajectories[0].segments.clear(); }},
      {"mask", [](Group& g) { g.trajectories[0].segments[0].loss_mask = true; }},
      {"segment version", [](Group& g) { g.trajectories[0].segments[1].version = 4; }},
      {"outcome", [](Group& g) { g.trajectories[0].verdict.outcome = Outcome::kOutage; }},
      {"reward", [](Group& g) { g.trajectories[0].reward.total += 1; }},
      {"parts", [](Group& g) { g.trajectories[0].reward.parts.clear(); }},
      {"advantage", [](Group& g) { g.trajectories[0].advantage += 1e-9; }},
      {"baseline", [](Group& g) { g.baseline = 0; }},
      {"flat", [](Group& g) { g.flat = true; }},
      {"drop", [](Group& g) { g.drop = DropReason::kFlat; }},
      {"dropped for no outage", [](Group& g) { g.drop = DropReason::kOutage; }},
  };
  for (const auto& [name, change] : changes) {
    Group bad = good;
    change(bad);
    EXPECT_EQ(CheckGroup(job, bad, world.options).code(), absl::StatusCode::kInvalidArgument)
        << name;
  }
}

}  // namespace
}  // namespace hone
