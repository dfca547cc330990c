// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/spawner/jail.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "verifier/sandbox/descriptor.h"
#include "verifier/sandbox/program_file.h"
#include "verifier/sandbox/spawner/filter.h"
#include "verifier/sandbox/spawner/python.h"

namespace hone {
namespace {

// Where the descriptors of RunMessage stand.
enum { kProgram = 0, kStatus = 1, kStdin = 2, kPeerIn = 6, kPeerOut = 7 };

int64_t NowUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000000} + now.tv_nsec / 1000;
}

void Report(int status_fd, const RunStatus& status) {
  (void)!write(status_fd, &status, sizeof status);  // nobody is left to tell otherwise
}

// A step of ours failed, in PID 1 or before the program began in PID 2.
[[noreturn]] void Refuse(int status_fd, JailStep step) {
  RunStatus status;
  status.step = step;
  status.error = errno;
  Report(status_fd, status);
  _exit(1);
}

bool ReadProgram(int fd, ProgramFile* program) {
  struct stat status;
  if (fstat(fd, &status) != 0) return false;
  std::string bytes(static_cast<size_t>(status.st_size), 0);
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (n <= 0) return false;
    at += static_cast<size_t>(n);
  }
  errno = EINVAL;
  return DecodeProgram(bytes, program);
}

bool WriteFile(const std::string& path, const std::string& bytes) {
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0555));
  if (!file.open()) return false;
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = write(file.get(), bytes.data() + at, bytes.size() - at);
    if (n <= 0) return false;
    at += static_cast<size_t>(n);
  }
  return true;
}

bool MountBox(const ProgramFile& program) {
  if (mount("box", "/box", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOATIME, "mode=755") != 0) {
    return false;
  }
  for (const auto& [name, bytes] : program.files) {
    if (!WriteFile("/box/" + name, bytes)) return false;
  }
  return mount(nullptr, "/box", nullptr,
               MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME, nullptr) == 0;
}

JailStep MountOwn(const RunMessage& message, const ProgramFile& program) {
  const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount("proc", "/proc", "proc", flags, "hidepid=invisible,subset=pid") != 0) {
    return JailStep::kProc;
  }
  const std::string options =
      "mode=1777,nr_inodes=1024,size=" + std::to_string(2 * message.file_bytes);
  if (mount("tmp", "/tmp", "tmpfs", flags, options.c_str()) != 0) return JailStep::kTmp;
  if (!program.files.empty() && !MountBox(program)) return JailStep::kBox;
  return chdir("/tmp") == 0 ? JailStep::kNone : JailStep::kTmp;
}

bool SetLimit(int resource, int64_t soft, int64_t hard) {
  const rlimit limit = {static_cast<rlim_t>(soft), static_cast<rlim_t>(hard)};
  return setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0;
}

// The control groups and the service's clock are what counts; these are the second net.
bool SetLimits(const RunMessage& message) {
  const int64_t cpu_s = message.cpu_ms / 1000 + 2;
  const int64_t stack = std::min(message.memory_bytes, int64_t{1} << 30);
  return SetLimit(RLIMIT_CORE, 0, 0) && SetLimit(RLIMIT_NOFILE, 64, 64) &&
         SetLimit(RLIMIT_FSIZE, message.file_bytes, message.file_bytes) &&
         SetLimit(RLIMIT_CPU, cpu_s, cpu_s + 1) && SetLimit(RLIMIT_STACK, stack, stack) &&
         SetLimit(RLIMIT_MEMLOCK, 0, 0) && SetLimit(RLIMIT_MSGQUEUE, 0, 0) &&
         SetLimit(RLIMIT_SIGPENDING, 256, 256) && SetLimit(RLIMIT_NICE, 0, 0) &&
         SetLimit(RLIMIT_RTPRIO, 0, 0);
}

// Where the whole machine runs out of memory a candidate goes first, and not the service.
bool VolunteerToDie() {
  const Descriptor file(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  return file.open() && write(file.get(), "1000", 4) == 4;
}

bool BecomeNobody() {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability) != 0) return false;
  }
  // Dumpable again after the change of user, or its own /proc/self would be closed to it.
  return setgroups(0, nullptr) == 0 && setresgid(kJailUid, kJailUid, kJailUid) == 0 &&
         setresuid(kJailUid, kJailUid, kJailUid) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0 &&
         prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

