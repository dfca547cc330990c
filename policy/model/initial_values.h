// SPDX-License-Identifier: Apache-2.0
//
// The values a model starts from: Normal(0, range) for matrices, one for norm gains, zero for
// biases. Keyed by (seed, Purpose::kInit, parameter index): the same on every machine.
#ifndef HONE_POLICY_MODEL_INITIAL_VALUES_H_
#define HONE_POLICY_MODEL_INITIAL_VALUES_H_

#include <cstdint>

#include "policy/model/parameters.h"

namespace hone {

// Every parameter is to be asked for front to back; one that is asked for from its start again
// starts again. `registry` must outlive the result. Not thread-safe.
ReadParameter InitialValues(const ParameterRegistry& registry, double range, uint64_t seed);

}  // namespace hone

#endif  // HONE_POLICY_MODEL_INITIAL_VALUES_H_
