// SPDX-License-Identifier: Apache-2.0
#include "services/rpc/server.h"

#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/support/server_interceptor.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "services/convert/limits.h"
#include "services/rpc/address.h"
#include "services/rpc/channel.h"

namespace hone::rpc {
namespace {

// How many calls of our own services run. Health and reflection do not count: their streams stay
// open for as long as somebody watches. Thread-safe.
class RunningCalls {
 public:
  void Begin() {
    std::lock_guard<std::mutex> lock(mutex_);
    ++running_;
  }
  void End() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (--running_ == 0) changed_.notify_all();
  }
  // The server has shut down: nobody waits any more.
  void Close() {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  // Waits until none runs. False once closed.
  bool WaitForNone() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || running_ == 0; });
    return !closed_;
  }
  // False once closed.
  bool Sleep(std::chrono::milliseconds duration) {
    std::unique_lock<std::mutex> lock(mutex_);
    return !changed_.wait_for(lock, duration, [this] { return closed_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t running_ = 0;
  bool closed_ = false;
};

// What the calls of a server show.
struct CallMetrics {
  explicit CallMetrics(MetricRegistry& registry)
      : calls(registry.AddCounter("hone_rpc_requests_total", "calls that ended, by status",
                                  {"method", "code"})),
        running(registry.AddGauge("hone_rpc_requests_running", "calls being served", {"method"})),
        seconds(registry.AddHistogram("hone_rpc_request_seconds", "calls, streams to their end",
                                      SecondsBuckets(), {"method"})) {}

  MetricFamily<Counter>& calls;
  MetricFamily<Gauge>& running;
  MetricFamily<Histogram>& seconds;
};

// Lives as long as its call.
class CallCounter final : public grpc::experimental::Interceptor {
 public:
  // metrics: may be null. method: "/hone.v1.PolicyService/Generate".
  CallCounter(RunningCalls& calls, CallMetrics* metrics, absl::string_view method)
      : calls_(calls), metrics_(metrics) {
    calls_.Begin();
    if (metrics_ == nullptr) return;
    method_ = std::string(absl::StripPrefix(method, "/hone.v1."));
    began_ = absl::Now();
    metrics_->running.With({method_}).Add(1);
  }
  ~CallCounter() override {
    calls_.End();
    if (metrics_ == nullptr) return;
    metrics_->running.With({method_}).Add(-1);
    metrics_->seconds.With({method_}).Observe(absl::ToDoubleSeconds(absl::Now() - began_));
    metrics_->calls.With({method_, absl::StatusCodeToString(code_)}).Add();
  }
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (metrics_ != nullptr && methods->QueryInterceptionHookPoint(
                                   grpc::experimental::InterceptionHookPoints::PRE_SEND_STATUS)) {
      code_ = static_cast<absl::StatusCode>(methods->GetSendStatus().error_code());
    }
    methods->Proceed();
  }

 private:
  RunningCalls& calls_;
  CallMetrics* const metrics_;
  std::string method_;
  absl::Time began_;
  absl::StatusCode code_ = absl::StatusCode::kCancelled;  // until a status is sent
};

class CallCounters final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  CallCounters(RunningCalls& calls, CallMetrics* metrics) : calls_(calls), metrics_(metrics) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    if (!absl::StartsWith(info->method(), "/hone.")) return nullptr;
    return new CallCounter(calls_, metrics_, info->method());
  }

 private:
  RunningCalls& calls_;
  CallMetrics* const metrics_;
};

}  // namespace

struct Server::State {
  Address address;
  std::string text;
  std::vector<std::string> names;
  RunningCalls calls;                    // outlives the server
  std::unique_ptr<CallMetrics> metrics;  // likewise; may be null
  std::unique_ptr<grpc::Server> server;
  std::mutex mutex;
  bool down = false;
};

namespace {

// Makes way for a new socket at `path`: removes a stale one, refuses what is alive or no socket.
// gRPC itself would unlink even a socket that another server listens on.
absl::Status ClearSocketPath(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return absl::OkStatus();
  if (!S_ISSOCK(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot listen on unix:", path, ": there is a file that is not a socket"));
  }
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.c_str(), path.size());
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return absl::InternalError("cannot make a socket");
  const int connected = connect(probe, reinterpret_cast<sockaddr*>(&name), sizeof(name));
  const int error = errno;
  close(probe);
  if (connected == 0 || error == EACCES || error == EAGAIN) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot listen on unix:", path, ": another server listens there"));
  }
  unlink(path.c_str());
  return absl::OkStatus();
}

void Configure(grpc::ServerBuilder& builder, const ServerOptions& options) {
  grpc::ResourceQuota quota("hone");
  quota.SetMaxThreads(std::max(options.max_threads, 8));
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(static_cast<int>(convert::kMaxMessageBytes));
  builder.SetMaxSendMessageSize(static_cast<int>(convert::kMaxMessageBytes));
  // Two servers must not share a port in silence.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Clients ping every 30 s; without these the default policy would drop them.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
}

}  // namespace

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() {
  Shutdown(absl::ZeroDuration());
}
const std::string& Server::address() const {
  return state_->text;
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      const std::vector<ServedService>& services) {
  auto address = ParseAddress(options.listen);
  if (!address.ok()) return address.status();
  if (address->is_unix) {
    const absl::Status clear = ClearSocketPath(address->path);
    if (!clear.ok()) return clear;
  }
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
  KeepLibraryUp();
  auto state = std::make_unique<State>();
  state->address = *address;
  if (options.metrics != nullptr) state->metrics = std::make_unique<CallMetrics>(*options.metrics);
  grpc::ServerBuilder builder;
  Configure(builder, options);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> counters;
  counters.push_back(std::make_unique<CallCounters>(state->calls, state->metrics.get()));
  builder.experimental().SetInterceptorCreators(std::move(counters));
  int port = 0;
  builder.AddListeningPort(address->ToString(), grpc::InsecureServerCredentials(), &port);
  for (const ServedService& service : services) {
    builder.RegisterService(service.service);
    state->names.push_back(service.name);
  }
  state->server = builder.BuildAndStart();
  if (state->server == nullptr || port == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot listen on ", address->ToString(),
                     ": the address is taken, or may not be used here"));
  }
  if (address->is_unix) {
    chmod(address->path.c_str(), 0600);
  } else {
    state->address.port = port;
  }
  state->text = state->address.ToString();
  for (const std::string& name : state->names) {
    state->server->GetHealthCheckService()->SetServingStatus(name, true);
  }
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

void Server::Shutdown(absl::Duration grace) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  if (state_->down) return;
  state_->down = true;
  state_->server->GetHealthCheckService()->Shutdown();
  // gRPC would wait not only for calls but for every connection to take its leave, and a client
  // without a call in progress reads its socket every 5 s at best. Closed as soon as no call of
  // ours runs; again and again, because only after Shutdown has begun do no new ones come.
  std::thread closer([this] {
    while (state_->calls.WaitForNone()) {
      grpc_server_cancel_all_calls(state_->server->c_server());
      if (!state_->calls.Sleep(std::chrono::milliseconds(5))) return;
    }
  });
  state_->server->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  state_->calls.Close();
  closer.join();
  state_->server->Wait();
  if (state_->address.is_unix) unlink(state_->address.path.c_str());
}

}  // namespace hone::rpc
