// SPDX-License-Identifier: Apache-2.0
//
// Which experts a row goes to, given its choice scores: the one selection every host backend uses.
#ifndef HONE_POLICY_KERNELS_CHOOSE_EXPERTS_H_
#define HONE_POLICY_KERNELS_CHOOSE_EXPERTS_H_

#include <cstddef>
#include <cstdint>

#include "policy/kernels/moe_router.h"

namespace hone::kernels {

// Bytes of scratch (8-byte aligned) that ChooseExperts needs.
size_t ChoiceScratchBytes(const RouterConfig& config);

// experts: [K], ascending. choice: [E], score plus bias. Group limit and ties: moe_router.h.
// Dies when the config contradicts itself.
void ChooseExperts(const RouterConfig& config, const float* choice, void* scratch,
                   int32_t* experts);
void ChooseExperts(const RouterConfig& config, const double* choice, void* scratch,
                   int32_t* experts);

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_CHOOSE_EXPERTS_H_
