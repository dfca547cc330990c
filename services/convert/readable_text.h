// SPDX-License-Identifier: Apache-2.0
//
// Text that a model or a stranger wrote, made safe to look at.
#ifndef HONE_SERVICES_CONVERT_READABLE_TEXT_H_
#define HONE_SERVICES_CONVERT_READABLE_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace hone {

// Safe for a terminal, and valid UTF-8: control characters (but newline and tab) and bytes that are
// no UTF-8 are shown as \xNN, bidirectional overrides and zero-width characters as \u{NNNN}.
std::string Sanitise(absl::string_view text);

}  // namespace hone

#endif  // HONE_SERVICES_CONVERT_READABLE_TEXT_H_
