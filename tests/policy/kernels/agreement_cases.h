// SPDX-License-Identifier: Apache-2.0
//
// One run of every kernel on odd sizes with poisoned gaps, and the tolerance of its op: the
// largest difference of an output tensor over the largest value of the reference's.
#ifndef HONE_TESTS_POLICY_KERNELS_AGREEMENT_CASES_H_
#define HONE_TESTS_POLICY_KERNELS_AGREEMENT_CASES_H_

#include <vector>

#include "tests/policy/kernels/kernel_testing.h"

namespace hone::kernels {

using Outputs = std::vector<std::vector<double>>;

struct AgreementCase {
  const char* op;
  double tolerance;
  Outputs (*run)(const KernelTable<float>& table, int64_t size);
};

const std::vector<AgreementCase>& AgreementCases();

}  // namespace hone::kernels

#endif  // HONE_TESTS_POLICY_KERNELS_AGREEMENT_CASES_H_
