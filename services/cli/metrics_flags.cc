// SPDX-License-Identifier: Apache-2.0
#include "services/cli/metrics_flags.h"

#include <iostream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "services/http/http_guard.h"
#include "services/metrics/process_metrics.h"

namespace hone::cli {

void AddMetricsFlags(CLI::App& app, MetricsFlags& flags) {
  app.add_option("--metrics-listen", flags.listen,
                 "ADDRESS:PORT for Prometheus, GET /metrics; port 0: any free one; default: off");
  app.add_option("--metrics-token-file", flags.token_file,
                 "ask scrapers for the bearer token in this file's first line (mode 0600); needed "
                 "beyond this machine");
  app.add_option("--metrics-allow-host", flags.names, "a host name scrapers may call it by");
}

absl::Status ParseHttpListen(const std::string& flag, const std::string& text,
                             HttpServerOptions* options) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || !absl::SimpleAtoi(text.substr(colon + 1), &options->port)) {
    return absl::InvalidArgumentError(absl::StrCat(flag, " ", text, ": say ADDRESS:PORT"));
  }
  options->host = text.substr(0, colon);
  if (options->host.size() > 2 && options->host.front() == '[') {
    options->host = options->host.substr(1, options->host.size() - 2);
  }
  if (options->host == "localhost") options->host = "127.0.0.1";
  return absl::OkStatus();
}

absl::StatusOr<Metrics> Metrics::Start(const MetricsFlags& flags, const std::string& service) {
  Metrics metrics;
  if (flags.listen.empty()) {
    if (flags.token_file.empty() && flags.names.empty()) return metrics;
    return absl::InvalidArgumentError(
        "--metrics-token-file and --metrics-allow-host belong to --metrics-listen ADDRESS:PORT");
  }
  HttpServerOptions options;
  absl::Status status = ParseHttpListen("--metrics-listen", flags.listen, &options);
  if (!status.ok()) return status;
  options.names = flags.names;
  if (!flags.token_file.empty()) {
    auto token = ReadToken(flags.token_file);
    if (!token.ok()) return token.status();
    options.token = *std::move(token);
  }
  metrics.registry_ = std::make_unique<MetricRegistry>();
  metrics.process_ = AddProcessMetrics(*metrics.registry_, service);
  auto server = MetricsServer::Start(options, *metrics.registry_);
  if (!server.ok()) return server.status();
  metrics.server_ = *std::move(server);
  std::cerr << "metrics at " << metrics.server_->address() << "\n";
  return metrics;
}

}  // namespace hone::cli
