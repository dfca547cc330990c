// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a run's config: parsed, completed, checked and printed without harm; what was
// accepted prints to a text that is accepted again.
#include <cstddef>
#include <cstdint>

#include "services/convert/run_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  auto config = hone::ParseRunConfig(text, "fuzz");
  if (!config.ok()) return 0;
  hone::CompleteRunConfig(*config);
  if (!hone::CheckRunConfig(*config).ok()) return 0;
  auto again = hone::ParseRunConfig(hone::PrintRunConfig(*config), "again");
  if (!again.ok() || !hone::CheckRunConfig(*again).ok()) __builtin_trap();
  return 0;
}
