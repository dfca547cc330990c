// SPDX-License-Identifier: Apache-2.0
//
// The CPU tables of this build. Which file implements it depends on the processor family that
// CMake builds for.
#ifndef HONE_POLICY_KERNELS_CPU_CPU_BACKENDS_H_
#define HONE_POLICY_KERNELS_CPU_CPU_BACKENDS_H_

#include <string>
#include <vector>

#include "policy/kernels/kernel_table.h"

namespace hone::kernels {

struct CpuBackend {
  const KernelTable<float>* table = nullptr;
  std::string why_not;  // empty when this machine runs it
};

// Best first; the last runs everywhere.
std::vector<CpuBackend> CpuBackends();

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_CPU_CPU_BACKENDS_H_
