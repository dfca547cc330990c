// SPDX-License-Identifier: Apache-2.0
//
// A child process that is spoken to in lines: spawned (never forked: this process is big), watched,
// killed with its whole process group. It knows nothing about verifiers.
#ifndef HONE_SERVICES_CLIENTS_WORKER_PROCESS_H_
#define HONE_SERVICES_CLIENTS_WORKER_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "verifier/sandbox/sandbox.h"

namespace hone {

// Takes one line of a worker's stderr, readable and without its newline.
using WorkerLog = std::function<void(absl::string_view line)>;

// "[worker] LINE" on this process's stderr.
WorkerLog LogToStderr();

// Used by one thread at a time. The child inherits the environment, the working folder and nothing
// else: no descriptors, default signals, a process group of its own.
class WorkerProcess {
 public:
  static constexpr size_t kMaxLineBytes = size_t{1} << 20;
  static constexpr size_t kMaxLogBytes = size_t{64} << 10;  // of stderr, then a note

  // argv[0] is looked up in PATH. NOT_FOUND: there is no such program, or it may not be executed.
  static absl::StatusOr<std::unique_ptr<WorkerProcess>> Start(const std::vector<std::string>& argv,
                                                              WorkerLog log);
  // The same in a jail of `sandbox`, which must have a slot free for as long as the worker lives.
  // That it cannot be started shows as its end. `program` has argv, files and limits.
  static absl::StatusOr<std::unique_ptr<WorkerProcess>> StartJailed(
      std::shared_ptr<Sandbox> sandbox, SandboxProgram program, WorkerLog log);
  // Kills the process group and reaps the child, or stops the jail.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;

  // Queues a line (without newline) for its stdin; it is written while ReadLine waits.
  void Send(absl::string_view line);

  // The next line of its stdout, without newline. DEADLINE_EXCEEDED; UNAVAILABLE: it ended or
  // closed its stdout, the message says how, with the last line of its stderr;
  // INVALID_ARGUMENT: a line beyond kMaxLineBytes. After the last two it is of no more use.
  absl::StatusOr<std::string> ReadLine(absl::Time deadline);

 private:
  WorkerProcess() = default;
  void Write();
  void ReadStdout();
  void ReadStderr();
  void LogLines(bool last);
  absl::Status HowItEnded();

  pid_t pid_ = -1;    // -1: jailed
  std::thread jail_;  // runs the jail; when it ends pid_fd_ is readable and jail_end_ set
  int stop_fd_ = -1;  // closed to stop the jail
  std::shared_ptr<std::string> jail_end_;
  int pid_fd_ = -1, stdin_fd_ = -1, stdout_fd_ = -1, stderr_fd_ = -1;
  std::string outgoing_;
  std::string incoming_;
  size_t scanned_ = 0;  // of incoming_: holds no newline
  std::string error_line_, last_error_line_;
  size_t logged_bytes_ = 0;
  WorkerLog log_;
};

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_WORKER_PROCESS_H_
