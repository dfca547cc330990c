// SPDX-License-Identifier: Apache-2.0
//
// Time and CPU of an update: how far threads share few, long sequences.
// Usage: update_bench DIRECTORY THREADS SEQUENCES TOKENS UPDATES
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <string>

#include "policy/local/local_policy.h"

namespace hone {
namespace {

double CpuSeconds() {
  rusage use;
  getrusage(RUSAGE_SELF, &use);
  return static_cast<double>(use.ru_utime.tv_sec) +
         1e-6 * static_cast<double>(use.ru_utime.tv_usec);
}

// Of every thread; the busiest one is what a machine with a core for each would wait for.
std::map<std::string, double> ThreadSeconds() {
  std::map<std::string, double> out;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    double nanoseconds = 0;
    std::ifstream(task.path() / "schedstat") >> nanoseconds;
    out[task.path().filename()] = 1e-9 * nanoseconds;
  }
  return out;
}

int Bench(const std::string& directory, int threads, int sequences, int tokens, int updates) {
  LocalPolicyOptions options;
  options.threads = threads;
  auto policy = LocalPolicy::CreateFromDirectory(directory, /*weights_only=*/true, options);
  if (!policy.ok()) {
    std::cerr << policy.status() << "\n";
    return 1;
  }
  ForwardBackwardRequest pass;
  pass.loss.name = "cross_entropy";
  for (int i = 0; i < sequences; ++i) {
    TrainSequence sequence;
    for (int t = 0; t < tokens; ++t) sequence.tokens.push_back((7 * i + t * t) % 200);
    sequence.loss_mask.assign(static_cast<size_t>(tokens), 1.0f);
    pass.sequences.push_back(sequence);
  }
  for (int64_t version = 0; version < updates; ++version) {
    OptimStepRequest step;
    step.expected_version = version;
    step.update_id = "u" + std::to_string(version);
    const double cpu = CpuSeconds();
    const auto before = ThreadSeconds();
    const auto began = std::chrono::steady_clock::now();
    const auto passed = (*policy)->ForwardBackward(pass);
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - began;
    const double used = CpuSeconds() - cpu;
    double busiest = 0;
    for (const auto& [thread, seconds] : ThreadSeconds()) {
      const auto found = before.find(thread);
      busiest = std::max(busiest, seconds - (found == before.end() ? 0 : found->second));
    }
    if (!passed.ok()) {
      std::cerr << passed.status() << "\n";
      return 1;
    }
    const auto stepped = (*policy)->OptimStep(step);
    const std::chrono::duration<double> all = std::chrono::steady_clock::now() - began;
    if (!stepped.ok()) {
      std::cerr << stepped.status() << "\n";
      return 1;
    }
    std::printf(
        "forward and backward %.2f s wall, %.2f s user, %.2f s of the busiest thread; with the "
        "step "
        "%.2f s wall, %.2f s user; weights %.12s\n",
        wall.count(), used, busiest, all.count(), CpuSeconds() - cpu,
        (*policy)->Info()->weights_hash.c_str());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  return hone::Bench(argv[1], std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4]),
                     std::atoi(argv[5]));
}
