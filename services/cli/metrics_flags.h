// SPDX-License-Identifier: Apache-2.0
//
// --metrics-listen and its kin: what commands that serve or train have in common.
#ifndef HONE_SERVICES_CLI_METRICS_FLAGS_H_
#define HONE_SERVICES_CLI_METRICS_FLAGS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/cli/command.h"
#include "services/metrics/metrics_server.h"
#include "services/metrics/registry.h"

namespace hone::cli {

struct MetricsFlags {
  std::string listen;  // empty: off
  std::string token_file;
  std::vector<std::string> names;
};

void AddMetricsFlags(CLI::App& app, MetricsFlags& flags);

// "ADDRESS:PORT" of an option called `flag`: INVALID_ARGUMENT says what is wrong.
absl::Status ParseHttpListen(const std::string& flag, const std::string& text,
                             HttpServerOptions* options);

// A registry and the port where it is read; both empty where --metrics-listen was not given.
class Metrics {
 public:
  // service: what this process is, for hone_build_info. The address goes to stderr.
  static absl::StatusOr<Metrics> Start(const MetricsFlags& flags, const std::string& service);
  MetricRegistry* registry() const { return registry_.get(); }  // may be null

 private:
  std::unique_ptr<MetricRegistry> registry_;
  MetricRegistry::Hook process_;
  std::unique_ptr<MetricsServer> server_;
};

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_METRICS_FLAGS_H_
