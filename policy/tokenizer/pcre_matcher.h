// SPDX-License-Identifier: Apache-2.0
//
// Split patterns through PCRE2: the general path, the oracle of the fast one, and the one source
// of what Unicode says about characters.
#ifndef HONE_POLICY_TOKENIZER_PCRE_MATCHER_H_
#define HONE_POLICY_TOKENIZER_PCRE_MATCHER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/tokenizer/split_pattern.h"

namespace hone {

// Immutable, thread-safe.
class PcreMatcher {
 public:
  struct Match {
    size_t begin = 0;
    size_t end = 0;  // begin: an empty match
  };

  // INVALID_ARGUMENT where PCRE2 refuses the pattern (a look-behind without a bound), in its words.
  static absl::StatusOr<std::unique_ptr<PcreMatcher>> Compile(const PatternNode& pattern);
  ~PcreMatcher();

  // All matches from left to right, none overlapping. RESOURCE_EXHAUSTED when the pattern needs
  // more steps or memory than its limits, or more than 20 seconds for one text.
  // REQUIRES: text is well-formed UTF-8.
  absl::Status FindAll(absl::string_view text, std::vector<Match>* matches) const;

 private:
  struct Code;
  explicit PcreMatcher(std::unique_ptr<Code> code);
  const std::unique_ptr<Code> code_;
};

// One bit a character, of those that have the property; lives for ever. By PCRE2's tables.
const std::vector<uint64_t>& CharactersWith(const std::string& property);

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_PCRE_MATCHER_H_
