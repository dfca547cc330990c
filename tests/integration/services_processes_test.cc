// SPDX-License-Identifier: Apache-2.0
//
// The services as processes of their own, started, killed and restarted as an operator would.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "services/clients/remote_policy.h"
#include "services/clients/remote_verifier.h"
#include "services/servers/policy_server.h"
#include "services/servers/trainer_server.h"
#include "tests/policy/generator_contract.h"
#include "tests/policy/learner_contract.h"
#include "tests/policy/local_policies.h"
#include "tests/rollout/rollout_testing.h"
#include "tests/services/serving.h"

extern char** environ;

namespace hone {
namespace {

// The binary stands one folder above the test programs.
std::string HoneBinary() {
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  return (self.parent_path().parent_path() / "hone").string();
}

class Process {
 public:
  explicit Process(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), HoneBinary());
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    EXPECT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0) << argv[0];
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    stdout_ = ends[0];
  }
  ~Process() {
    if (pid_ > 0) {
      Signal(SIGKILL);
      Wait();
    }
    close(stdout_);
  }
  Process(const Process&) = delete;

  void Signal(int signal) { kill(pid_, signal); }
  // The exit code; -signal when one killed it.
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string ReadLine() {
    std::string line;
    char c;
    while (read(stdout_, &c, 1) == 1 && c != '\n') line.push_back(c);
    return line;
  }
  // The address of the JSON line that says it is ready.
  std::string Listening() {
    const auto json = nlohmann::json::parse(ReadLine(), nullptr, false);
    EXPECT_TRUE(json.is_object() && json.contains("listening")) << json;
    return json.is_object() ? json.value("listening", "") : "";
  }

 private:
  pid_t pid_ = -1;
  int stdout_ = -1;
};

std::string ModelIn(const TestDirectory& directory) {
  const std::string path = directory / "model";
  std::filesystem::create_directory(path);
  const auto policy = MakePolicy(TinyOptions());
  const absl::Status saved = policy->SaveState(path);
  EXPECT_TRUE(saved.ok()) << saved;
  return path;
}

TEST(ServedPolicyProcess, GivesTheBitsOfThePolicyInThisProcess) {
  TestDirectory directory;
  const std::string model = ModelIn(directory);
  Process server({"serve", "policy", "--model", model, "--listen", "127.0.0.1:0", "--backend",
                  "reference", "--threads", "1", "--rows-per-pass", "40"});
  auto client = RemotePolicy::Connect(server.Listening());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto local = MakePolicy(TinyOptions());
  const std::vector<GenerateRequest> requests = {ContractRequest(0), ContractRequest(1)};
  const auto here = GenerateAll(*local, requests), there = GenerateAll(**client, requests);
  ASSERT_TRUE(here.ok() && there.ok()) << there.status();
  for (size_t i = 0; i < 2; ++i) {
    for (size_t j = 0; j < 3; ++j) ExpectSameBits((*here)[i][j], (*there)[i][j]);
  }
  const ForwardBackwardRequest pass = ContractPass(*local);
  const auto a = local->Update(pass, ContractStep(0, "one"));
  const auto b = (*client)->Update(pass, ContractStep(0, "one"));
  ASSERT_TRUE(a.ok() && b.ok()) << b.status();
  EXPECT_EQ(a->step.hash_after, b->step.hash_after);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
}

