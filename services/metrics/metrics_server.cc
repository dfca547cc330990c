// SPDX-License-Identifier: Apache-2.0
#include "services/metrics/metrics_server.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace hone {

HttpResponse AnswerMetrics(MetricRegistry& registry, const HttpRequest& request) {
  if (request.path != "/metrics") {
    return ErrorResponse(absl::NotFoundError(
        absl::StrCat("nothing is at ", request.path, "; metrics are at /metrics")));
  }
  HttpResponse response;
  response.content_type = kMetricsContentType;
  response.body = registry.Write();
  return response;
}

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(HttpServerOptions options,
                                                                    MetricRegistry& registry) {
  options.handler_threads = 1;
  options.max_connections = 16;
  options.flag_prefix = "--metrics-";
  auto http = HttpServer::Start(options, [&registry](const HttpRequest& request) {
    return AnswerMetrics(registry, request);
  });
  if (!http.ok()) return http.status();
  return std::unique_ptr<MetricsServer>(new MetricsServer(*std::move(http)));
}

}  // namespace hone
