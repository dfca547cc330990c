// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/resources.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "google/protobuf/stubs/common.h"
#include "grpcpp/grpcpp.h"
#include "nlohmann/json.hpp"
#include "policy/kernels/backend.h"
#include "sqlite3.h"

namespace hone {

double MonotonicSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double CpuSeconds() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

int64_t ResidentBytes() {
  long pages = 0;
  long resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  const int read = std::fscanf(file, "%ld %ld", &pages, &resident);
  std::fclose(file);
  return read == 2 ? int64_t{resident} * sysconf(_SC_PAGESIZE) : 0;
}

int Cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
}

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown";
}

std::string EnvironmentJson() {
  utsname system = {};
  uname(&system);
  nlohmann::ordered_json json;
  json["host"] = HostName();
  json["kernel"] = std::string(system.sysname) + " " + system.release;
  json["machine"] = system.machine;
  json["cores"] = Cores();
  json["memory_bytes"] = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  json["compiler"] = __VERSION__;
  json["hone"] = "0.1.0";
  json["grpc"] = grpc::Version();
  json["protobuf"] = google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION);
  json["sqlite"] = sqlite3_libversion();
  for (const kernels::BackendInfo& backend : kernels::ListBackends()) {
    json["backends"][backend.name] = backend.runs_here ? "runs here" : backend.why_not;
  }
  return json.dump(2);
}

}  // namespace hone
