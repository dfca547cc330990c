// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <string>

#include "gtest/gtest.h"
#include "verifier/sandbox/jail_run.h"

namespace hone {
namespace {

constexpr int64_t kLimitUs = 1000;
constexpr int Exit(int code) {
  return code << 8;
}

EndingFacts Reported(int wait_status) {
  EndingFacts facts;
  facts.reported = true;
  facts.wait_status = wait_status;
  facts.cpu_limit_us = kLimitUs;
  return facts;
}

EndingFacts Stopped(SandboxEnding why) {
  EndingFacts facts;
  facts.stopped_for = why;
  facts.cpu_limit_us = kLimitUs;
  return facts;
}

std::string EndingOf(const EndingFacts& facts) {
  SandboxReport report;
  DecideEnding(facts, &report);
  return std::string(SandboxEndingName(report.ending)) + " " + std::to_string(report.exit_code) +
         " " + std::to_string(report.signal);
}

TEST(Ending, IsWhatTheCandidateDidWhereNoLimitWasMet) {
  EXPECT_EQ(EndingOf(Reported(Exit(0))), "exited 0 0");
  EXPECT_EQ(EndingOf(Reported(Exit(3))), "exited 3 0");
  EXPECT_EQ(EndingOf(Reported(SIGSEGV)), "signalled 0 11");
  EXPECT_EQ(EndingOf(Reported(SIGSYS)), "violation 0 31");
  EXPECT_EQ(EndingOf(Reported(SIGXCPU)), "cpu_limit 0 24");
}

TEST(Ending, IsWhyItWasStopped) {
  EXPECT_EQ(EndingOf(Stopped(SandboxEnding::kWallLimit)), "wall_limit 0 0");
  EXPECT_EQ(EndingOf(Stopped(SandboxEnding::kCancelled)), "cancelled 0 0");
  EXPECT_EQ(EndingOf(Stopped(SandboxEnding::kCpuLimit)), "cpu_limit 0 0");
}

TEST(Ending, IsTheCpuLimitWhenTheGroupsClockSaysSo) {
  EndingFacts facts = Reported(Exit(0));
  facts.usage.cpu_us = kLimitUs;
  EXPECT_EQ(EndingOf(facts), "cpu_limit 0 0");
  facts.usage.cpu_us = kLimitUs - 1;
  EXPECT_EQ(EndingOf(facts), "exited 0 0");
  facts = Stopped(SandboxEnding::kWallLimit);
  facts.usage.cpu_us = kLimitUs;
  EXPECT_EQ(EndingOf(facts), "cpu_limit 0 0");
}

TEST(Ending, IsTheMemoryLimitAfterAnyKillForMemory) {
  EndingFacts facts = Reported(SIGKILL);
  facts.usage.oom_kills = 1;
  EXPECT_EQ(EndingOf(facts), "memory_limit 0 9");
  facts.wait_status = Exit(0);  // it was a child's
  EXPECT_EQ(EndingOf(facts), "memory_limit 0 0");
}

TEST(Ending, IsTheProcessLimitOnlyWhereItHurt) {
  EndingFacts facts = Reported(Exit(1));
  facts.usage.refused_forks = 2;
  EXPECT_EQ(EndingOf(facts), "process_limit 1 0");
  facts.wait_status = Exit(0);
  EXPECT_EQ(EndingOf(facts), "exited 0 0");
}

TEST(Ending, IsTheOutputLimitAboveAll) {
  EndingFacts facts = Reported(Exit(0));
  facts.output_overflow = true;
  facts.usage.cpu_us = kLimitUs;
  EXPECT_EQ(EndingOf(facts), "output_limit 0 0");
}

}  // namespace
}  // namespace hone
