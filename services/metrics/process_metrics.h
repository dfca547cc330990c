// SPDX-License-Identifier: Apache-2.0
//
// What every process says of itself, under the names that Prometheus' own clients use.
#ifndef HONE_SERVICES_METRICS_PROCESS_METRICS_H_
#define HONE_SERVICES_METRICS_PROCESS_METRICS_H_

#include "services/metrics/registry.h"

namespace hone {

// process_*, and hone_build_info{version,compiler,service} 1. Read from /proc at each Write, for
// as long as the handle lives.
[[nodiscard]] MetricRegistry::Hook AddProcessMetrics(MetricRegistry& registry,
                                                     const std::string& service);

}  // namespace hone

#endif  // HONE_SERVICES_METRICS_PROCESS_METRICS_H_
