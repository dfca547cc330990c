// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a row of a task file: a task or a sentence, never a crash. The first byte chooses
// the key map.
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "rollout/tasks/task_row.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const hone::TaskOptions kMaps[] = {
      {},
      {{"prompt", "question"}, {"answer", "solution"}},
      {{"answer", "reward_model.ground_truth"}, {"metadata.nums", "a.b.c"}},
  };
  const hone::TaskOptions& map = kMaps[data[0] % 3];
  const absl::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const absl::StatusOr<hone::Task> task =
      hone::ParseTaskRow(text, 1, 0, map, {"fuzz.jsonl", "fuzz"});
  if (task.ok()) {
    assert(!task->prompt.empty() && !task->id.empty());
    assert(task->Hash().size() == 64);
  }
  return 0;
}
