// SPDX-License-Identifier: Apache-2.0
//
// hone-sandbox: forks the jails of one service. It is started by StartSandbox and by nobody else;
// it never sees a test, an expected output or the service's environment (docs/sandbox.md).
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "verifier/sandbox/descriptor.h"
#include "verifier/sandbox/spawner/filter.h"
#include "verifier/sandbox/spawner/jail.h"
#include "verifier/sandbox/spawner/python.h"
#include "verifier/sandbox/spawner/sweep.h"
#include "verifier/sandbox/spawner/tree.h"
#include "verifier/sandbox/wire.h"

namespace hone {
namespace {

struct StartOrders {
  uint32_t version = 0;
  std::vector<std::string> warm_modules;
  std::vector<std::string> sweep;
};

bool ReadStart(int socket, StartOrders* orders) {
  std::string text(kMaxStartBytes, 0);
  const ssize_t size = recv(socket, text.data(), text.size(), 0);
  if (size <= 0) return false;
  text.resize(static_cast<size_t>(size));
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    if (end == std::string::npos) return false;
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const size_t blank = line.find(' ');
    if (blank == std::string::npos) return false;
    const std::string word = line.substr(0, blank), rest = line.substr(blank + 1);
    if (word == "version") orders->version = static_cast<uint32_t>(std::stoul(rest));
    if (word == "warm") orders->warm_modules.push_back(rest);
    if (word == "sweep") orders->sweep.push_back(rest);
  }
  return true;
}

// A program may use as much stack as memory, so the room below this process's own stack, which is
// fixed when it is executed, must be that large.
void TakeRoomForStacks(char** argv) {
  rlimit limit;
  const rlim_t wanted = rlim_t{1} << 30;
  if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == wanted) return;
  limit.rlim_cur = wanted;
  if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < wanted) return;
  char* const environment[] = {nullptr};
  if (setrlimit(RLIMIT_STACK, &limit) == 0) execve("/proc/self/exe", argv, environment);
}

// 0, 1 and 2 become pipes, for Python asks what they are when it starts; 4 to 15 stay taken, so
// that no descriptor of a run can be one of the numbers the candidate's get.
bool ArrangeDescriptors(int* socket) {
  if (close_range(kSpawnerSocket + 1, ~0u, 0) != 0) return false;
  *socket = fcntl(kSpawnerSocket, F_DUPFD_CLOEXEC, kFirstDescriptor);
  int ends[2];
  if (*socket < 0 || pipe2(ends, O_CLOEXEC) != 0) return false;
  if (dup2(ends[0], 0) != 0 || dup2(ends[1], 1) != 1 || dup2(ends[1], 2) != 2) return false;
  for (int fd = 3; fd < kFirstDescriptor; ++fd) {
    if (fd != ends[0] && fd != ends[1] && dup3(ends[1], fd, O_CLOEXEC) != fd) return false;
  }
  return true;
}

Failure Prepare(const StartOrders& orders, JailKit* kit) {
  rlimit files;  // three for each slot
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  signal(SIGCHLD, SIG_IGN);  // the service waits by pidfd; nothing here to reap
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_NAME, "hone-sandbox");
  pthread_attr_t attributes;  // a thread's stack: as usual, not the 1 GiB of the main one
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, size_t{8} << 20);
  pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
  if (Failure failure = EnterTree(); failure.failed()) return failure;
  if (Failure failure = BuildFilter(&kit->filter); failure.failed()) return failure;
  kit->landlock_version = LandlockVersion();
  if (kit->landlock_version == 0) return Failed(JailStep::kLandlockProbe);
  return WarmPython(orders.warm_modules);
}

