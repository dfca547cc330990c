// SPDX-License-Identifier: Apache-2.0
//
// `hone view` without its command line: pages, API, metrics and what is told of runs that go on.
#ifndef HONE_SERVICES_VIEW_VIEW_SERVER_H_
#define HONE_SERVICES_VIEW_VIEW_SERVER_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "services/http/http_server.h"
#include "services/metrics/registry.h"
#include "services/view/run_set.h"

namespace hone::view {

struct ViewOptions {
  std::vector<std::string> runs;  // folders
  HttpServerOptions http;
  absl::Duration poll_every = absl::Milliseconds(500);
};

class ViewServer {
 public:
  // HttpServer's errors.
  static absl::StatusOr<std::unique_ptr<ViewServer>> Start(const ViewOptions& options);
  ~ViewServer();

  int port() const { return http_->port(); }
  // http://HOST:PORT/, with the token where there is one.
  std::string address() const { return http_->Address("", /*with_token=*/true); }

 private:
  explicit ViewServer(const ViewOptions& options);
  HttpResponse Handle(const HttpRequest& request);
  HttpResponse Answer(const HttpRequest& request);
  void AddMetrics();
  // Looks at the runs while somebody has an event stream open, and says which grew.
  void Follow();

  const ViewOptions options_;
  RunSet runs_;
  MetricRegistry metrics_;
  MetricFamily<Counter>& requests_;
  MetricFamily<Histogram>& seconds_;
  std::unique_ptr<HttpServer> http_;
  std::atomic<bool> stopping_{false};
  std::thread follower_;
  MetricRegistry::Hook process_, streams_;
};

}  // namespace hone::view

#endif  // HONE_SERVICES_VIEW_VIEW_SERVER_H_
