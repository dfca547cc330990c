// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/jail_run.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "verifier/sandbox/jail_step.h"
#include "verifier/sandbox/program_file.h"

namespace hone {
namespace {

constexpr int64_t kMinCheckUs = 500;
constexpr int64_t kCancelAfterUs = 50000;
constexpr int64_t kDeathTimeoutUs = 20 * 1000000;  // from SIGKILL to gone

absl::Status Unavailable(absl::string_view what) {
  return absl::UnavailableError(
      absl::StrCat("sandbox: ", what, ": ", strerror(errno), " (errno ", errno, ")"));
}

absl::StatusOr<Descriptor> MakeProgramFile(const SandboxProgram& program) {
  ProgramFile file;
  file.python_source = program.python_source;
  file.source_name = program.source_name;
  file.argv = program.argv;
  file.files.assign(program.files.begin(), program.files.end());
  const std::string bytes = EncodeProgram(file);
  Descriptor memory(memfd_create("program", MFD_CLOEXEC));
  if (!memory.open()) return Unavailable("making a memory file");
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = write(memory.get(), bytes.data() + at, bytes.size() - at);
    if (n <= 0) return Unavailable("filling a memory file");
    at += static_cast<size_t>(n);
  }
  return memory;
}

bool MakePipe(Descriptor* reader, Descriptor* writer) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  *reader = Descriptor(ends[0]);
  *writer = Descriptor(ends[1]);
  return true;
}

}  // namespace

int64_t MonotonicUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000} + now.tv_nsec / 1000;
}

JailRun::JailRun(const SandboxProgram& program, uint32_t slot, uint32_t host_uid)
    : program_(program), slot_(slot), host_uid_(host_uid) {
  streams_[0].limit = streams_[2].limit = program.limits.output_bytes;
  streams_[1].limit = program.limits.error_bytes;
  streams_[1].may_overflow = true;
}

// How many processors its CPU clock can be on at one time.
int JailRun::parallel() const {
  static const int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return std::min(processors, static_cast<int>(program_.limits.processes));
}

// Ours go to the members, theirs to `descriptors` in the order of RunMessage.
absl::Status JailRun::MakePipes(std::vector<int>* descriptors, std::vector<Descriptor>* theirs) {
  Descriptor writer;
  if (!MakePipe(&status_, &writer)) return Unavailable("making a pipe");
  fcntl(status_.get(), F_SETFL, O_NONBLOCK);
  descriptors->push_back(writer.get());
  theirs->push_back(std::move(writer));
  if (program_.streams[0] >= 0) {
    descriptors->push_back(program_.streams[0]);
  } else {
    // Our own copy of the reading end makes EPIPE, and with it SIGPIPE, impossible here.
    if (!MakePipe(&stdin_reader_, &stdin_)) return Unavailable("making a pipe");
    descriptors->push_back(stdin_reader_.get());
    fcntl(stdin_.get(), F_SETFL, O_NONBLOCK);
  }
  for (size_t i = 0; i < 3; ++i) {
    Stream& stream = streams_[i];
    if (i < 2 && program_.streams[i + 1] >= 0) {
      descriptors->push_back(program_.streams[i + 1]);
      continue;
    }
    if (!MakePipe(&stream.pipe, &writer)) return Unavailable("making a pipe");
    fcntl(stream.pipe.get(), F_SETFL, O_NONBLOCK);
    descriptors->push_back(writer.get());
    theirs->push_back(std::move(writer));
  }
  // So that it may open /dev/stdin and the like; without the right to do so that alone is lost.
  for (size_t i = 2; i < descriptors->size(); ++i) {
    (void)!fchown((*descriptors)[i], host_uid_, host_uid_);
  }
  return absl::OkStatus();
}

