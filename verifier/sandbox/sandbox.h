// SPDX-License-Identifier: Apache-2.0
//
// A jail for programs that nobody trusts: run one, or two that talk to each other, under limits,
// and report what happened as bytes and figures. It judges nothing; verifier/code does.
//
// Each run is alone: its own process, mount and user namespaces and control groups, its slot's uid
// and empty network and IPC namespaces, a read-only tree, a system call allow-list. When Run
// returns no process of it is left and no control group; the kernel may still be taking down its
// mounts.
// Where this machine does not permit that, Start refuses with the step that failed, the error
// number and what to change. It is never silently weaker.
#ifndef HONE_VERIFIER_SANDBOX_SANDBOX_H_
#define HONE_VERIFIER_SANDBOX_SANDBOX_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace hone {

// Of one program. Every one of them is enforced from outside the program.
struct SandboxLimits {
  int64_t cpu_ms = 4000;                      // user + system time of all its processes together
  int64_t wall_ms = 0;                        // 0: three times cpu_ms plus one second
  int64_t memory_bytes = int64_t{512} << 20;  // resident, files in /tmp included
  int64_t output_bytes = int64_t{1} << 20;    // of stdout, and of the result descriptor, each
  int64_t error_bytes = int64_t{64} << 10;    // of stderr: what goes beyond is dropped, counted
  int64_t file_bytes = int64_t{8} << 20;      // one file it writes; /tmp as a whole: twice that
  int32_t processes = 16;                     // processes and threads at one time
};

// It runs in an empty environment, in /tmp, which is its own and writable (noexec).
struct SandboxProgram {
  // Python: the source is run as __main__ by a fork of a warmed interpreter, file name
  // "<candidate>" unless source_name says otherwise. Otherwise argv[0] is executed; it is looked
  // up in the jail's tree (/usr, /lib, /bin, and /box where `files` are). If it cannot be
  // executed, stderr says why and the exit code is 127.
  std::string python_source;
  std::string source_name = "<candidate>";
  std::vector<std::string> argv;             // exactly one of python_source and argv is given
  std::map<std::string, std::string> files;  // name without '/' -> bytes; read-only in /box
  std::string stdin_bytes;                   // descriptor 0, then end of file
  // For a program that is spoken to while it runs: the caller's descriptors instead of the
  // sandbox's pipes, for 0, 1 and 2. What goes through them is neither kept nor limited here.
  std::array<int, 3> streams = {-1, -1, -1};
  int stop_fd = -1;  // once this is readable, or its other end closed, it is stopped (kCancelled)
  SandboxLimits limits;
};

enum class SandboxEnding : uint8_t {
  kExited = 1,     // exit_code says how
  kSignalled = 2,  // killed by a signal of its own making: `signal` says which
  kCpuLimit = 3,
  kWallLimit = 4,
  kMemoryLimit = 5,
  kOutputLimit = 6,   // stdout or the result descriptor went beyond output_bytes
  kProcessLimit = 7,  // it exited unhappily after forks were refused at the limit
  kViolation = 8,     // it made a system call that is answered by death
  kCancelled = 9,     // its peer in RunPair had ended, or stop_fd said so
};
// "exited", "signalled", "cpu_limit", ...
const char* SandboxEndingName(SandboxEnding ending);

struct SandboxReport {
  SandboxEnding ending = SandboxEnding::kExited;
  int exit_code = 0;  // Python: 1 after an uncaught exception, else what it exited with
  int signal = 0;
  std::string stdout_bytes;  // at most output_bytes
  std::string stderr_bytes;  // at most error_bytes
  std::string result_bytes;  // what it wrote to descriptor 3; at most output_bytes
  int64_t stderr_dropped_bytes = 0;
  int64_t cpu_us = 0;
  int64_t wall_us = 0;
  int64_t memory_peak_bytes = 0;
  int64_t refused_forks = 0;  // processes or threads refused at the limit
};

struct SandboxOptions {
  // The executable that holds the spawner and the interpreter. Empty: "hone-sandbox" beside the
  // running executable, or in the folder above it.
  std::string executable;
  int32_t slots = 0;                 // programs that run at one time; 0: twice the processors
  int64_t runs_per_spawner = 20000;  // then a new spawner takes over, and the old one ends
  // Modules imported once, before the candidates' code runs. Empty: the contest list
  // (docs/sandbox.md).
  std::vector<std::string> warm_modules;
};

// Thread-safe. Run and RunPair block; calls beyond `slots` wait for their turn.
class Sandbox {
 public:
  virtual ~Sandbox() = default;  // no process, control group or mount of it is left

  // UNAVAILABLE: the machinery failed (it restarts itself; try again). INVALID_ARGUMENT: the
  // program's description. A program that misbehaves is never an error but a report.
  virtual absl::StatusOr<SandboxReport> Run(const SandboxProgram& program) = 0;

  // Runs `tester` and `candidate` at one time in two jails joined by two pipes: descriptor 4 reads
  // what the other wrote to its descriptor 5. When the tester ends, the candidate is stopped, if it
  // does not end within 50 ms. When the candidate ends, the tester reads end of file.
  // [0] tester, [1] candidate. Takes two slots.
  virtual absl::StatusOr<std::vector<SandboxReport>> RunPair(const SandboxProgram& tester,
                                                             const SandboxProgram& candidate) = 0;
};

// Starts the spawner and tests the jail itself with a program that tries the doors.
// FAILED_PRECONDITION: isolation is not permitted here; the message names the step and the cure.
absl::StatusOr<std::unique_ptr<Sandbox>> StartSandbox(const SandboxOptions& options);

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_SANDBOX_H_
