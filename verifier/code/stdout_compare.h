// SPDX-License-Identifier: Apache-2.0
//
// Is what a program printed the gold?
#ifndef HONE_VERIFIER_CODE_STDOUT_COMPARE_H_
#define HONE_VERIFIER_CODE_STDOUT_COMPARE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace hone {

// Line by line, all lines of both. Blanks and carriage returns at the end of a line and blank
// lines at the end of the text do not count. tolerance > 0: in a line that differs, words that are
// numbers may differ by tolerance * max(1, |gold|), if either of them has a point or an exponent.
// False: *where says which line differs.
bool SameOutput(absl::string_view gold, absl::string_view got, double tolerance,
                std::string* where);

}  // namespace hone

#endif  // HONE_VERIFIER_CODE_STDOUT_COMPARE_H_
