// SPDX-License-Identifier: Apache-2.0
//
// Names of a checkpoint's own files. Private to policy/checkpoint.
#ifndef HONE_POLICY_CHECKPOINT_CHECKPOINT_FILES_H_
#define HONE_POLICY_CHECKPOINT_CHECKPOINT_FILES_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace hone {

inline constexpr char kOptimizerName[] = "optimizer.safetensors";
inline constexpr char kReferenceName[] = "reference.safetensors";

inline std::string PathIn(const std::string& directory, absl::string_view name) {
  return absl::StrCat(directory, "/", name);
}

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_CHECKPOINT_FILES_H_
