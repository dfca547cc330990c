// SPDX-License-Identifier: Apache-2.0
//
// Deaths in the machinery: of the spawner, of the service, of both. And refusals to start.
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/vices/leftovers.h"
#include "tests/vices/vice.h"

namespace hone {
namespace {

bool Within(int seconds, const std::function<bool()>& holds) {
  for (int i = 0; i < seconds * 100; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return holds();
}

// A zombie is dead: who reaps it is not ours to say.
bool Alive(int pid) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/stat"));
  std::string number, name, state;
  return in >> number >> name >> state && state != "Z";
}

class LifetimeTest : public ViceTest {};

TEST_F(LifetimeTest, AKilledSpawnerIsAnOutageForTheRunAndNothingForTheNext) {
  const std::vector<int> before = SpawnerPids();
  ASSERT_EQ(before.size(), 1u);
  absl::StatusOr<SandboxReport> report;
  std::thread caller([&] { report = sandbox()->Run(Python("import time\ntime.sleep(30)")); });
  ASSERT_TRUE(Within(10, [] { return TakeFootprint().processes.size() >= 3; }));
  kill(before[0], SIGKILL);
  caller.join();
  EXPECT_EQ(report.status().code(), absl::StatusCode::kUnavailable) << report.status();
  EXPECT_EQ(RunPython("print(1)").stdout_bytes, "1\n");
  const std::vector<int> after = SpawnerPids();
  ASSERT_EQ(after.size(), 1u);
  EXPECT_NE(after[0], before[0]);
}

TEST_F(LifetimeTest, ASpawnerKilledBetweenRunsIsNotNoticed) {
  const std::vector<int> before = SpawnerPids();
  ASSERT_EQ(before.size(), 1u);
  kill(before[0], SIGKILL);
  ASSERT_TRUE(Within(5, [] {
    const Footprint now = TakeFootprint();
    return now.processes.size() == 1 && absl::StrContains(now.processes[0], "zombie");
  }));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(RunPython("print(1)").stdout_bytes, "1\n");
  EXPECT_EQ(SpawnerPids().size(), 1u);
}

TEST_F(LifetimeTest, ASpawnerIsReplacedAfterItsShareOfRuns) {
  SandboxOptions options;
  options.runs_per_spawner = 5;
  auto own = StartSandbox(options);
  ASSERT_TRUE(own.ok()) << own.status();
  std::set<int> spawners;
  std::vector<std::thread> callers;
  std::atomic<int> right{0};
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int k = 0; k < 5; ++k) right += (*own)->Run(Python("print(1)")).ok();
    });
  }
  for (int i = 0; i < 50; ++i) {
    for (const int pid : SpawnerPids()) spawners.insert(pid);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(right, 20);
  for (const int pid : SpawnerPids()) spawners.insert(pid);
  EXPECT_GE(spawners.size(), 3u);  // the shared sandbox's, and at least two here
  EXPECT_EQ(SpawnerPids().size(), 2u);
}

TEST_F(LifetimeTest, ASandboxThatIsLetGoLeavesNothing) {
  RunPython("pass");
  const Footprint before = SettledFootprint();
  {
    auto own = StartSandbox({});
    ASSERT_TRUE(own.ok()) << own.status();
    EXPECT_TRUE((*own)->Run(Python("print(1)")).ok());
    EXPECT_FALSE(TakeFootprint() == before);
  }
  EXPECT_EQ(SettledFootprint().ToString(), before.ToString());
}

size_t GroupsOf(pid_t service) {
  return ControlGroupsNamed(absl::StrCat("/hone-", service, "-")).size();
}

// Beyond its own folder in each hierarchy there is that of a run in each.
bool IsRunning(pid_t service) {
  const auto groups = ControlGroupsNamed(absl::StrCat("/hone-", service, "-"));
  return std::any_of(groups.begin(), groups.end(),
                     [](const std::string& path) { return absl::StrContains(path, "/run-"); });
}

// A service of its own: starts a sandbox, tells the spawner's pid, runs for ever.
pid_t StartService(int* spawner) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  const pid_t service = fork();
  if (service == 0) {
    SandboxProgram program;
    program.python_source = "import time\ntime.sleep(60)";
    auto own = StartSandbox({});
    const int pid = own.ok() ? SpawnerPids().at(0) : 0;
    (void)!write(ends[1], &pid, sizeof pid);
    if (own.ok()) (void)(*own)->Run(program);
    _exit(1);
  }
  if (read(ends[0], spawner, sizeof *spawner) != sizeof *spawner) *spawner = 0;
  close(ends[0]);
  close(ends[1]);
  return service;
}