bool JoinControlGroups(const RunMessage& message, const int* descriptors) {
  const int first = message.paired ? kPeerOut + 1 : kPeerIn;
  for (uint32_t i = 0; i < message.control_groups; ++i) {
    if (write(descriptors[first + static_cast<int>(i)], "0", 1) != 1) return false;
  }
  return unshare(CLONE_NEWCGROUP) == 0;  // so that they look like the root to it
}

// Moves the program's descriptors to 0.., the status pipe right above, and closes all others.
// Returns where the status pipe is, or -1.
int PlaceDescriptors(const RunMessage& message, const int* descriptors) {
  const int count = message.paired ? 6 : 4;
  for (int i = 0; i < count; ++i) {
    if (dup2(descriptors[kStdin + i], i) != i) return -1;
  }
  if (dup3(descriptors[kStatus], count, O_CLOEXEC) != count) return -1;
  return close_range(static_cast<unsigned>(count) + 1, ~0u, 0) == 0 ? count : -1;
}

void ResetSignals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
}

[[noreturn]] void Execute(const ProgramFile& program) {
  std::vector<char*> argv;
  for (const std::string& arg : program.argv) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  char* const environment[] = {nullptr};
  for (const char* folder : {"", "/box/", "/usr/bin/", "/bin/"}) {
    const std::string path = folder + program.argv[0];
    if (*folder == 0 && path.find('/') == std::string::npos) continue;
    execve(path.c_str(), argv.data(), environment);
    if (errno != ENOENT || *folder == 0) break;
  }
  const std::string complaint = "cannot execute " + program.argv[0] + ": " + strerror(errno) + "\n";
  (void)!write(2, complaint.data(), complaint.size());
  _exit(127);
}

[[noreturn]] void RunCandidate(const JailKit& kit, const RunMessage& message,
                               const int* descriptors, const ProgramFile& program) {
  int status = descriptors[kStatus];
  setsid();
  if (!JoinControlGroups(message, descriptors)) Refuse(status, JailStep::kControlGroups);
  const int placed = PlaceDescriptors(message, descriptors);
  if (placed < 0) Refuse(status, JailStep::kDescriptors);
  status = placed;
  const bool python = program.argv.empty();
  if (!python) ResetSignals();
  if (!SetLimits(message) || !VolunteerToDie()) Refuse(status, JailStep::kResourceLimits);
  if (!BecomeNobody()) Refuse(status, JailStep::kUser);
  if (!RestrictFiles(kit.landlock_version)) Refuse(status, JailStep::kLandlock);
  if (!InstallFilter(kit.filter)) Refuse(status, JailStep::kFilter);
  if (!python) Execute(program);
  close(status);
  RunPython(program.python_source, program.source_name, !program.files.empty());
}

}  // namespace

void RunJail(const JailKit& kit, const RunMessage& message, const int* descriptors, int released) {
  const int status_fd = descriptors[kStatus];
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char byte;
  if (read(released, &byte, 1) != 1) _exit(1);  // the spawner died or could not map us
  close(released);
  signal(SIGCHLD, SIG_DFL);
  setsid();
  ProgramFile program;
  if (!ReadProgram(descriptors[kProgram], &program)) Refuse(status_fd, JailStep::kProgramFile);
  const JailStep step = MountOwn(message, program);
  if (step != JailStep::kNone) Refuse(status_fd, step);

  const int64_t start_us = NowUs();
  const pid_t candidate = fork();
  if (candidate < 0) Refuse(status_fd, JailStep::kFork);
  if (candidate == 0) RunCandidate(kit, message, descriptors, program);
  // The candidate's pipes must end when it lets go of them: nothing stays open here but the status.
  if (dup2(status_fd, 0) != 0 || close_range(1, ~0u, 0) != 0) _exit(1);
  RunStatus status;
  for (pid_t pid = 0; pid != candidate;) {  // orphans are reaped on the way
    pid = waitpid(-1, &status.wait_status, 0);
    if (pid < 0 && errno != EINTR) _exit(1);
  }
  status.wall_us = NowUs() - start_us;
  // The kernel would kill the rest as well, after it has taken down the mounts, which can take
  // long on a busy machine. So that the report may be believed at once, it is done here.
  kill(-1, SIGKILL);
  while (waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
  Report(0, status);
  _exit(0);
}

}  // namespace hone
