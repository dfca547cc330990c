// SPDX-License-Identifier: Apache-2.0
//
// Kernels of one backend on one thread, with each product's share of the fused multiply-add peak
// measured beside it (clocks and neighbours move; a share moves less).
//
//   HONE_BENCH_BACKEND=avx2 kernels_bench --benchmark_filter=Matmul
#include <benchmark/benchmark.h>
#include <immintrin.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "policy/kernels/backend.h"
#include "policy/sampling/rng.h"

namespace hone::kernels {
namespace {

const KernelTable<float>& Table() {
  static const KernelTable<float>* const table = [] {
    const char* name = std::getenv("HONE_BENCH_BACKEND");
    absl::StatusOr<Backend> backend = FindBackend(name == nullptr ? "auto" : name);
    if (!backend.ok()) {
      std::fprintf(stderr, "%s\n", backend.status().ToString().c_str());
      std::exit(2);
    }
    return backend->table;
  }();
  return *table;
}

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Twelve independent chains of register-only multiply-adds fill both pipes. They start apart, so
// that the compiler cannot see they are one.
constexpr int kChains = 12;
constexpr int kPeakSteps = 10000;

__attribute__((target("avx512f"))) void Spin512() {
  __m512 x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.5f);
  for (int step = 0; step < kPeakSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) x[i] = _mm512_fmadd_ps(x[i], a, b);
  }
  for (int i = 0; i < kChains; ++i) benchmark::DoNotOptimize(x[i]);
}

__attribute__((target("avx2,fma"))) void Spin256() {
  __m256 x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.5f);
  for (int step = 0; step < kPeakSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) x[i] = _mm256_fmadd_ps(x[i], a, b);
  }
  for (int i = 0; i < kChains; ++i) benchmark::DoNotOptimize(x[i]);
}

// GFLOP/s of one thread at its widest vectors over some 20 us; 0 where there is no FMA.
double Peak() {
  const bool wide = __builtin_cpu_supports("avx512f");
  if (!wide && !__builtin_cpu_supports("fma")) return 0;
  const double start = CpuSeconds();
  wide ? Spin512() : Spin256();
  const double flops = 2.0 * kPeakSteps * kChains * (wide ? 16 : 8);
  return flops / (CpuSeconds() - start) / 1e9;
}

std::vector<float> Values(int64_t count, uint64_t seed) {
  KeyedRandom random({static_cast<uint32_t>(seed), 1, 2, 3});
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) x = static_cast<float>(random.Uniform()) - 0.5f;
  return out;
}

