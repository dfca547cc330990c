// SPDX-License-Identifier: Apache-2.0
#include "services/clients/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "verifier/answer/text.h"

extern char** environ;

namespace hone {
namespace {

constexpr size_t kReadBytes = size_t{64} << 10;
constexpr size_t kMaxErrorLineBytes = 1024;

// Two ends that no other child inherits.
struct Pipe {
  int read = -1, write = -1;
  bool Open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
  ~Pipe() {
    if (read >= 0) close(read);
    if (write >= 0) close(write);
  }
};

// Our end does not block, and outlives the Pipe.
int Keep(int* end) {
  const int fd = std::exchange(*end, -1);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

class SpawnSettings {
 public:
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

// write() to a pipe whose reader may be gone: EPIPE, and no SIGPIPE for the process.
ssize_t WriteQuietly(int fd, const std::string& bytes) {
  sigset_t pipe_signal, old_mask, pending;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &old_mask);
  const ssize_t written = write(fd, bytes.data(), bytes.size());
  const int error = errno;
  if (written < 0 && error == EPIPE && sigismember(&pending, SIGPIPE) == 0) {
    const timespec now = {0, 0};
    sigtimedwait(&pipe_signal, nullptr, &now);
  }
  pthread_sigmask(SIG_SETMASK, &old_mask, nullptr);
  errno = error;
  return written;
}

int MillisLeft(absl::Time deadline) {
  const absl::Duration left = std::min(deadline - absl::Now(), absl::Seconds(60));
  if (left <= absl::ZeroDuration()) return 0;
  return static_cast<int>(absl::ToInt64Milliseconds(left)) + 1;
}

// For people: no control characters but tab.
std::string Readable(absl::string_view line) {
  std::string text = ReadableUtf8(line, kMaxErrorLineBytes, nullptr);
  for (char& c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) c = '?';
  }
  return text;
}

}  // namespace

WorkerLog LogToStderr() {
  return [](absl::string_view line) {
    const std::string text = absl::StrCat("[worker] ", line, "\n");
    fwrite(text.data(), 1, text.size(), stderr);
  };
}

absl::StatusOr<std::unique_ptr<WorkerProcess>> WorkerProcess::Start(
    const std::vector<std::string>& argv, WorkerLog log) {
  if (argv.empty()) return absl::InvalidArgumentError("the worker's command is empty");
  Pipe in, out, error;
  if (!in.Open() || !out.Open() || !error.Open()) {
    return absl::ResourceExhaustedError(absl::StrCat("no pipe for a worker: ", strerror(errno)));
  }
  SpawnSettings spawn;
  posix_spawn_file_actions_adddup2(&spawn.actions, in.read, 0);
  posix_spawn_file_actions_adddup2(&spawn.actions, out.write, 1);
  posix_spawn_file_actions_adddup2(&spawn.actions, error.write, 2);
  posix_spawn_file_actions_addclosefrom_np(&spawn.actions, 3);
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  std::unique_ptr<WorkerProcess> worker(new WorkerProcess());
  const int failed = posix_spawnp(&worker->pid_, arguments[0], &spawn.actions, &spawn.attributes,
                                  arguments.data(), environ);
  if (failed != 0) {
    worker->pid_ = -1;
    const std::string why = absl::StrCat("cannot start ", argv[0], ": ", strerror(failed));
    if (failed == ENOENT || failed == EACCES || failed == ENOEXEC) return absl::NotFoundError(why);
    return absl::UnavailableError(why);
  }
  // glibc 2.36 declares pidfd_open without C linkage.
  worker->pid_fd_ = static_cast<int>(syscall(SYS_pidfd_open, worker->pid_, 0));
  if (worker->pid_fd_ < 0) {
    return absl::UnavailableError(absl::StrCat("cannot watch ", argv[0], ": ", strerror(errno)));
  }
  worker->stdin_fd_ = Keep(&in.write);
  worker->stdout_fd_ = Keep(&out.read);
  worker->stderr_fd_ = Keep(&error.read);
  worker->log_ = std::move(log);
  return worker;
}

absl::StatusOr<std::unique_ptr<WorkerProcess>> WorkerProcess::StartJailed(
    std::shared_ptr<Sandbox> sandbox, SandboxProgram program, WorkerLog log) {
  Pipe in, out, error, stop, end;
  if (!in.Open() || !out.Open() || !error.Open() || !stop.Open() || !end.Open()) {
    return absl::ResourceExhaustedError(absl::StrCat("no pipe for a worker: ", strerror(errno)));
  }
  std::unique_ptr<WorkerProcess> worker(new WorkerProcess());
  worker->stdin_fd_ = Keep(&in.write);
  worker->stdout_fd_ = Keep(&out.read);
  worker->stderr_fd_ = Keep(&error.read);
  worker->stop_fd_ = Keep(&stop.write);
  worker->pid_fd_ = Keep(&end.read);
  worker->log_ = std::move(log);
  worker->jail_end_ = std::make_shared<std::string>();
  program.streams = {std::exchange(in.read, -1), std::exchange(out.write, -1),
                     std::exchange(error.write, -1)};
  program.stop_fd = std::exchange(stop.read, -1);
  worker->jail_ = std::thread([sandbox = std::move(sandbox), program = std::move(program),
                               end_fd = std::exchange(end.write, -1), said = worker->jail_end_] {
    const absl::StatusOr<SandboxReport> report = sandbox->Run(program);
    *said = !report.ok() ? absl::StrCat("could not be run: ", report.status().message())
            : report->ending == SandboxEnding::kExited
                ? absl::StrCat("exited with status ", report->exit_code)
                : absl::StrCat("was stopped in its jail: ", SandboxEndingName(report->ending));
    for (const int fd : program.streams) close(fd);
    close(program.stop_fd);
    close(end_fd);  // last: that it ended is seen when *said says how
  });
  return worker;
}

WorkerProcess::~WorkerProcess() {
  if (jail_.joinable()) {
    close(std::exchange(stop_fd_, -1));
    jail_.join();
    if (stderr_fd_ >= 0) ReadStderr();
    LogLines(/*last=*/true);
  }
  if (pid_ > 0) {
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);
    siginfo_t info;
    while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0 && errno == EINTR) {
    }
    if (stderr_fd_ >= 0) ReadStderr();
    LogLines(/*last=*/true);
  }
  for (const int fd : {pid_fd_, stdin_fd_, stdout_fd_, stderr_fd_, stop_fd_}) {
    if (fd >= 0) close(fd);
  }
}

