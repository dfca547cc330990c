// SPDX-License-Identifier: Apache-2.0
//
// What a policy of this process takes, before it takes it.
#ifndef HONE_POLICY_LOCAL_MEMORY_PLAN_H_
#define HONE_POLICY_LOCAL_MEMORY_PLAN_H_

#include <cstdint>

#include "absl/status/status.h"
#include "policy/kernels/kernel_table.h"
#include "policy/model/config.h"
#include "policy/model/parameters.h"

namespace hone {

// Bytes that stay for as long as the policy does. Passes over tokens and the cache of completions
// come on top: they grow with the batch, not with the model.
struct MemoryPlan {
  int64_t values = 0;  // flat; to generate only: what kernels read flat (embedding, gains)
  int64_t packed = 0;  // as kernels read matrices; to train, also transposed
  int64_t rope = 0;    // the table of angles
  // Of what is not frozen: both moments, and master weights where the model is bfloat16.
  int64_t optimizer = 0;
  int64_t gradients = 0;  // pending, one a thread, and those that wait in the tree of slots
  int64_t reference = 0;  // the reference policy, with its flat values
  int64_t total() const { return values + packed + rope + optimizer + gradients + reference; }
};

struct MemoryUse {
  bool train = false;
  bool reference = false;  // keep a reference policy too
  int threads = 1;
  int gradient_slots = 8;
  AdaptationOptions adaptation = {};
};

// REQUIRES: config is valid, and the adaptation fits it.
MemoryPlan PlanMemory(const ModelConfig& config, DType dtype,
                      const kernels::KernelTable<float>& table, const MemoryUse& use);

// What the machine could give this process now: the kernel's estimate, within the limit of the
// control group where there is one. 0: the machine does not say.
int64_t AvailableMemoryBytes();

// RESOURCE_EXHAUSTED, with the parts of the plan and what generating alone would take, when the
// plan is larger than `available_bytes`.
absl::Status CheckMemory(const ModelConfig& config, DType dtype,
                         const kernels::KernelTable<float>& table, const MemoryUse& use,
                         int64_t available_bytes);

}  // namespace hone

#endif  // HONE_POLICY_LOCAL_MEMORY_PLAN_H_
