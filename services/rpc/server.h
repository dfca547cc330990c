// SPDX-License-Identifier: Apache-2.0
//
// One listening gRPC server: our services, the standard health service and reflection.
#ifndef HONE_SERVICES_RPC_SERVER_H_
#define HONE_SERVICES_RPC_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/metrics/registry.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace hone::rpc {

struct ServedService {
  std::string name;                  // "hone.v1.PolicyService"
  grpc::Service* service = nullptr;  // outlives the server
};

struct ServerOptions {
  std::string listen;     // "unix:PATH" or "HOST:PORT", port 0: any free one
  int max_threads = 256;  // calls served at once; more are RESOURCE_EXHAUSTED
  // Counts the calls of our services by method and code; outlives the server. May be null.
  MetricRegistry* metrics = nullptr;
};

// Messages are at most 16 MiB both ways. Thread-safe.
class Server {
 public:
  // Errors: INVALID_ARGUMENT (address; other machines are refused by name), FAILED_PRECONDITION
  // (the address is taken, or the unix path is not a socket). A socket file that nobody listens
  // on any more is replaced; a new one is readable by its owner alone.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       const std::vector<ServedService>& services);
  ~Server();  // Shutdown(0)

  const std::string& address() const;  // as clients use it, with the real port

  // Health turns NOT_SERVING, new calls are refused, running ones get `grace` and are then
  // cancelled. Returns when all handlers have returned. Calling it again does nothing.
  void Shutdown(absl::Duration grace);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hone::rpc

#endif  // HONE_SERVICES_RPC_SERVER_H_
