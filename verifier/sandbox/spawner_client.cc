// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/spawner_client.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "verifier/sandbox/jail_step.h"

namespace hone {
namespace {

constexpr int kStartTimeoutMs = 60000;  // it imports modules, on a machine that may be busy
constexpr int kReplyTimeoutMs = 20000;

absl::Status Unavailable(absl::string_view what) {
  return absl::UnavailableError(
      absl::StrCat("sandbox: ", what, ": ", strerror(errno), " (errno ", errno, ")"));
}

bool WaitReadable(int fd, int timeout_ms) {
  pollfd poll_for = {fd, POLLIN, 0};
  int ready;
  do {
    ready = poll(&poll_for, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) errno = ETIMEDOUT;
  return ready > 0;
}

// Starts the executable with one end of a pair as its descriptor 3 and nothing else of ours: no
// environment, no terminal, its own process group.
absl::Status Spawn(const std::string& executable, int socket, pid_t* pid) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, socket, kSpawnerSocket);
  posix_spawn_file_actions_addclosefrom_np(&actions, kSpawnerSocket + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  char name[] = "hone-sandbox";
  char* const argv[] = {name, nullptr};
  char* const environment[] = {nullptr};
  const int error = posix_spawn(pid, executable.c_str(), &actions, &attributes, argv, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("sandbox: starting ", executable, ": ", strerror(error), " (errno ", error,
                   "); build the target hone-sandbox and name it in SandboxOptions.executable"));
}

absl::Status ReadStartReply(int socket) {
  StartReply reply;
  if (!WaitReadable(socket, kStartTimeoutMs)) return Unavailable("hone-sandbox does not answer");
  const ssize_t size = recv(socket, &reply, sizeof reply, 0);
  if (size != sizeof reply || reply.version != kWireVersion) {
    return absl::FailedPreconditionError(
        "sandbox: hone-sandbox ended before it was ready, or is of another build; rebuild hone "
        "and hone-sandbox together");
  }
  if (reply.step == JailStep::kNone) return absl::OkStatus();
  reply.detail[sizeof reply.detail - 1] = 0;
  return absl::FailedPreconditionError(JailStepSentence(reply.step, reply.error, reply.detail));
}

bool SendRun(int socket, const RunMessage& run, const std::vector<int>& descriptors) {
  assert(descriptors.size() <= kMaxRunDescriptors);
  iovec part = {const_cast<RunMessage*>(&run), sizeof run};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxRunDescriptors * sizeof(int))] = {};
  const size_t bytes = descriptors.size() * sizeof(int);
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(bytes);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(bytes);
  std::memcpy(CMSG_DATA(header), descriptors.data(), bytes);
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof run);
}

bool ReceiveReply(int socket, RunReply* reply, Descriptor* pidfd) {
  if (!WaitReadable(socket, kReplyTimeoutMs)) return false;
  iovec part = {reply, sizeof *reply};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (size > 0 && header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int fd;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    *pidfd = Descriptor(fd);
  }
  if (size == 0) errno = ECONNRESET;
  return size == static_cast<ssize_t>(sizeof *reply);
}

}  // namespace

absl::StatusOr<std::string> FindSpawnerExecutable() {
  char self[4096];
  const ssize_t size = readlink("/proc/self/exe", self, sizeof self);
  if (size <= 0) return Unavailable("reading /proc/self/exe");
  std::string folder(self, static_cast<size_t>(size));
  for (int i = 0; i < 2; ++i) {
    folder.resize(folder.rfind('/'));
    const std::string path = absl::StrCat(folder, "/hone-sandbox");
    if (access(path.c_str(), X_OK) == 0) return path;
    if (folder.empty()) break;
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "sandbox: no hone-sandbox beside ", std::string(self, static_cast<size_t>(size)),
      " nor in the folder above; build the target hone-sandbox or name it in the options"));
}

absl::StatusOr<std::shared_ptr<SpawnerClient>> SpawnerClient::Start(
    const std::string& executable, const std::vector<std::string>& warm_modules,
    const std::vector<std::string>& sweep) {
  std::string orders = absl::StrCat("version ", kWireVersion, "\n");
  for (const std::string& module : warm_modules) absl::StrAppend(&orders, "warm ", module, "\n");
  for (const std::string& folder : sweep) absl::StrAppend(&orders, "sweep ", folder, "\n");
  if (orders.size() > kMaxStartBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("sandbox: warm_modules take more than ", kMaxStartBytes, " bytes"));
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return Unavailable("making a socket pair");
  }
  auto client = std::shared_ptr<SpawnerClient>(new SpawnerClient());
  client->socket_ = Descriptor(ends[0]);
  {
    // Above kSpawnerSocket, for dup2 onto itself would leave close-on-exec set.
    const Descriptor theirs(fcntl(ends[1], F_DUPFD_CLOEXEC, kSpawnerSocket + 1));
    close(ends[1]);
    if (!theirs.open()) return Unavailable("duplicating a socket");
    if (absl::Status status = Spawn(executable, theirs.get(), &client->pid_); !status.ok()) {
      return status;
    }
  }
  // Whatever keeps it from taking these orders, the missing reply says so.
  (void)!send(ends[0], orders.data(), orders.size(), MSG_NOSIGNAL);
  if (absl::Status status = ReadStartReply(ends[0]); !status.ok()) return status;
  return client;
}

SpawnerClient::~SpawnerClient() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

absl::StatusOr<Descriptor> SpawnerClient::Launch(const RunMessage& message,
                                                 const std::vector<int>& descriptors) {
  RunReply reply;
  Descriptor pidfd;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!trusted_ || !SendRun(socket_.get(), message, descriptors) ||
        !ReceiveReply(socket_.get(), &reply, &pidfd)) {
      trusted_ = false;  // a late reply would be taken for another run's
      return Unavailable("hone-sandbox died or hangs");
    }
  }
  ++launched_;
  if (reply.step != JailStep::kNone) {
    trusted_ = false;
    return absl::UnavailableError(JailStepSentence(reply.step, reply.error, ""));
  }
  if (!pidfd.open()) return Unavailable("hone-sandbox sent no process descriptor");
  return pidfd;
}

bool SpawnerClient::usable() const {
  if (!trusted_) return false;
  pollfd hung_up = {socket_.get(), 0, 0};
  return poll(&hung_up, 1, 0) >= 0 && (hung_up.revents & (POLLHUP | POLLERR)) == 0;
}

}  // namespace hone
