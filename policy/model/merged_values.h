// SPDX-License-Identifier: Apache-2.0
//
// The weights that a base and its adapters stand for: W + scale B A, the very bits that kernels
// read (kernels/matmul.h, merge).
#ifndef HONE_POLICY_MODEL_MERGED_VALUES_H_
#define HONE_POLICY_MODEL_MERGED_VALUES_H_

#include <memory>

#include "policy/model/parameters.h"

namespace hone {

// Asked for parameters of the plain model by name. `raw` gives weights and adapters of `adapted`,
// each as it is kept; without adapters the result is `raw`. Thread-safe if `raw` is.
ReadParameter MergedValues(std::shared_ptr<const ParameterRegistry> adapted, ReadParameter raw);

}  // namespace hone

#endif  // HONE_POLICY_MODEL_MERGED_VALUES_H_
