// SPDX-License-Identifier: Apache-2.0
//
// Which kernels run. A backend is its name, ISA and build; the id is stored with every
// trajectory, and resume or replay on another is refused by name. Never a silent fallback.
#ifndef HONE_POLICY_KERNELS_BACKEND_H_
#define HONE_POLICY_KERNELS_BACKEND_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/kernels/kernel_table.h"

namespace hone::kernels {

struct Backend {
  std::string name;  // "reference", "cpu/avx512", ...
  std::string id;    // name, compiler and kernel-set version
  Device* device = nullptr;
  const KernelTable<float>* table = nullptr;
};

// Every backend built into this binary, best first, and whether this machine can run it.
struct BackendInfo {
  std::string name;
  bool runs_here = false;
  std::string why_not;  // empty when it runs
};
std::vector<BackendInfo> ListBackends();

// name: "auto" (the best CPU kernels this machine has), "reference", "cpu" (as auto, CPU only),
// "generic", "avx2", "avx512", or a full name of ListBackends.
// NOT_FOUND for an unknown name, FAILED_PRECONDITION for one this machine cannot run; both list
// what is available.
absl::StatusOr<Backend> FindBackend(absl::string_view name);

// The specification: plain loops, in float and in double.
const KernelTable<float>& ReferenceTable();
const KernelTable<double>& ReferenceTableDouble();

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_BACKEND_H_