absl::Status JailRun::Start(SpawnerClient* spawner, ControlGroups* groups,
                            absl::Span<const int> peer) {
  absl::StatusOr<std::unique_ptr<RunGroup>> group = groups->MakeRun(program_.limits);
  if (!group.ok()) return group.status();
  group_ = *std::move(group);
  absl::StatusOr<Descriptor> file = MakeProgramFile(program_);
  if (!file.ok()) return file.status();
  std::vector<int> descriptors = {file->get()};
  std::vector<Descriptor> theirs;
  if (absl::Status status = MakePipes(&descriptors, &theirs); !status.ok()) return status;
  FeedStdin();

  descriptors.insert(descriptors.end(), peer.begin(), peer.end());
  const std::vector<int> entrances = group_->entrances();
  descriptors.insert(descriptors.end(), entrances.begin(), entrances.end());
  RunMessage message;
  message.host_uid = host_uid_;
  message.slot = slot_;
  message.paired = peer.empty() ? 0 : 1;
  message.control_groups = static_cast<uint32_t>(entrances.size());
  message.cpu_ms = program_.limits.cpu_ms;
  message.memory_bytes = program_.limits.memory_bytes;
  message.file_bytes = program_.limits.file_bytes;
  absl::StatusOr<Descriptor> pidfd = spawner->Launch(message, descriptors);
  if (!pidfd.ok()) return pidfd.status();
  pidfd_ = *std::move(pidfd);
  start_us_ = MonotonicUs();
  const int64_t wall_ms =
      program_.limits.wall_ms > 0 ? program_.limits.wall_ms : 3 * program_.limits.cpu_ms + 1000;
  wall_end_us_ = start_us_ + wall_ms * 1000;
  next_us_ = start_us_;
  CheckClocks(start_us_);
  return absl::OkStatus();
}

void JailRun::FeedStdin() {
  const std::string& bytes = program_.stdin_bytes;
  while (stdin_sent_ < bytes.size()) {
    const ssize_t n = write(stdin_.get(), bytes.data() + stdin_sent_, bytes.size() - stdin_sent_);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // full: poll says when there is room
    stdin_sent_ += static_cast<size_t>(n);
  }
  stdin_.Close();
}

void JailRun::Drain(Stream* stream) {
  char buffer[1 << 16];
  while (stream->pipe.open()) {
    const ssize_t n = read(stream->pipe.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      stream->pipe.Close();
      return;
    }
    const int64_t room = stream->limit - static_cast<int64_t>(stream->bytes.size());
    const int64_t kept = std::min<int64_t>(room, n);
    stream->bytes.append(buffer, static_cast<size_t>(kept));
    stream->dropped += n - kept;
    if (stream->dropped > 0 && !stream->may_overflow) {
      Stop(SandboxEnding::kOutputLimit);
      return;
    }
    if (n < static_cast<ssize_t>(sizeof buffer)) return;  // poll again before the next read
  }
}

void JailRun::AddPolls(std::vector<pollfd>* polls) const {
  // A negative descriptor is skipped by poll.
  polls->push_back({pidfd_.get(), POLLIN, 0});
  polls->push_back({status_.get(), POLLIN, 0});
  polls->push_back({stopped_for_ == SandboxEnding::kExited ? stdin_.get() : -1, POLLOUT, 0});
  for (const Stream& stream : streams_) {
    const bool full = stream.dropped > 0 && !stream.may_overflow;
    polls->push_back({full ? -1 : stream.pipe.get(), POLLIN, 0});
  }
  polls->push_back({stopped_for_ == SandboxEnding::kExited ? program_.stop_fd : -1, POLLIN, 0});
}

void JailRun::OnPolled(absl::Span<const pollfd> polls) {
  for (size_t i = 0; i < 3; ++i) {
    if (polls[3 + i].revents != 0) Drain(&streams_[i]);
  }
  if (polls[2].revents != 0 && stdin_.open()) FeedStdin();
  if (polls[1].revents != 0) ReadStatus();
  if (polls[0].revents != 0) gone_ = true;
  if (polls[6].revents != 0) Stop(SandboxEnding::kCancelled);
}

// The report that it ended says that all of its processes have. One of a failed step, or none at
// all, does not: then it is PID 1's own end that counts.
void JailRun::ReadStatus() {
  if (!status_.open() || reported_) return;
  const ssize_t size = read(status_.get(), &report_, sizeof report_);
  if (size < 0) return;
  reported_ = size == sizeof report_;
  status_.Close();
  if (reported_ && report_.step == JailStep::kNone) gone_ = true;
}