void WorkerProcess::Send(absl::string_view line) {
  absl::StrAppend(&outgoing_, line, "\n");
  Write();
}

void WorkerProcess::Write() {
  while (!outgoing_.empty() && stdin_fd_ >= 0) {
    const ssize_t written = WriteQuietly(stdin_fd_, outgoing_);
    if (written > 0) {
      outgoing_.erase(0, static_cast<size_t>(written));
    } else if (errno == EPIPE) {  // it will be seen to have ended, or to be silent
      outgoing_.clear();
    } else if (errno != EINTR) {
      return;
    }
  }
}

void WorkerProcess::ReadStdout() {
  char buffer[kReadBytes];
  while (incoming_.size() <= kMaxLineBytes) {
    const ssize_t got = read(stdout_fd_, buffer, sizeof(buffer));
    if (got > 0) {
      incoming_.append(buffer, static_cast<size_t>(got));
    } else if (got == 0) {
      close(std::exchange(stdout_fd_, -1));
      return;
    } else if (errno != EINTR) {
      return;
    }
  }
}

// At most a few buffers a turn: a flood must not keep us from the rest.
void WorkerProcess::ReadStderr() {
  char buffer[kReadBytes];
  for (int i = 0; i < 16; ++i) {
    const ssize_t got = read(stderr_fd_, buffer, sizeof(buffer));
    if (got == 0) close(std::exchange(stderr_fd_, -1));
    if (got <= 0) return;
    error_line_.append(buffer, static_cast<size_t>(got));
    LogLines(/*last=*/false);
  }
}

void WorkerProcess::LogLines(bool last) {
  while (!error_line_.empty()) {
    size_t end = error_line_.find('\n');
    if (end == std::string::npos) {
      if (!last && error_line_.size() <= kMaxErrorLineBytes) return;
      end = std::min(error_line_.size(), kMaxErrorLineBytes);
    }
    const std::string line = Readable(absl::string_view(error_line_).substr(0, end));
    error_line_.erase(0, end + 1);
    if (line.find_first_not_of(" \t") != std::string::npos) last_error_line_ = line;
    const size_t before = logged_bytes_;
    logged_bytes_ += line.size() + 1;
    if (!log_) continue;
    if (logged_bytes_ <= kMaxLogBytes) {
      log_(line);
    } else if (before <= kMaxLogBytes) {
      log_("(64 KiB of stderr were shown; the rest of this process is dropped)");
    }
  }
}

absl::Status WorkerProcess::HowItEnded() {
  if (stderr_fd_ >= 0) ReadStderr();
  LogLines(/*last=*/true);
  // Its pipes close a moment before it can be waited for.
  pollfd end = {pid_fd_, POLLIN, 0};
  poll(&end, 1, 200);
  std::string how = "closed its stdout";
  siginfo_t info = {};
  if (jail_.joinable()) {
    if (end.revents != 0) how = *jail_end_;
  } else if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
             info.si_pid == pid_) {
    how = info.si_code == CLD_EXITED ? absl::StrCat("exited with status ", info.si_status)
                                     : absl::StrCat("was killed by signal ", info.si_status);
  }
  return absl::UnavailableError(absl::StrCat(
      "the worker ", how, last_error_line_.empty() ? "" : "; its stderr ends: ", last_error_line_));
}

absl::StatusOr<std::string> WorkerProcess::ReadLine(absl::Time deadline) {
  bool ended = false;
  for (;;) {
    const size_t newline = incoming_.find('\n', scanned_);
    if (newline != std::string::npos && newline <= kMaxLineBytes) {
      std::string line = incoming_.substr(0, newline);
      incoming_.erase(0, newline + 1);
      scanned_ = 0;
      return line;
    }
    scanned_ = incoming_.size();
    if (incoming_.size() > kMaxLineBytes) {
      return absl::InvalidArgumentError("the worker wrote a line of more than 1 MiB");
    }
    if (ended || stdout_fd_ < 0) return HowItEnded();
    pollfd fds[4] = {{stdout_fd_, POLLIN, 0},
                     {stderr_fd_, POLLIN, 0},
                     {pid_fd_, POLLIN, 0},
                     {outgoing_.empty() ? -1 : stdin_fd_, POLLOUT, 0}};
    const int ready = poll(fds, 4, MillisLeft(deadline));
    if (ready == 0 && absl::Now() >= deadline) {
      return absl::DeadlineExceededError("the worker is silent");
    }
    // Whatever children of a dead worker hold open, its own words were written before it died.
    ended = fds[2].revents != 0;
    if (fds[0].revents != 0 || ended) ReadStdout();
    if (fds[1].revents != 0) ReadStderr();
    if (fds[3].revents != 0) Write();
    // A worker that never stops writing to stderr is still silent.
    if (!ended && fds[0].revents == 0 && absl::Now() >= deadline) {
      return absl::DeadlineExceededError("the worker is silent");
    }
  }
}

}  // namespace hone