TEST(ServedPolicyProcess, KilledAndRestartedIsFilledAgainAndGoesOn) {
  TestDirectory directory;
  const std::string model = ModelIn(directory);
  const std::string address = "unix:" + (directory / "policy");
  const std::vector<std::string> command = {"serve",     "policy",    "--listen",  address,
                                            "--backend", "reference", "--threads", "1"};
  auto server = std::make_unique<Process>(command);
  ASSERT_EQ(server->Listening(), address);
  auto client = RemotePolicy::Connect(address);
  ASSERT_TRUE(client.ok());
  EXPECT_EQ((*client)->Info().status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE((*client)->LoadState(model, false).ok());
  ASSERT_TRUE((*client)->Info().ok());
  // Killed in the middle of a call.
  absl::Status broken;
  std::thread caller([&] {
    std::vector<GenerateRequest> many(400, ContractRequest(0));
    for (size_t i = 0; i < many.size(); ++i) many[i].request_id = absl::StrCat(i);
    for (GenerateRequest& request : many) request.n = 400;
    broken = (*client)->Generate(many, [](GenerateChunk) { return true; });
  });
  absl::SleepFor(absl::Milliseconds(300));
  server->Signal(SIGKILL);
  EXPECT_EQ(server->Wait(), -SIGKILL);
  server = std::make_unique<Process>(command);
  ASSERT_EQ(server->Listening(), address) << "the stale socket is replaced";
  caller.join();
  EXPECT_TRUE(absl::IsUnavailable(broken) || absl::IsFailedPrecondition(broken)) << broken;
  ASSERT_TRUE((*client)->LoadState(model, false).ok());
  EXPECT_TRUE((*client)->Info().ok());
}

TEST(ServedVerifierProcess, JudgesAndStopsOnASignal) {
  Process server({"serve", "verifier", "--listen", "127.0.0.1:0"});
  auto client = RemoteVerifier::Connect(server.Listening(), "exact", {});
  ASSERT_TRUE(client.ok()) << client.status();
  const std::string answer = "<think>so</think> <answer>yes</answer>";
  const auto verdicts =
      (*client)->Verify({MakeQuestion(answer, "yes"), MakeQuestion(answer, "no")});
  ASSERT_TRUE(verdicts.ok()) << verdicts.status();
  EXPECT_EQ((*verdicts)[0].outcome, Outcome::kCorrect);
  EXPECT_EQ((*verdicts)[1].outcome, Outcome::kWrong);
  server.Signal(SIGINT);
  EXPECT_EQ(server.Wait(), 0);
}

// From the signal to the end of the process.
absl::Duration TimeToStop(Process& server, int signal) {
  const absl::Time began = absl::Now();
  server.Signal(signal);
  EXPECT_EQ(server.Wait(), 0);
  return absl::Now() - began;
}

TEST(ServedPolicyProcess, StopsAtOnceWhenItsClientsAreIdle) {
  TestDirectory directory;
  const std::string model = ModelIn(directory);
  for (const std::string& listen : {std::string("127.0.0.1:0"), "unix:" + (directory / "s")}) {
    Process server({"serve", "policy", "--model", model, "--listen", listen, "--threads", "1"});
    const std::string address = server.Listening();
    const auto one = RemotePolicy::Connect(address), two = RemotePolicy::Connect(address);
    ASSERT_TRUE((*one)->Info().ok());
    ASSERT_TRUE((*two)->Info().ok());
    EXPECT_LT(TimeToStop(server, SIGTERM), absl::Milliseconds(500)) << listen;
  }
}

TEST(ServedPolicyProcess, TellsARunningCallThatItIsUnavailableWhenTheGraceIsOver) {
  TestDirectory directory;
  const std::string model = ModelIn(directory);
  Process server({"serve", "policy", "--model", model, "--listen", "127.0.0.1:0", "--backend",
                  "reference", "--threads", "1", "--drain-s", "0.2"});
  RemotePolicyOptions once;
  once.retry.attempts = 1;
  auto client = RemotePolicy::Connect(server.Listening(), once);
  ASSERT_TRUE((*client)->Info().ok());
  absl::Status broken;
  std::thread caller([&] {
    std::vector<GenerateRequest> many(400, ContractRequest(0));
    for (size_t i = 0; i < many.size(); ++i) many[i].request_id = absl::StrCat(i);
    for (GenerateRequest& request : many) request.n = 400;
    broken = (*client)->Generate(many, [](GenerateChunk) { return true; });
  });
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_LT(TimeToStop(server, SIGTERM), absl::Seconds(1.5));
  caller.join();
  EXPECT_TRUE(absl::IsUnavailable(broken)) << broken;
}

TEST(ServedVerifierProcess, StopsAtOnceWhenItsClientsAreIdle) {
  Process server({"serve", "verifier", "--listen", "127.0.0.1:0"});
  auto client = RemoteVerifier::Connect(server.Listening(), "exact", {});
  ASSERT_TRUE(client.ok());
  const std::string answer = "<think>so</think> <answer>yes</answer>";
  ASSERT_TRUE((*client)->Verify({MakeQuestion(answer, "yes")}).ok());
  EXPECT_LT(TimeToStop(server, SIGTERM), absl::Milliseconds(500));
}

TEST(ServeCommand, RefusesWhatItCannotServe) {
  EXPECT_EQ(Process({"serve", "verifier", "--listen", "0.0.0.0:0"}).Wait(), 2);
  EXPECT_EQ(Process({"serve", "verifier"}).Wait(), 2);
  EXPECT_EQ(Process({"serve", "policy", "--listen", "127.0.0.1:0", "--model", "/no/such"}).Wait(),
            4);
  EXPECT_EQ(Process({"serve", "gateway", "--listen", "127.0.0.1:0"}).Wait(), 7);
}

// A trainer in this process; its workers are processes.
struct Trainer {
  Trainer()
      : scheduler(SchedulerOptions{absl::Seconds(1), 5, 64},
                  [this](const GroupJob& job, const Group& group) {
                    return CheckGroup(job, group, world.options);
                  }),
        policy(BorrowPolicy(&world.policy, nullptr), {}),
        jobs(scheduler, Setup(), nullptr),
        serving({jobs.service(), policy.service()}) {}
  WorkerSetup Setup() {
    WorkerSetup setup;
    setup.rollout = world.options;
    setup.tokenizer_json = world.tokenizer->json();
    setup.verifiers = {{"exact", "exact", {}}};
    setup.heartbeat = absl::Milliseconds(200);
    setup.jobs_per_lease = 2;
    return setup;
  }
  World world;
  Scheduler scheduler;
  PolicyServer policy;
  TrainerServer jobs;
  Serving serving;
};

TEST(RolloutProcess, KilledAtWorkIsReplacedByAnotherAndTheGroupsAreTheSame) {
  Trainer trainer;
  std::atomic<bool> arrived{false}, open{false};
  trainer.world.policy.OnGenerate([&](int) {
    arrived = true;
    while (!open) absl::SleepFor(absl::Milliseconds(5));
    return absl::OkStatus();
  });
  absl::StatusOr<std::vector<Group>> groups = absl::UnknownError("");
  std::thread batch(
      [&] { groups = trainer.scheduler.RunBatch(trainer.world.Jobs(4), [](const Group&) {}); });
  const std::vector<std::string> command = {"rollout", "--trainer", trainer.serving.address(),
                                            "--workers", "2"};
  auto first = std::make_unique<Process>(command);
  while (!arrived) absl::SleepFor(absl::Milliseconds(5));
  first->Signal(SIGKILL);
  EXPECT_EQ(first->Wait(), -SIGKILL);
  open = true;
  Process second(command);
  batch.join();
  ASSERT_TRUE(groups.ok()) << groups.status();
  EXPECT_GE(trainer.scheduler.counts().expired, 1);
  VerifierPool pool;
  pool.Add("exact", *MakeVerifier("exact", {}));
  RolloutWorker here(trainer.world.policy, pool, *trainer.world.tokenizer, trainer.world.options);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(Fingerprint((*groups)[i]), Fingerprint(*here.RunGroup(trainer.world.Job(i))));
  }
  trainer.jobs.Finish(absl::Seconds(10));
  EXPECT_EQ(second.Wait(), 0) << "the run is over";
}

TEST(RolloutProcess, ExitCodesTellWhyItEnded) {
  TestDirectory directory;
  EXPECT_EQ(
      Process({"rollout", "--trainer", "unix:" + (directory / "nobody"), "--patience-s", "0.3"})
          .Wait(),
      5);
  EXPECT_EQ(Process({"rollout", "--trainer", "10.0.0.1:1"}).Wait(), 2);
  Trainer trainer;
  Process worker({"rollout", "--trainer", trainer.serving.address()});
  while (trainer.scheduler.counts().workers == 0) absl::SleepFor(absl::Milliseconds(10));
  worker.Signal(SIGTERM);
  EXPECT_EQ(worker.Wait(), 143);
  EXPECT_EQ(trainer.scheduler.counts().workers, 0);
}

}  // namespace
}  // namespace hone
