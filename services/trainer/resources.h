// SPDX-License-Identifier: Apache-2.0
//
// What this process and machine have: memory, cores, names. Observations, never results.
#ifndef HONE_SERVICES_TRAINER_RESOURCES_H_
#define HONE_SERVICES_TRAINER_RESOURCES_H_

#include <cstdint>
#include <string>

namespace hone {

int64_t ResidentBytes();
// What this process has computed so far, all threads together.
double CpuSeconds();
int Cores();
std::string HostName();
// A JSON object: host, cores, kernel, compiler, backends, package versions.
std::string EnvironmentJson();

// Of a clock that only goes forward: for durations.
double MonotonicSeconds();

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_RESOURCES_H_
