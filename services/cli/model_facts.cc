// SPDX-License-Identifier: Apache-2.0
#include "services/cli/model_facts.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "policy/model/parameters.h"

namespace hone::cli {
namespace {

constexpr int kWindows = 10;
constexpr double kWindowSeconds = 0.05;
constexpr int64_t kRows = 64, kNearSide = 512;
constexpr int64_t kFarSide = 5120;  // 100 MiB, more than caches hold
constexpr double kPassRows = 1024;  // that go through a layer together (policy/model/forward.cc)

double ThreadCpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// `work` over and over on every thread; what all of them did in a second of their own time on a
// core, in the best of some windows: others may use the machine meanwhile.
double PerSecond(int threads, const std::function<double(int thread)>& work) {
  double best = 0;
  for (int window = 0; window < kWindows; ++window) {
    std::vector<double> rates(static_cast<size_t>(threads), 0.0);
    std::vector<std::thread> team;
    for (int i = 0; i < threads; ++i) {
      team.emplace_back([&, i] {
        const double began = ThreadCpuSeconds();
        double done = 0, took = 0;
        while (took < kWindowSeconds) {
          done += work(i);
          took = ThreadCpuSeconds() - began;
        }
        rates[static_cast<size_t>(i)] = done / took;
      });
    }
    for (std::thread& one : team) one.join();
    best = std::max(best, std::accumulate(rates.begin(), rates.end(), 0.0));
  }
  return best;
}

// The backend's own product of [rows, side] by [side, side], multiplications and additions a
// second.
double MeasureProducts(const kernels::KernelTable<float>& table, int threads, int64_t rows,
                       int64_t side) {
  std::vector<float> packed(static_cast<size_t>(table.packed_size(side, side)));
  {
    const std::vector<float> weight(static_cast<size_t>(side * side), 0.5f);
    kernels::PackArgs<float> pack;
    pack.source = weight.data();
    pack.row_stride = side;
    pack.col_stride = 1;
    pack.out = pack.in = side;
    pack.packed = packed.data();
    table.pack(nullptr, pack);
  }
  const std::vector<float> x(static_cast<size_t>(rows * side), 0.5f);
  std::vector<std::vector<float>> results(static_cast<size_t>(threads), x);
  return PerSecond(threads, [&](int thread) {
    kernels::MatmulArgs<float> args;
    args.x = {x.data(), {rows, side}};
    args.weight = {packed.data(), side, side};
    args.y = {results[static_cast<size_t>(thread)].data(), {rows, side}};
    table.matmul(nullptr, args);
    return 2.0 * static_cast<double>(rows * side * side);
  });
}

}  // namespace

ParameterCounts CountParameters(const ModelConfig& config) {
  const ParameterRegistry registry = ParameterRegistry::Of(config, DType::kFloat32);
  ParameterCounts counts;
  counts.total = registry.parameters();
  for (const ParameterInfo& info : registry.all()) {
    if (absl::StrContains(info.name, ".mlp.experts.")) counts.routed += info.elements;
    if (info.name == "model.embed_tokens.weight" || info.name == "lm_head.weight") {
      counts.embedding += info.elements;
      counts.head = info.elements;
    }
  }
  if (config.n_routed_experts > 0) {
    counts.active_routed = counts.routed / config.n_routed_experts * config.num_experts_per_tok;
  }
  return counts;
}

int64_t CacheBytesPerToken(const ModelConfig& config) {
  return config.Cache().Width() * config.num_hidden_layers * static_cast<int64_t>(sizeof(float));
}

MachineLimits MeasureMachine(const kernels::Backend& backend, int threads) {
  MachineLimits limits;
  limits.threads = threads;
  // A product of one row reads 4 bytes for two operations.
  limits.read_bytes_per_s = 2 * MeasureProducts(*backend.table, threads, 1, kFarSide);
  limits.flops_per_s = MeasureProducts(*backend.table, threads, kRows, kNearSide);
  return limits;
}

SpeedLimits LimitSpeed(const ModelConfig& config, const MachineLimits& machine) {
  const ParameterCounts counts = CountParameters(config);
  const double dense = static_cast<double>(counts.multiplied() - counts.active_routed);
  // Passes of `rows` rows, through the weights `times` times.
  const auto limit = [&](double rows, double times) {
    double touched = 1;  // of the experts: all rows pass one over with (1 - K/E)^rows
    if (config.n_routed_experts > 0) {
      touched = 1 - std::pow(1 - static_cast<double>(config.num_experts_per_tok) /
                                     config.n_routed_experts,
                             rows);
    }
    SpeedLimit out;
    out.bytes_per_token =
        times * sizeof(float) * (dense + touched * static_cast<double>(counts.routed)) / rows;
    out.flops_per_token = times * 2 * static_cast<double>(counts.multiplied());
    const double reading = out.bytes_per_token / machine.read_bytes_per_s;
    const double products = out.flops_per_token / machine.flops_per_s;
    out.by_bytes = reading > products;
    out.tokens_per_s = 1 / std::max(reading, products);
    return out;
  };
  return {limit(1, 1), limit(64, 1), limit(kPassRows, 1), limit(kPassRows, 3)};
}

}  // namespace hone::cli