TEST_F(LifetimeTest, WhenTheServiceIsKilledEverythingGoesWithIt) {
  int spawner = 0;
  const pid_t service = StartService(&spawner);
  ASSERT_GT(spawner, 0);
  ASSERT_TRUE(Within(10, [&] { return IsRunning(service); }));
  ASSERT_GT(GroupsOf(service), 0u);
  kill(service, SIGKILL);
  waitpid(service, nullptr, 0);
  EXPECT_TRUE(Within(10, [&] { return !Alive(spawner); }));
  EXPECT_TRUE(Within(10, [&] { return GroupsOf(service) == 0; }));
}

TEST_F(LifetimeTest, WhatAServiceAndItsSpawnerLeftIsSweptAtTheNextStart) {
  int spawner = 0;
  const pid_t service = StartService(&spawner);
  ASSERT_GT(spawner, 0);
  ASSERT_TRUE(Within(10, [&] { return IsRunning(service); }));
  kill(spawner, SIGSTOP);
  kill(service, SIGKILL);
  kill(spawner, SIGKILL);
  waitpid(service, nullptr, 0);
  EXPECT_TRUE(Within(10, [&] { return !Alive(spawner); }));
  EXPECT_GT(GroupsOf(service), 0u);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the jail dies on its own
  auto own = StartSandbox({});
  EXPECT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(GroupsOf(service), 0u);
}

void ExpectRefusal(const SandboxOptions& options, absl::StatusCode code, const char* word) {
  const Footprint before = SettledFootprint();
  const auto refused = StartSandbox(options);
  EXPECT_EQ(refused.status().code(), code) << refused.status();
  EXPECT_TRUE(absl::StrContains(refused.status().message(), word)) << refused.status();
  EXPECT_EQ(SettledFootprint().ToString(), before.ToString());
}

TEST_F(LifetimeTest, ARefusalNamesWhatIsWrong) {
  SandboxOptions options;
  options.slots = -1;
  ExpectRefusal(options, absl::StatusCode::kInvalidArgument, "slots is -1");
  options = {};
  options.executable = "/no/such/hone-sandbox";
  ExpectRefusal(options, absl::StatusCode::kFailedPrecondition, "/no/such/hone-sandbox");
  options.executable = "/bin/true";
  ExpectRefusal(options, absl::StatusCode::kFailedPrecondition, "rebuild");
  options = {};
  options.warm_modules = {"math", "nosuchmodule"};
  ExpectRefusal(options, absl::StatusCode::kFailedPrecondition, "import nosuchmodule");
}

// Runs StartSandbox in a child that lacks something and returns what it says.
std::string RefusalIn(const std::function<void()>& lose) {
  int ends[2];
  if (pipe(ends) != 0) return "";
  const pid_t child = fork();
  if (child == 0) {
    lose();
    const auto refused = StartSandbox({});
    const std::string text = refused.status().ToString();
    (void)!write(ends[1], text.data(), text.size());
    _exit(0);
  }
  close(ends[1]);
  std::string text(4096, 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, read(ends[0], text.data(), text.size()))));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return text;
}

// As a container's profile does: one system call fails, for this process and its children.
void Forbid(uint32_t call, uint32_t error) {
  sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program = {4, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

TEST_F(LifetimeTest, WhereAContainerForbidsAStepItRefusesAndNamesTheStep) {
  const struct {
    uint32_t call, error;
    const char* words;
  } cases[] = {
      {SYS_unshare, EPERM, "making a mount namespace: Operation not permitted (errno 1)"},
      {SYS_pivot_root, EPERM, "entering the tree (pivot_root): Operation not permitted"},
      {SYS_clone3, ENOSYS, "making namespaces: Function not implemented (errno 38)"},
      {SYS_landlock_restrict_self, EPERM, "restricting files (Landlock): Operation not"},
      {SYS_landlock_create_ruleset, EPERM, "looking for Landlock: Operation not permitted"},
      {SYS_seccomp, EPERM, "building the system call filter: "},
      {SYS_setgroups, EPERM, "becoming nobody: Operation not permitted"}};
  for (const auto& expected : cases) {
    const std::string refusal = RefusalIn([&] { Forbid(expected.call, expected.error); });
    EXPECT_TRUE(absl::StartsWith(refusal, "FAILED_PRECONDITION: sandbox: ")) << refusal;
    EXPECT_TRUE(absl::StrContains(refusal, expected.words)) << refusal;
  }
  const std::string refusal = RefusalIn([] { prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN); });
  EXPECT_TRUE(absl::StrContains(refusal, "making a mount namespace: Operation not permitted"))
      << refusal;
}

TEST_F(LifetimeTest, WithoutPrivilegesItRefusesWithTheCure) {
  const std::string refusal = RefusalIn([] { (void)!setresuid(65534, 65534, 65534); });
  EXPECT_TRUE(absl::StartsWith(refusal, "FAILED_PRECONDITION: sandbox: control groups: "))
      << refusal;
  EXPECT_TRUE(absl::StrContains(refusal, "run as root")) << refusal;
}

}  // namespace
}  // namespace hone
