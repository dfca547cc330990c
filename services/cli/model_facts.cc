// SPDX-License-Identifier: Apache-2.0
#include "services/cli/model_facts.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "policy/model/parameters.h"
#include "services/trainer/resources.h"

namespace hone::cli {
namespace {

constexpr double kMeasureSeconds = 0.4;
constexpr int64_t kReadFloats = int64_t{16} << 20;
constexpr int64_t kRows = 64, kSide = 512;

// `work` over and over on every thread for the time given; what all of them did, a second.
double PerSecond(int threads, const std::function<double(int thread)>& work) {
  std::vector<double> done(static_cast<size_t>(threads), 0.0);
  std::vector<std::thread> team;
  const double began = MonotonicSeconds();
  for (int i = 0; i < threads; ++i) {
    team.emplace_back([&, i] {
      while (MonotonicSeconds() - began < kMeasureSeconds) {
        done[static_cast<size_t>(i)] += work(i);
      }
    });
  }
  for (std::thread& one : team) one.join();
  double sum = 0;
  for (double one : done) sum += one;
  return sum / (MonotonicSeconds() - began);
}

double MeasureReading(int threads) {
  std::vector<std::vector<float>> buffers(static_cast<size_t>(threads));
  for (auto& buffer : buffers) buffer.assign(kReadFloats, 1.0f);
  std::vector<float> sinks(static_cast<size_t>(threads) * 16);
  return PerSecond(threads, [&](int thread) {
    const std::vector<float>& from = buffers[static_cast<size_t>(thread)];
    float sums[32] = {};
    for (int64_t i = 0; i < kReadFloats; i += 32) {
      for (int64_t k = 0; k < 32; ++k) sums[k] += from[static_cast<size_t>(i + k)];
    }
    for (float sum : sums) sinks[static_cast<size_t>(thread) * 16] += sum;
    return static_cast<double>(kReadFloats) * sizeof(float);
  });
}

double MeasureProducts(const kernels::KernelTable<float>& table, int threads) {
  const std::vector<float> weight(kSide * kSide, 0.5f), x(kRows * kSide, 0.5f);
  std::vector<float> packed(static_cast<size_t>(table.packed_size(kSide, kSide)));
  kernels::PackArgs<float> pack;
  pack.source = weight.data();
  pack.row_stride = kSide;
  pack.col_stride = 1;
  pack.out = pack.in = kSide;
  pack.packed = packed.data();
  table.pack(nullptr, pack);
  std::vector<std::vector<float>> results(static_cast<size_t>(threads),
                                          std::vector<float>(kRows * kSide));
  return PerSecond(threads, [&](int thread) {
    kernels::MatmulArgs<float> args;
    args.x = {x.data(), {kRows, kSide}};
    args.weight = {packed.data(), kSide, kSide};
    args.y = {results[static_cast<size_t>(thread)].data(), {kRows, kSide}};
    table.matmul(nullptr, args);
    return 2.0 * kRows * kSide * kSide;
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
  limits.read_bytes_per_s = MeasureReading(threads);
  limits.flops_per_s = MeasureProducts(*backend.table, threads);
  return limits;
}

SpeedLimits LimitSpeed(const ModelConfig& config, const MachineLimits& machine) {
  const ParameterCounts counts = CountParameters(config);
  const double multiplied = static_cast<double>(counts.multiplied());
  SpeedLimits out;
  out.bytes_per_token = multiplied * sizeof(float);
  out.flops_per_token = 2 * multiplied;
  // Of 64 tokens a step, an expert is passed over by all with (1 - K/E)^64.
  double touched = 1;
  if (config.n_routed_experts > 0) {
    const double share = static_cast<double>(config.num_experts_per_tok) / config.n_routed_experts;
    touched = 1 - std::pow(1 - share, 64);
  }
  const double dense = static_cast<double>(counts.multiplied() - counts.active_routed);
  const double bytes_64 = sizeof(float) * (dense + touched * static_cast<double>(counts.routed));
  out.decode_1 = std::min(machine.read_bytes_per_s / out.bytes_per_token,
                          machine.flops_per_s / out.flops_per_token);
  out.decode_64 = 64 / std::max(bytes_64 / machine.read_bytes_per_s,
                                64 * out.flops_per_token / machine.flops_per_s);
  out.prefill = machine.flops_per_s / out.flops_per_token;
  out.train = out.prefill / 3;
  return out;
}

}  // namespace hone::cli
