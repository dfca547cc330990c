// SPDX-License-Identifier: Apache-2.0
//
// The service's side of one run: pipes, clocks, the kill, and what to call the ending.
#ifndef HONE_VERIFIER_SANDBOX_JAIL_RUN_H_
#define HONE_VERIFIER_SANDBOX_JAIL_RUN_H_

#include <poll.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "verifier/sandbox/control_groups.h"
#include "verifier/sandbox/descriptor.h"
#include "verifier/sandbox/sandbox.h"
#include "verifier/sandbox/spawner_client.h"
#include "verifier/sandbox/wire.h"

namespace hone {

// INVALID_ARGUMENT with the field and what is allowed.
absl::Status CheckProgram(const SandboxProgram& program);

// What decides how a run ended; pure, so that every case can be tried.
struct EndingFacts {
  SandboxEnding stopped_for = SandboxEnding::kExited;  // kExited: nobody stopped it
  bool reported = false;                               // PID 1 saw it end: wait_status holds
  int wait_status = 0;
  bool output_overflow = false;
  GroupUsage usage;
  int64_t cpu_limit_us = 0;
};
// Sets ending, exit_code and signal.
void DecideEnding(const EndingFacts& facts, SandboxReport* report);

// One jail, driven by poll in one thread. Start, then until done(): AddPolls, poll at most until
// NextUs, OnPolled; then Finish.
class JailRun {
 public:
  // `slot` and `host_uid` are nobody else's for as long as it runs.
  JailRun(const SandboxProgram& program, uint32_t slot, uint32_t host_uid);

  // `peer`: descriptors for 4 and 5 of the candidate, or empty.
  absl::Status Start(SpawnerClient* spawner, ControlGroups* groups, absl::Span<const int> peer);
  void AddPolls(std::vector<pollfd>* polls) const;
  void OnPolled(absl::Span<const pollfd> polls);  // what AddPolls added, in the same order
  int64_t NextUs() const { return next_us_; }     // CLOCK_MONOTONIC
  void CheckClocks(int64_t now_us);
  void Stop(SandboxEnding why);
  // Its peer has ended: cancelled, unless it ends by itself within a moment. Without that moment
  // the report of one that was just ending would be a matter of chance.
  void StopSoon();
  bool done() const { return gone_ || lost_; }
  bool lost() const { return lost_; }  // killed, and yet it does not go away
  absl::Status Finish(SandboxReport* report);
  // After Finish: readable when the kernel has taken down the jail's mounts too. No process of
  // the candidate is left long before.
  Descriptor TakePidfd() { return std::move(pidfd_); }

 private:
  struct Stream {
    Descriptor pipe;
    std::string bytes;
    int64_t limit = 0;
    int64_t dropped = 0;
    bool may_overflow = false;  // beyond the limit: drop and count, instead of stopping the run
  };
  absl::Status MakePipes(std::vector<int>* descriptors, std::vector<Descriptor>* theirs);
  void FeedStdin();
  void ReadStatus();
  void Drain(Stream* stream);
  int parallel() const;

  const SandboxProgram& program_;
  const uint32_t slot_, host_uid_;
  std::unique_ptr<RunGroup> group_;
  Descriptor pidfd_, status_, stdin_, stdin_reader_;
  Stream streams_[3];  // stdout, stderr, result
  size_t stdin_sent_ = 0;
  int64_t start_us_ = 0, wall_end_us_ = 0, next_us_ = 0, cancel_us_ = INT64_MAX, killed_us_ = 0;
  SandboxEnding stopped_for_ = SandboxEnding::kExited;
  RunStatus report_;
  bool reported_ = false, gone_ = false, lost_ = false;
};

int64_t MonotonicUs();

// Until all are done, or one is lost. When runs[0] of a pair ends, runs[1] is stopped soon.
void Drive(absl::Span<const std::unique_ptr<JailRun>> runs);

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_JAIL_RUN_H_