bool WriteMap(const std::string& path, const std::string& text) {
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.open() &&
         write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool WriteMaps(pid_t pid, uint32_t host_uid) {
  const std::string proc = "/proc/" + std::to_string(pid) + "/";
  const std::string inside = std::to_string(kJailUid) + " " + std::to_string(host_uid) + " 1\n";
  return WriteMap(proc + "uid_map", "0 " + std::to_string(geteuid()) + " 1\n" + inside) &&
         WriteMap(proc + "gid_map", "0 " + std::to_string(getegid()) + " 1\n" + inside);
}

// Namespaces that cost milliseconds to make and take down, and hold nothing: a network without
// interfaces, no IPC objects, a host name. One set a slot, made at its first run: no socket and no
// IPC call passes the filter, and two candidates at one time never have the same.
class Rooms {
 public:
  // Moves this process, and so what it clones next, into those of the slot.
  bool Enter(uint32_t slot) {
    if (entered_ && slot == current_) return true;
    entered_ = false;
    if (slot >= rooms_.size()) rooms_.resize(slot + 1);
    Room& room = rooms_[slot];
    if (!room.net.open()) {
      if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0 || sethostname("box", 3) != 0) {
        return false;
      }
      room.ipc = Descriptor(open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC));
      room.uts = Descriptor(open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC));
      room.net = Descriptor(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
      entered_ = room.ipc.open() && room.uts.open() && room.net.open();
    } else {
      entered_ = setns(room.net.get(), CLONE_NEWNET) == 0 &&
                 setns(room.ipc.get(), CLONE_NEWIPC) == 0 &&
                 setns(room.uts.get(), CLONE_NEWUTS) == 0;
    }
    current_ = slot;
    return entered_;
  }

 private:
  struct Room {
    Descriptor net, ipc, uts;
  };
  std::vector<Room> rooms_;
  uint32_t current_ = 0;
  bool entered_ = false;
};

// Clones PID 1. On success *pidfd is its descriptor and it is on its way.
RunReply StartRun(const JailKit& kit, const RunMessage& message, const int* descriptors,
                  Descriptor* pidfd) {
  int release[2];
  if (pipe2(release, O_CLOEXEC) != 0) return {JailStep::kNamespaces, errno};
  const Descriptor released(release[0]), releasing(release[1]);
  int fd = -1;
  clone_args arguments = {};
  // That of control groups comes when the candidate has joined its own.
  arguments.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uintptr_t>(&fd);
  arguments.exit_signal = SIGCHLD;
  const long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid < 0) return {JailStep::kNamespaces, errno};
  if (pid == 0) {
    close(release[1]);
    RunJail(kit, message, descriptors, release[0]);
  }
  *pidfd = Descriptor(fd);
  if (!WriteMaps(static_cast<pid_t>(pid), message.host_uid) || write(releasing.get(), "", 1) != 1) {
    return {JailStep::kUidMap, errno};
  }
  return {};
}

bool SendReply(int socket, const RunReply& reply, const Descriptor& pidfd) {
  iovec part = {const_cast<RunReply*>(&reply), sizeof reply};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (pidfd.open()) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = pidfd.get();
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof reply);
}

// Returns the size of the message, 0 at the end; takes over what descriptors came with it.
ssize_t Receive(int socket, RunMessage* run, std::vector<Descriptor>* descriptors) {
  iovec part = {run, sizeof *run};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxRunDescriptors * sizeof(int))];
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size;
  do {
    size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size <= 0) return size;
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at)) {
    const size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
      descriptors->emplace_back(fd);
    }
  }
  return size;
}

// Until the service is gone.
void Serve(int socket, const JailKit& kit) {
  Rooms rooms;
  for (;;) {
    RunMessage run;
    std::vector<Descriptor> descriptors;
    const ssize_t size = Receive(socket, &run, &descriptors);
    if (size != static_cast<ssize_t>(sizeof run)) return;
    std::vector<int> numbers;
    for (const Descriptor& descriptor : descriptors) numbers.push_back(descriptor.get());
    Descriptor pidfd;
    RunReply reply = {JailStep::kDescriptors, EBADF};
    if (!rooms.Enter(run.slot)) {
      reply = {JailStep::kNamespaces, errno};
    } else if (numbers.size() == 6 + 2 * run.paired + run.control_groups) {
      reply = StartRun(kit, run, numbers.data(), &pidfd);
    }
    if (!SendReply(socket, reply, pidfd)) return;
  }
}

int Main(char** argv) {
  TakeRoomForStacks(argv);
  int socket;
  StartOrders orders;
  if (!ArrangeDescriptors(&socket) || !ReadStart(socket, &orders)) {
    std::fprintf(stderr, "hone-sandbox is started by hone itself; see docs/sandbox.md\n");
    return 2;
  }
  const Sweeper sweeper(orders.sweep);
  JailKit kit;
  StartReply reply;
  if (orders.version == kWireVersion) {
    const Failure failure = Prepare(orders, &kit);
    reply.step = failure.step;
    reply.error = failure.error;
    failure.detail.copy(reply.detail, sizeof reply.detail - 1);
  }
  if (send(socket, &reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply) return 1;
  if (reply.step != JailStep::kNone || orders.version != kWireVersion) return 1;
  Serve(socket, kit);
  sweeper.Sweep();
  return 0;
}

}  // namespace
}  // namespace hone

int main(int, char** argv) {
  return hone::Main(argv);
}
