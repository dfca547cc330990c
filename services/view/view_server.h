// SPDX-License-Identifier: Apache-2.0
//
// `hone view` without its command line: guard, pages, API and what is told of runs that go on.
#ifndef HONE_SERVICES_VIEW_VIEW_SERVER_H_
#define HONE_SERVICES_VIEW_VIEW_SERVER_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "services/view/guard.h"
#include "services/view/http_server.h"
#include "services/view/run_set.h"

namespace hone::view {

struct ViewOptions {
  std::vector<std::string> runs;  // folders
  HttpServerOptions http;
  std::string token;               // REQUIRED where http.host is not loopback
  std::vector<std::string> names;  // further host names that it may be called by
  absl::Duration poll_every = absl::Milliseconds(500);
};

class ViewServer {
 public:
  // PERMISSION_DENIED: no token for an address that others reach. Also HttpServer's errors.
  static absl::StatusOr<std::unique_ptr<ViewServer>> Start(const ViewOptions& options);
  ~ViewServer();

  int port() const { return http_->port(); }
  // http://HOST:PORT/, with the token where there is one.
  std::string address() const;

 private:
  explicit ViewServer(const ViewOptions& options);
  HttpResponse Handle(const HttpRequest& request);
  // Looks at the runs while somebody has an event stream open, and says which grew.
  void Follow();

  const ViewOptions options_;
  RunSet runs_;
  std::unique_ptr<Guard> guard_;
  std::atomic<bool> guarded_{false};
  std::unique_ptr<HttpServer> http_;
  std::atomic<bool> stopping_{false};
  std::thread follower_;
};

}  // namespace hone::view

#endif  // HONE_SERVICES_VIEW_VIEW_SERVER_H_
