// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/spawner/filter.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <initializer_list>

#include "verifier/sandbox/descriptor.h"

namespace hone {
namespace {

// What interpreters, compilers and the programs they make need. By subject; not here: sockets of
// any kind, mounts, modules, keys, tracing, other processes' memory, io_uring, bpf, perf,
// userfaultfd, memfd, System V and POSIX queues, notification of files, priorities, affinity.
constexpr int kAllowed[] = {
    // Memory
    SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(mremap), SCMP_SYS(madvise),
    SCMP_SYS(brk), SCMP_SYS(msync), SCMP_SYS(mincore),
    // Files, by descriptor
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
    SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(preadv2), SCMP_SYS(pwritev2),
    SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(dup), SCMP_SYS(dup2),
    SCMP_SYS(dup3), SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(fstat), SCMP_SYS(fstatfs),
    SCMP_SYS(getdents), SCMP_SYS(getdents64), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
    SCMP_SYS(fadvise64), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(flock), SCMP_SYS(fchmod),
    SCMP_SYS(fchdir), SCMP_SYS(sendfile), SCMP_SYS(copy_file_range), SCMP_SYS(eventfd2),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(epoll_create),
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
    SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime),
    // Files, by name
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(creat), SCMP_SYS(stat), SCMP_SYS(lstat),
    SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getcwd),
    SCMP_SYS(chdir), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rmdir), SCMP_SYS(unlink),
    SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(link),
    SCMP_SYS(linkat), SCMP_SYS(symlink), SCMP_SYS(symlinkat), SCMP_SYS(truncate), SCMP_SYS(chmod),
    SCMP_SYS(fchmodat), SCMP_SYS(utime), SCMP_SYS(utimes), SCMP_SYS(utimensat), SCMP_SYS(futimesat),
    SCMP_SYS(umask),
    // Processes and threads
    SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(execve), SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(wait4), SCMP_SYS(waitid), SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(tgkill),
    SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(gettid), SCMP_SYS(getpgid), SCMP_SYS(getpgrp),
    SCMP_SYS(setpgid), SCMP_SYS(getsid), SCMP_SYS(setsid), SCMP_SYS(set_tid_address),
    SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(rseq), SCMP_SYS(futex),
    SCMP_SYS(membarrier), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler), SCMP_SYS(sched_get_priority_min),
    SCMP_SYS(sched_get_priority_max), SCMP_SYS(getpriority), SCMP_SYS(getcpu),
    // Who am I
    SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getresuid),
    SCMP_SYS(getresgid), SCMP_SYS(getgroups), SCMP_SYS(capget), SCMP_SYS(uname), SCMP_SYS(sysinfo),
    SCMP_SYS(getrusage), SCMP_SYS(times), SCMP_SYS(getrlimit), SCMP_SYS(setrlimit),
    SCMP_SYS(prlimit64), SCMP_SYS(getrandom),
    // Signals
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigpending),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigsuspend), SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sigaltstack), SCMP_SYS(signalfd4), SCMP_SYS(pause), SCMP_SYS(restart_syscall),
    // Time
    SCMP_SYS(time), SCMP_SYS(gettimeofday), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
    SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(alarm), SCMP_SYS(getitimer),
    SCMP_SYS(setitimer), SCMP_SYS(timer_create), SCMP_SYS(timer_settime), SCMP_SYS(timer_gettime),
    SCMP_SYS(timer_getoverrun), SCMP_SYS(timer_delete)};

constexpr uint64_t kForbiddenCloneFlags = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                          CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
                                          CLONE_NEWNET | CLONE_PTRACE | CLONE_PARENT;

// A call that is allowed for some values of one argument alone.
bool AllowValues(scmp_filter_ctx context, int call, unsigned argument,
                 std::initializer_list<uint64_t> values) {
  for (const uint64_t value : values) {
    // The kernel reads these arguments as 32 bits: what stands above them may be anything.
    const scmp_arg_cmp same = {argument, SCMP_CMP_MASKED_EQ, 0xFFFFFFFFu, value};
    if (seccomp_rule_add_array(context, SCMP_ACT_ALLOW, call, 1, &same) != 0) return false;
  }
  return true;
}

bool AddRules(scmp_filter_ctx context) {
  for (const int call : kAllowed) {
    if (seccomp_rule_add(context, SCMP_ACT_ALLOW, call, 0) != 0) return false;
  }
  const scmp_arg_cmp plain = {0, SCMP_CMP_MASKED_EQ, kForbiddenCloneFlags, 0};
  return seccomp_rule_add_array(context, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &plain) == 0 &&
         seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0 &&
         AllowValues(context, SCMP_SYS(ioctl), 1,
                     {TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX}) &&
         AllowValues(context, SCMP_SYS(prctl), 0,
                     {PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE,
                      PR_CAPBSET_READ}) &&
         AllowValues(context, SCMP_SYS(fcntl), 1,
                     {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK,
                      F_SETLK, F_SETLKW, F_GETPIPE_SZ}) &&
         AllowValues(context, SCMP_SYS(arch_prctl), 0, {0x1002, 0x1003});  // the thread pointer
}

}  // namespace

Failure BuildFilter(std::vector<sock_filter>* filter) {
  scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (context == nullptr) return Failed(JailStep::kFilterBuild);
  const Descriptor file(memfd_create("filter", MFD_CLOEXEC));
  errno = EINVAL;
  const bool exported =
      seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0 &&
      seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 && AddRules(context) &&
      file.open() && seccomp_export_bpf(context, file.get()) == 0;
  seccomp_release(context);
  struct stat status;
  if (!exported || fstat(file.get(), &status) != 0) return Failed(JailStep::kFilterBuild);
  filter->resize(static_cast<size_t>(status.st_size) / sizeof(sock_filter));
  if (pread(file.get(), filter->data(), static_cast<size_t>(status.st_size), 0) != status.st_size) {
    return Failed(JailStep::kFilterBuild);
  }
  return {};
}

bool InstallFilter(const std::vector<sock_filter>& filter) {
  const sock_fprog program = {static_cast<uint16_t>(filter.size()),
                              const_cast<sock_filter*>(filter.data())};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

int LandlockVersion() {
  const long version =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return version > 0 ? static_cast<int>(version) : 0;
}

}  // namespace hone
