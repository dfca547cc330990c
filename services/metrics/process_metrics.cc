// SPDX-License-Identifier: Apache-2.0
#include "services/metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace hone {
namespace {

// Of /proc/self/stat, whose second field may hold anything between its parentheses.
struct ProcessFigures {
  double threads = 0, start_seconds = 0, virtual_bytes = 0, resident_bytes = 0;
};

ProcessFigures ReadFigures() {
  std::ifstream file("/proc/self/stat");
  std::stringstream whole;
  whole << file.rdbuf();
  const std::string text = whole.str();
  const size_t name_end = text.rfind(')');
  ProcessFigures figures;
  if (name_end == std::string::npos) return figures;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 20; ++field) fields >> skipped;
  double ticks = 0, pages = 0;
  fields >> figures.threads >> skipped >> ticks >> figures.virtual_bytes >> pages;
  figures.start_seconds = ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  figures.resident_bytes = pages * static_cast<double>(sysconf(_SC_PAGESIZE));
  return figures;
}

double SecondsOf(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double OpenFiles() {
  std::error_code error;
  double count = -1;  // the folder that counts them is open itself
  for (auto at = std::filesystem::directory_iterator("/proc/self/fd", error);
       !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    ++count;
  }
  return count;
}

}  // namespace

MetricRegistry::Hook AddProcessMetrics(MetricRegistry& registry, const std::string& service) {
  registry
      .AddGauge("hone_build_info", "1; the labels say what runs",
                {"version", "compiler", "service"})
      .With({HONE_VERSION, __VERSION__, service})
      .Set(1);
  auto& cpu = *registry.AddCounter("process_cpu_seconds_total", "CPU time of all threads");
  auto& resident = *registry.AddGauge("process_resident_memory_bytes", "memory that is in RAM");
  auto& mapped = *registry.AddGauge("process_virtual_memory_bytes", "memory that is mapped");
  auto& threads = *registry.AddGauge("process_threads", "threads");
  auto& files = *registry.AddGauge("process_open_fds", "open file descriptors");
  auto& most_files = *registry.AddGauge("process_max_fds", "open file descriptors there may be");
  auto& start = *registry.AddGauge("process_start_time_seconds", "start, in seconds since 1970");
  return registry.BeforeWriting([&] {
    const ProcessFigures figures = ReadFigures();
    cpu.RaiseTo(SecondsOf(CLOCK_PROCESS_CPUTIME_ID));
    resident.Set(figures.resident_bytes);
    mapped.Set(figures.virtual_bytes);
    threads.Set(figures.threads);
    files.Set(OpenFiles());
    rlimit limit = {};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) most_files.Set(static_cast<double>(limit.rlim_cur));
    // Ticks since the machine started; that was when wall clock and boot clock were this far apart.
    start.Set(SecondsOf(CLOCK_REALTIME) - SecondsOf(CLOCK_BOOTTIME) + figures.start_seconds);
  });
}

}  // namespace hone
