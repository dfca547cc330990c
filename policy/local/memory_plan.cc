// SPDX-License-Identifier: Apache-2.0
#include "policy/local/memory_plan.h"

#include <algorithm>
#include <bit>
#include <fstream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "policy/model/model.h"

namespace hone {
namespace {

// -1: not there, or "max".
int64_t NumberIn(const char* path) {
  std::ifstream file(path);
  std::string word;
  int64_t value = -1;
  return file >> word && absl::SimpleAtoi(word, &value) ? value : -1;
}

std::string Amount(int64_t bytes) {
  return absl::StrFormat("%.2f GiB", static_cast<double>(bytes) / (1 << 30));
}

}  // namespace

MemoryPlan PlanMemory(const ModelConfig& config, DType dtype,
                      const kernels::KernelTable<float>& table, const MemoryUse& use) {
  const bool lora = use.train && use.adaptation.lora.r > 0;
  if (lora) dtype = DType::kFloat32;  // as adapters are kept
  const AdaptationOptions adaptation = use.train ? use.adaptation : AdaptationOptions();
  const ModelBytes model = Model<float>::Measure(
      config, table, {dtype, use.train, /*keep_values=*/use.train, adaptation});
  MemoryPlan plan;
  plan.values = model.values;
  plan.packed = model.packed;
  plan.rope = model.rope;
  if (!use.train) return plan;
  const int64_t trainable = ParameterRegistry::Of(config, dtype, adaptation).trainable_elements() *
                            static_cast<int64_t>(sizeof(float));
  plan.optimizer = trainable * (dtype == DType::kBFloat16 ? 3 : 2);
  // Of the slots: at most one a thread and one a level of the tree at once.
  const int levels = std::bit_width(static_cast<unsigned>(use.gradient_slots)) - 1;
  plan.gradients = trainable * (1 + std::min(use.gradient_slots, use.threads + levels + 1));
  if (use.reference) {
    plan.reference = Model<float>::Measure(config, table, {dtype, false, true, adaptation}).total();
  }
  return plan;
}

int64_t AvailableMemoryBytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string word;
  int64_t available = 0;
  while (meminfo >> word) {
    int64_t kib = 0;
    if (word == "MemAvailable:" && meminfo >> kib) available = kib * 1024;
  }
  const struct {
    const char* limit;
    const char* used;
  } groups[] = {{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
                {"/sys/fs/cgroup/memory/memory.limit_in_bytes",
                 "/sys/fs/cgroup/memory/memory.usage_in_bytes"}};
  for (const auto& [limit_file, used_file] : groups) {
    const int64_t limit = NumberIn(limit_file), used = NumberIn(used_file);
    if (limit < 0 || used < 0) continue;
    const int64_t left = std::max<int64_t>(1, limit - used);
    available = available == 0 ? left : std::min(available, left);
  }
  return available;
}

absl::Status CheckMemory(const ModelConfig& config, DType dtype,
                         const kernels::KernelTable<float>& table, const MemoryUse& use,
                         int64_t available_bytes) {
  const MemoryPlan plan = PlanMemory(config, dtype, table, use);
  if (plan.total() <= available_bytes) return absl::OkStatus();
  std::string parts = absl::StrCat("weights ", Amount(plan.values + plan.packed));
  if (use.train) {
    absl::StrAppend(&parts, ", optimizer ", Amount(plan.optimizer), ", gradients ",
                    Amount(plan.gradients));
  }
  if (plan.reference > 0) absl::StrAppend(&parts, ", reference policy ", Amount(plan.reference));
  std::string otherwise;
  if (use.train) {
    otherwise = absl::StrCat("; to generate and score alone it needs ",
                             Amount(PlanMemory(config, dtype, table, MemoryUse()).total()));
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "the model needs ", Amount(plan.total()), " to ", use.train ? "train" : "generate and score",
      " (", parts, "), and ", Amount(available_bytes), " are available", otherwise,
      ". `hone model info` shows every option; nothing was allocated"));
}

}  // namespace hone
