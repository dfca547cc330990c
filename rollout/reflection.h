// SPDX-License-Identifier: Apache-2.0
//
// Counting words of second thoughts in completions: "wait", "recheck", ...
#ifndef HONE_ROLLOUT_REFLECTION_H_
#define HONE_ROLLOUT_REFLECTION_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace hone {

// How often a whole word stands in a text, in any case (ASCII). ASCII letters, digits and
// underscores make words: "waiting" holds no "wait". An empty word is never there.
int64_t CountWord(absl::string_view text, absl::string_view word);

}  // namespace hone

#endif  // HONE_ROLLOUT_REFLECTION_H_
