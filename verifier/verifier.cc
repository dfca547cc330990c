// SPDX-License-Identifier: Apache-2.0
#include "verifier/verifier.h"

#include "absl/strings/string_view.h"

namespace hone {

absl::string_view Question::completion() const {
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    if (segment->kind == "model") return segment->text;
  }
  return {};
}

}  // namespace hone