View<float, 2> Matrix(std::vector<float>& data, int64_t rows, int64_t columns) {
  return {data.data(), {rows, columns}};
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Times `work` in pieces of some 50 us, each beside a measurement of the peak. GFLOP/s, peak and
// share (of a piece in the peak beside it) are medians over the pieces.
template <typename Work>
void Measure(benchmark::State& state, double flops, const Work& work) {
  work();
  const double first = CpuSeconds();
  work();
  const int repeats = static_cast<int>(50e-6 / std::max(1e-9, CpuSeconds() - first)) + 1;
  std::vector<double> rates, peaks, shares;
  for (auto _ : state) {
    const double peak = Peak();
    const double start = CpuSeconds();
    for (int i = 0; i < repeats; ++i) work();
    const double seconds = CpuSeconds() - start;
    state.SetIterationTime(seconds / repeats);
    rates.push_back(flops * repeats / seconds / 1e9);
    peaks.push_back(peak);
    shares.push_back(peak > 0 ? rates.back() / peak : 0);
  }
  state.counters["GFLOP/s"] = Median(rates);
  state.counters["peak"] = Median(peaks);
  state.counters["share"] = Median(shares);
}

std::vector<float> PackedWeight(int64_t out, int64_t in) {
  const std::vector<float> w = Values(out * in, 2);
  std::vector<float> packed(static_cast<size_t>(Table().packed_size(out, in)));
  Table().pack(nullptr, {w.data(), in, 1, out, in, packed.data()});
  return packed;
}

void Matmul(benchmark::State& state) {
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  std::vector<float> x = Values(rows * in, 1), y(static_cast<size_t>(rows * out));
  const std::vector<float> packed = PackedWeight(out, in);
  const MatmulArgs<float> args{
      Matrix(x, rows, in), {packed.data(), out, in}, Matrix(y, rows, out), false};
  Measure(state, 2.0 * static_cast<double>(rows * in * out),
          [&] { Table().matmul(nullptr, args); });
}

void WeightGrad(benchmark::State& state) {
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  std::vector<float> x = Values(rows * in, 1), d_y = Values(rows * out, 2);
  std::vector<float> d_w(static_cast<size_t>(in * out));
  const WeightGradArgs<float> args{Matrix(d_y, rows, out), Matrix(x, rows, in),
                                   Matrix(d_w, out, in)};
  Measure(state, 2.0 * static_cast<double>(rows * in * out),
          [&] { Table().weight_grad(nullptr, args); });
}

void Pack(benchmark::State& state) {
  const int64_t out = state.range(0), in = state.range(0);
  const bool transposed = state.range(1) != 0;
  const std::vector<float> w = Values(out * in, 2);
  std::vector<float> packed(static_cast<size_t>(Table().packed_size(out, in)));
  for (auto _ : state) {
    Table().pack(nullptr,
                 {w.data(), transposed ? 1 : in, transposed ? in : 1, out, in, packed.data()});
  }
  state.SetBytesProcessed(state.iterations() * out * in * 4);
}

// A latent of 64 with 16 rotated, and grouped queries of the same cost: 2 heads of 40.
constexpr CacheRow kCacheRows[] = {{1, 80, 64, 0}, {2, 36, 36, 72}};

// The rows of one prefilled sequence (decode: the last one alone), 4 heads.
struct AttentionData {
  static constexpr int64_t kHeads = 4, kPage = 16;
  AttentionData(const CacheRow& cache, int64_t row_count, int64_t length)
      : rows(row_count),
        q(Values(rows * kHeads * cache.key_width, 1)),
        pages(Values((length + kPage) * cache.Width(), 3)),
        out(Values(rows * kHeads * cache.value_width, 2)),
        lse(Values(rows * kHeads, 2)) {
    for (int64_t i = 0; i <= length / kPage; ++i) table.push_back(static_cast<int32_t>(i));
    for (int64_t m = 0; m < rows; ++m) {
      sequence.push_back(0);
      lengths.push_back(static_cast<int32_t>(length - rows + m + 1));
    }
    const int64_t keys = (length / kPage + 1) * kPage;
    args.cache = cache;
    args.q = {q.data(), {rows, kHeads, cache.key_width}};
    args.row_sequence = {sequence.data(), {rows}};
    args.row_length = {lengths.data(), {rows}};
    args.page_table = {table.data(), {1, static_cast<int64_t>(table.size())}};
    args.pages = {pages.data(), {keys, cache.Width()}};
    args.page_tokens = kPage;
    args.max_length = static_cast<int32_t>(length);
    args.scale = 0.1f;
    args.out = {out.data(), {rows, kHeads, cache.value_width}};
    args.lse = {lse.data(), {rows, kHeads}};
    for (int32_t n : lengths) scores += static_cast<double>(n) * kHeads;
  }
  int64_t rows;
  std::vector<float> q, pages, out, lse;
  std::vector<int32_t> table, sequence, lengths;
  AttentionArgs<float> args;
  double scores = 0;
};

void Attention(benchmark::State& state) {
  const CacheRow& cache = kCacheRows[state.range(2)];
  AttentionData data(cache, state.range(0), state.range(1));
  const double columns = static_cast<double>(cache.key_width + cache.value_width);
  Measure(state, data.scores * 2 * columns, [&] { Table().attention(nullptr, data.args); });
}

void AttentionBackward(benchmark::State& state) {
  const CacheRow& cache = kCacheRows[state.range(1)];
  AttentionData data(cache, state.range(0), state.range(0));
  Table().attention(nullptr, data.args);
  std::vector<float> d_out = Values(static_cast<int64_t>(data.out.size()), 5), d_q(data.q);
  std::vector<float> d_rows(data.pages);
  const int32_t base = 0;
  AttentionBackwardArgs<float> args;
  args.cache = cache;
  args.q = data.args.q;
  args.row_sequence = data.args.row_sequence;
  args.row_length = data.args.row_length;
  args.row_base = {&base, {1}};
  args.rows = data.args.pages;
  args.max_length = data.args.max_length;
  args.scale = data.args.scale;
  args.out = data.args.out;
  args.lse = data.args.lse;
  args.d_out = {d_out.data(), data.args.out.shape};
  args.d_q = {d_q.data(), data.args.q.shape};
  args.d_rows = {d_rows.data(), data.args.pages.shape};
  const double columns = static_cast<double>(3 * cache.key_width + 2 * cache.value_width);
  Measure(state, data.scores * 2 * columns, [&] { Table().attention_backward(nullptr, args); });
}

void Swiglu(benchmark::State& state) {
  const int64_t rows = state.range(0), width = 128;
  std::vector<float> gate = Values(rows * width, 1), up = Values(rows * width, 2), y(gate);
  const SwigluArgs<float> args{Matrix(gate, rows, width), Matrix(up, rows, width),
                               Matrix(y, rows, width)};
  for (auto _ : state) Table().swiglu(nullptr, args);
  state.SetItemsProcessed(state.iterations() * rows * width);
}

void RmsNorm(benchmark::State& state) {
  const int64_t rows = state.range(0), width = 128;
  std::vector<float> x = Values(rows * width, 1), y(x), weight = Values(width, 2);
  const RmsNormArgs<float> args{
      Matrix(x, rows, width), {weight.data(), {width}}, 1e-6f, Matrix(y, rows, width)};
  for (auto _ : state) Table().rmsnorm(nullptr, args);
  state.SetItemsProcessed(state.iterations() * rows * width);
}

void Sample(benchmark::State& state) {
  const int64_t rows = 64, width = state.range(0);
  std::vector<float> logits = Values(rows * width, 1), logprobs(64), entropy(64);
  std::vector<int32_t> tokens(64);
  std::vector<SampleRow> how(64);
  for (SampleRow& row : how) row.top_p = state.range(1) != 0 ? 0.9f : 1.0f;
  const SampleArgs<float> args{Matrix(logits, rows, width), static_cast<int32_t>(width),
                               {how.data(), {rows}},        {tokens.data(), {rows}},
                               {logprobs.data(), {rows}},   {entropy.data(), {rows}}};
  for (auto _ : state) Table().sample(nullptr, args);
  state.SetItemsProcessed(state.iterations() * rows * width);
}

void Route(benchmark::State& state) {
  const int64_t rows = 64, experts = state.range(0);
  RouterConfig config;
  config.experts = static_cast<int32_t>(experts);
  config.chosen = 4;
  std::vector<float> logits = Values(rows * experts, 1), weights(256);
  std::vector<int32_t> picked(256);
  const RouteArgs<float> args{config, Matrix(logits, rows, experts), {},
                              {},     {picked.data(), {rows, 4}},    Matrix(weights, rows, 4)};
  for (auto _ : state) Table().route(nullptr, args);
  state.SetItemsProcessed(state.iterations() * rows);
}

void AdamW(benchmark::State& state) {
  const int64_t n = state.range(0);
  std::vector<float> p = Values(n, 1), m = Values(n, 2), v(p.size(), 0.1f), g = Values(n, 3),
                     out(p);
  double change = 0, weight = 0;
  AdamWArgs<float> args;
  args.master = {p.data(), {n}};
  args.m = {m.data(), {n}};
  args.v = {v.data(), {n}};
  args.grad = {g.data(), {n}};
  args.value = {out.data(), {n}};
  args.change_squares = {&change, {1}};
  args.weight_squares = {&weight, {1}};
  for (auto _ : state) Table().adamw(nullptr, args);
  state.SetItemsProcessed(state.iterations() * n);
}

void Squares(benchmark::internal::Benchmark* bench) {
  for (int64_t size : {64, 128, 256, 768}) {
    for (int64_t rows : {1, 8, 64, 512}) bench->Args({rows, size, size});
  }
}

BENCHMARK(Matmul)
    ->UseManualTime()
    ->Apply(Squares)
    ->Args({16, 64, 96})
    ->Args({16, 96, 64})
    ->Args({4, 128, 384});
BENCHMARK(WeightGrad)->UseManualTime()->Apply(Squares)->Args({16, 64, 96})->Args({16, 96, 64});
BENCHMARK(Pack)->ArgsProduct({{64, 256, 768}, {0, 1}});
BENCHMARK(Attention)
    ->UseManualTime()
    ->ArgsProduct({{1}, {64, 256}, {0, 1}})
    ->Args({128, 128, 0})
    ->Args({256, 256, 0})
    ->Args({256, 256, 1});
BENCHMARK(AttentionBackward)->UseManualTime()->ArgsProduct({{128, 256}, {0, 1}});
BENCHMARK(Swiglu)->Arg(1)->Arg(64);
BENCHMARK(RmsNorm)->Arg(1)->Arg(64);
BENCHMARK(Sample)
    ->Args({64, 0})
    ->Args({512, 0})
    ->Args({512, 1})
    ->Args({32768, 0})
    ->Args({32768, 1});
BENCHMARK(Route)->Arg(8)->Arg(64);
BENCHMARK(AdamW)->Arg(100000);

}  // namespace
}  // namespace hone::kernels

BENCHMARK_MAIN();
