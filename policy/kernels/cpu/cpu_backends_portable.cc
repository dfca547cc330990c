// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/cpu/cpu_backends.h"

namespace hone::kernels {

namespace generic {
const KernelTable<float>& Table();
}

std::vector<CpuBackend> CpuBackends() {
  return {{&generic::Table(), ""}};
}

}  // namespace hone::kernels