void JailRun::Stop(SandboxEnding why) {
  if (stopped_for_ != SandboxEnding::kExited || gone_) return;
  stopped_for_ = why;
  killed_us_ = MonotonicUs();
  next_us_ = killed_us_ + kDeathTimeoutUs;
  syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

void JailRun::StopSoon() {
  if (stopped_for_ != SandboxEnding::kExited || cancel_us_ != INT64_MAX) return;
  cancel_us_ = MonotonicUs() + kCancelAfterUs;
  next_us_ = std::min(next_us_, cancel_us_);
}

// The CPU clock is read no sooner than it could have run out.
void JailRun::CheckClocks(int64_t now_us) {
  if (now_us < next_us_ || gone_) return;
  if (stopped_for_ != SandboxEnding::kExited) {
    lost_ = true;
    return;
  }
  const int64_t left_us = program_.limits.cpu_ms * 1000 - group_->CpuUs();
  if (left_us <= 0) return Stop(SandboxEnding::kCpuLimit);
  if (now_us >= wall_end_us_) return Stop(SandboxEnding::kWallLimit);
  if (now_us >= cancel_us_) return Stop(SandboxEnding::kCancelled);
  next_us_ =
      std::min({wall_end_us_, cancel_us_, now_us + std::max(kMinCheckUs, left_us / parallel())});
}

absl::Status JailRun::Finish(SandboxReport* report) {
  if (lost_) return absl::UnavailableError("sandbox: a jail was killed and did not end in time");
  for (Stream& stream : streams_) Drain(&stream);
  ReadStatus();
  if (reported_ && report_.step != JailStep::kNone) {
    return absl::UnavailableError(JailStepSentence(report_.step, report_.error, ""));
  }
  if (!reported_ && stopped_for_ == SandboxEnding::kExited) {
    return absl::UnavailableError(
        "sandbox: a jail died without a report; was hone-sandbox killed?");
  }
  absl::StatusOr<GroupUsage> usage = group_->Usage();
  if (!usage.ok()) return usage.status();
  EndingFacts facts;
  facts.stopped_for = stopped_for_;
  facts.reported = reported_;
  facts.wait_status = report_.wait_status;
  facts.output_overflow = streams_[0].dropped > 0 || streams_[2].dropped > 0;
  facts.usage = *usage;
  facts.cpu_limit_us = program_.limits.cpu_ms * 1000;
  DecideEnding(facts, report);
  report->stdout_bytes = std::move(streams_[0].bytes);
  report->stderr_bytes = std::move(streams_[1].bytes);
  report->result_bytes = std::move(streams_[2].bytes);
  report->stderr_dropped_bytes = streams_[1].dropped;
  report->cpu_us = usage->cpu_us;
  report->wall_us = reported_ ? report_.wall_us : killed_us_ - start_us_;
  report->memory_peak_bytes = usage->memory_peak_bytes;
  report->refused_forks = usage->refused_forks;
  return absl::OkStatus();
}

void DecideEnding(const EndingFacts& facts, SandboxReport* report) {
  const bool signalled = facts.reported && WIFSIGNALED(facts.wait_status);
  if (signalled) report->signal = WTERMSIG(facts.wait_status);
  if (facts.reported && WIFEXITED(facts.wait_status)) {
    report->exit_code = WEXITSTATUS(facts.wait_status);
  }
  const bool unhappy = signalled || report->exit_code != 0;
  if (facts.output_overflow) {
    report->ending = SandboxEnding::kOutputLimit;
  } else if (facts.usage.cpu_us >= facts.cpu_limit_us || report->signal == SIGXCPU) {
    report->ending = SandboxEnding::kCpuLimit;
  } else if (facts.usage.oom_kills > 0) {
    report->ending = SandboxEnding::kMemoryLimit;
  } else if (!facts.reported) {
    report->ending = facts.stopped_for;
  } else if (report->signal == SIGSYS) {
    report->ending = SandboxEnding::kViolation;
  } else if (unhappy && facts.usage.refused_forks > 0) {
    report->ending = SandboxEnding::kProcessLimit;
  } else {
    report->ending = signalled ? SandboxEnding::kSignalled : SandboxEnding::kExited;
  }
}

void Drive(absl::Span<const std::unique_ptr<JailRun>> runs) {
  std::vector<pollfd> polls;
  for (;;) {
    polls.clear();
    std::vector<size_t> first;
    int64_t next_us = INT64_MAX;
    bool all_done = true;
    for (const auto& run : runs) {
      first.push_back(polls.size());
      if (run->done()) continue;
      all_done = false;
      run->AddPolls(&polls);
      next_us = std::min(next_us, run->NextUs());
    }
    if (all_done) return;
    const int64_t wait_us = std::max<int64_t>(0, next_us - MonotonicUs());
    const timespec wait = {wait_us / 1000000, wait_us % 1000000 * 1000};
    if (ppoll(polls.data(), polls.size(), &wait, nullptr) < 0) {
      for (pollfd& poll : polls) poll.revents = 0;  // interrupted: nothing is known
    }
    for (size_t i = 0; i < runs.size(); ++i) {
      if (runs[i]->done()) continue;
      const size_t end = i + 1 < runs.size() ? first[i + 1] : polls.size();
      runs[i]->OnPolled(absl::MakeConstSpan(polls).subspan(first[i], end - first[i]));
      runs[i]->CheckClocks(MonotonicUs());
    }
    if (runs.size() == 2 && runs[0]->done()) runs[1]->StopSoon();
  }
}

}  // namespace hone
