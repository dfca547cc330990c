// SPDX-License-Identifier: Apache-2.0
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "services/clients/remote_policy.h"
#include "services/rpc/address.h"
#include "services/rpc/channel.h"
#include "services/rpc/pieces.h"
#include "services/rpc/status.h"
#include "services/servers/policy_server.h"
#include "tests/policy/fake_policy.h"
#include "tests/services/raw_call.h"
#include "tests/services/serving.h"

namespace hone {
namespace {

using rpc::ParseAddress;
using rpc::Server;

TEST(Address, OfUnixSocketsAndLoopbackIsTaken) {
  EXPECT_EQ(ParseAddress("unix:/run/hone.sock")->ToString(), "unix:/run/hone.sock");
  EXPECT_EQ(ParseAddress("unix:relative/s")->Target(), "unix:relative/s");
  EXPECT_EQ(ParseAddress("127.0.0.1:0")->ToString(), "127.0.0.1:0");
  EXPECT_EQ(ParseAddress("127.3.4.5:65535")->Target(), "ipv4:127.3.4.5:65535");
  EXPECT_EQ(ParseAddress("localhost:80")->ToString(), "127.0.0.1:80");
  EXPECT_EQ(ParseAddress("[::1]:80")->Target(), "ipv6:[::1]:80");
}

TEST(Address, OfAnotherMachineIsRefusedByNameAndSaysWhatToDo) {
  for (const char* other : {"0.0.0.0:1", "10.0.0.1:1", "example.com:1", "[::]:1", "128.0.0.1:1",
                            "127.0.0.1.evil.com:1", "[2001:db8::1]:1"}) {
    const auto address = ParseAddress(other);
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument) << other;
    EXPECT_TRUE(absl::StrContains(address.status().message(), "mTLS")) << other;
    EXPECT_EQ(Server::Start({other}, {}).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(Address, MalformedIsRefused) {
  for (const char* bad : {"", "unix:", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
                          ":80", "::1:80", "127.0.0.1:80x"}) {
    EXPECT_FALSE(ParseAddress(bad).ok()) << bad;
  }
  EXPECT_TRUE(ParseAddress("unix:" + std::string(107, 'x')).ok());
  EXPECT_FALSE(ParseAddress("unix:" + std::string(108, 'x')).ok());
}

TEST(Address, ToConnectToNeedsARealPort) {
  EXPECT_FALSE(rpc::MakeChannel("127.0.0.1:0").ok());
  EXPECT_TRUE(rpc::MakeChannel("127.0.0.1:1").ok());
}

TEST(StatusOnTheWire, KeepsCodeAndMessageForEveryCode) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why \xE2\x82\xAC");
    EXPECT_EQ(rpc::FromGrpc(rpc::ToGrpc(status)), status);
  }
}

TEST(StatusOnTheWire, CutsLongMessagesVisibly) {
  const grpc::Status cut = rpc::ToGrpc(absl::InternalError(std::string(100000, 'x')));
  EXPECT_LT(cut.error_message().size(), 2200u);
  EXPECT_TRUE(absl::EndsWith(cut.error_message(), "... (100000 bytes)"));
}

struct Served {
  FakePolicy policy;
  PolicyServer server{BorrowPolicy(&policy, &policy), {}};
};

TEST(RpcServer, GivesThePortItTookAndAnswersThere) {
  Served served;
  auto server = Server::Start({"127.0.0.1:0"}, {served.server.service()});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE(absl::StartsWith((*server)->address(), "127.0.0.1:"));
  EXPECT_FALSE(absl::EndsWith((*server)->address(), ":0"));
  auto client = RemotePolicy::Connect((*server)->address());
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE((*client)->Info().ok());
}

TEST(RpcServer, NeverSharesAPortOrASocketWithAnother) {
  Served served;
  auto tcp = Server::Start({"127.0.0.1:0"}, {served.server.service()});
  ASSERT_TRUE(tcp.ok());
  Served other;
  EXPECT_EQ(Server::Start({(*tcp)->address()}, {other.server.service()}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  Serving serving({served.server.service()});
  EXPECT_EQ(Server::Start({serving.address()}, {other.server.service()}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  auto client = RemotePolicy::Connect(serving.address());
  EXPECT_TRUE((*client)->Info().ok()) << "the first server lost its socket";
}

TEST(RpcServer, ReplacesASocketFileThatNobodyListensOn) {
  TestDirectory directory;
  const std::string path = directory / "stale";
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::strncpy(name.sun_path, path.c_str(), sizeof(name.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  close(fd);
  Served served;
  auto server = Server::Start({"unix:" + path}, {served.server.service()});
  ASSERT_TRUE(server.ok()) << server.status();
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_TRUE((*RemotePolicy::Connect("unix:" + path))->Info().ok());
}

TEST(RpcServer, NeverReplacesAFileThatIsNoSocket) {
  TestDirectory directory;
  std::ofstream(directory / "notes") << "precious";
  Served served;
  EXPECT_EQ(
      Server::Start({"unix:" + (directory / "notes")}, {served.server.service()}).status().code(),
      absl::StatusCode::kFailedPrecondition);
  std::string text;
  std::ifstream(directory / "notes") >> text;
  EXPECT_EQ(text, "precious");
}

// grpc.health.v1.HealthCheckRequest{service = 1}, by hand: the answer's field 1 is the status.
int HealthOf(const std::string& address, const std::string& service) {
  const std::string body = std::string("\x0a") + static_cast<char>(service.size()) + service;
  const RawReply reply = CallRaw(address, "/grpc.health.v1.Health/Check", body);
  if (!reply.status.ok()) return -static_cast<int>(reply.status.code());
  return reply.body.size() < 2 ? 0 : reply.body[1];
}

TEST(RpcServer, TellsItsHealthByServiceName) {
  Served served;
  Serving serving({served.server.service()});
  EXPECT_EQ(HealthOf(serving.address(), "hone.v1.PolicyService"), 1);
  EXPECT_EQ(HealthOf(serving.address(), "hone.v1.NoSuchService"),
            -static_cast<int>(absl::StatusCode::kNotFound));
}

TEST(RpcServer, ShutsDownTwiceInPeaceAndLeavesNoSocketFile) {
  TestDirectory directory;
  Served served;
  auto server = Server::Start({"unix:" + (directory / "s")}, {served.server.service()});
  ASSERT_TRUE(server.ok());
  (*server)->Shutdown(absl::Seconds(1));
  (*server)->Shutdown(absl::Seconds(1));
  EXPECT_FALSE(std::filesystem::exists(directory / "s"));
}

TEST(RpcServer, GoesAtOnceAfterALargeMessage) {
  const absl::Time began = absl::Now();
  {
    Served served;
    Serving serving({served.server.service()});
    const std::string field = "\x7a\x80\x80\x80\x04";  // 15, 8 MiB of bytes: unknown, skipped
    const std::string body = field + std::string(8 << 20, 'x');
    EXPECT_TRUE(CallRaw(serving.address(), "/hone.v1.PolicyService/Info", body).status.ok());
  }
  EXPECT_LT(absl::Now() - began, absl::Seconds(3));
}

// A client whose call is in progress when the server is asked to stop.
struct Caller {
  explicit Caller(const std::string& address) : client(*RemotePolicy::Connect(address, Once())) {
    thread = std::thread([this] {
      GenerateRequest request;
      request.request_id = "one";
      request.prompt = {1};
      request.sampling.max_tokens = 4;
      ended = client->Generate({request}, [](GenerateChunk) { return true; });
    });
  }
  ~Caller() { Join(); }
  void Join() {
    if (thread.joinable()) thread.join();
  }
  static RemotePolicyOptions Once() {
    RemotePolicyOptions options;
    options.retry.attempts = 1;
    return options;
  }
  std::unique_ptr<RemotePolicy> client;
  absl::Status ended = absl::UnknownError("no answer yet");
  std::thread thread;
};

TEST(RpcServer, LetsARunningCallEndAndThenStopsWithoutWaitingOutTheGrace) {
  Served served;
  std::atomic<bool> arrived{false};
  served.policy.OnGenerate([&](int) {
    arrived = true;
    absl::SleepFor(absl::Milliseconds(200));
    return absl::OkStatus();
  });
  Serving serving({served.server.service()});
  auto idle = RemotePolicy::Connect(serving.address());
  ASSERT_TRUE((*idle)->Info().ok());
  Caller caller(serving.address());
  while (!arrived) absl::SleepFor(absl::Milliseconds(1));
  const absl::Time began = absl::Now();
  serving.Stop(absl::Seconds(30));
  EXPECT_LT(absl::Now() - began, absl::Seconds(2));
  caller.Join();
  EXPECT_TRUE(caller.ended.ok()) << caller.ended;
}

TEST(RpcServer, TellsACallThatOutlivesTheGraceThatItIsUnavailable) {
  Served served;
  std::atomic<bool> arrived{false}, open{false};
  served.policy.OnGenerate([&](int) {
    arrived = true;
    while (!open) absl::SleepFor(absl::Milliseconds(1));
    return absl::OkStatus();
  });
  Serving serving({served.server.service()});
  Caller caller(serving.address());
  while (!arrived) absl::SleepFor(absl::Milliseconds(1));
  std::thread stopper([&] { serving.Stop(absl::Milliseconds(100)); });
  caller.Join();
  EXPECT_EQ(caller.ended.code(), absl::StatusCode::kUnavailable) << caller.ended;
  open = true;
  stopper.join();
}

TEST(RpcServer, IsNotHeldUpByWhoWatchesItsHealth) {
  Served served;
  Serving serving({served.server.service()});
  auto channel = rpc::MakeChannel(serving.address());
  grpc::GenericStub stub(*channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  auto call = stub.PrepareCall(&context, "/grpc.health.v1.Health/Watch", &queue);
  const auto wait = [&] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  call->StartCall(nullptr);
  ASSERT_TRUE(wait());
  const grpc::Slice everything("");
  call->WriteLast(grpc::ByteBuffer(&everything, 1), grpc::WriteOptions(), nullptr);
  ASSERT_TRUE(wait());
  grpc::ByteBuffer reply;
  call->Read(&reply, nullptr);
  ASSERT_TRUE(wait()) << "the stream is open";
  const absl::Time began = absl::Now();
  serving.Stop(absl::Seconds(30));
  EXPECT_LT(absl::Now() - began, absl::Seconds(2));
  do {  // the last message says that it no longer serves; then the stream is broken off
    call->Read(&reply, nullptr);
  } while (wait());
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  EXPECT_FALSE(status.ok());
}

TEST(Retries, AreBoundedAndOnlyForUnavailable) {
  rpc::CallSet calls;
  const rpc::RetryOptions options = {3, absl::Milliseconds(1), absl::Milliseconds(1)};
  int attempts = 0;
  const auto count = [&](absl::Status status) {
    attempts = 0;
    const absl::Status end = rpc::WithRetries(options, calls, [&] {
      ++attempts;
      return status;
    });
    EXPECT_EQ(end, status);
    return attempts;
  };
  EXPECT_EQ(count(absl::UnavailableError("gone")), 3);
  for (const absl::Status& status :
       {absl::OkStatus(), absl::InternalError("bug"), absl::DeadlineExceededError("late"),
        absl::DataLossError("altered"), absl::CancelledError("stop")}) {
    EXPECT_EQ(count(status), 1) << status;
  }
}

TEST(Retries, EndAtOnceWhenTheClientIsCancelled) {
  rpc::CallSet calls;
  const absl::Time start = absl::Now();
  std::thread canceller([&] {
    absl::SleepFor(absl::Milliseconds(30));
    calls.Cancel();
  });
  const absl::Status status = rpc::WithRetries({1000, absl::Seconds(30), absl::Seconds(30)}, calls,
                                               [] { return absl::UnavailableError("gone"); });
  canceller.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

// A message whose items are numbers standing for sizes.
struct Weights {
  std::vector<int64_t> items;
  int64_t ByteSizeLong() const {
    int64_t sum = 0;
    for (int64_t item : items) sum += item;
    return sum;
  }
  void Clear() { items.clear(); }
  void MergeFrom(const Weights& other) {
    items.insert(items.end(), other.items.begin(), other.items.end());
  }
};

TEST(Pieces, HoldEveryItemOnceInOrderAndStayNearTheTarget) {
  const int64_t mib = 1 << 20;
  const std::vector<int64_t> sizes = {1, 3 * mib, 2 * mib, 15 * mib, 1, 1, 4 * mib, 2 * mib, mib};
  std::vector<int64_t> sent;
  const absl::Status status = rpc::WriteInPieces(
      sizes.size(), Weights(), [&](size_t i, Weights* to) { to->items = {sizes[i]}; },
      [&](const Weights& piece) {
        EXPECT_TRUE(piece.items.size() == 1 || piece.ByteSizeLong() <= 4 * mib);
        sent.insert(sent.end(), piece.items.begin(), piece.items.end());
        return true;
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(sent, sizes);
}

TEST(Pieces, RefuseAnItemThatIsOverTheMessageLimit) {
  const absl::Status status = rpc::WriteInPieces(
      1, Weights(), [](size_t, Weights* to) { to->items = {(16 << 20) + 1}; },
      [](const Weights&) { return true; });
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
}

TEST(Pieces, OfNothingAreOneMessage) {
  int messages = 0;
  EXPECT_TRUE(rpc::WriteInPieces(
                  0, Weights(), [](size_t, Weights*) {},
                  [&](const Weights&) {
                    ++messages;
                    return true;
                  })
                  .ok());
  EXPECT_EQ(messages, 1);
}

}  // namespace
}  // namespace hone
