// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/cpu/cpu_backends.h"

namespace hone::kernels {

namespace avx512 {
const KernelTable<float>& Table();
}
namespace avx2 {
const KernelTable<float>& Table();
}
namespace generic {
const KernelTable<float>& Table();
}

std::vector<CpuBackend> CpuBackends() {
  __builtin_cpu_init();
  const bool avx2_here = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512_here = avx2_here && __builtin_cpu_supports("avx512f") &&
                           __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return {
      {&avx512::Table(), avx512_here ? "" : "the processor lacks AVX-512 F, BW, DQ or VL"},
      {&avx2::Table(), avx2_here ? "" : "the processor lacks AVX2 or FMA"},
      {&generic::Table(), ""},
  };
}

}  // namespace hone::kernels
