// SPDX-License-Identifier: Apache-2.0
//
// GET /metrics on a port of its own, behind the guard of services/http.
#ifndef HONE_SERVICES_METRICS_METRICS_SERVER_H_
#define HONE_SERVICES_METRICS_METRICS_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "services/http/http_server.h"
#include "services/metrics/registry.h"

namespace hone {

// The registry's text; anything but /metrics is NOT_FOUND.
HttpResponse AnswerMetrics(MetricRegistry& registry, const HttpRequest& request);

class MetricsServer {
 public:
  // The registry outlives the server. HttpServer's errors.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(HttpServerOptions options,
                                                              MetricRegistry& registry);
  // http://HOST:PORT/metrics
  std::string address() const { return http_->Address("metrics", /*with_token=*/false); }

 private:
  explicit MetricsServer(std::unique_ptr<HttpServer> http) : http_(std::move(http)) {}
  std::unique_ptr<HttpServer> http_;
};

}  // namespace hone

#endif  // HONE_SERVICES_METRICS_METRICS_SERVER_H_
