// SPDX-License-Identifier: Apache-2.0
//
// Changes some members of a JSON object in its text and leaves every other byte as it was, so that
// a file of somebody else's keeps what we do not know.
#ifndef HONE_POLICY_CHECKPOINT_JSON_TEXT_H_
#define HONE_POLICY_CHECKPOINT_JSON_TEXT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace hone {

// One member of an object as it stands in the text.
struct JsonMember {
  std::string name;  // unescaped
  size_t begin = 0;  // of the name's quote
  size_t value = 0;  // of the value
  size_t end = 0;    // one past the value
};

// The members of the outermost object in their order. REQUIRES: text is one valid JSON object.
std::vector<JsonMember> JsonMembers(absl::string_view text);

// `text` with the members of `set` given their new values and those of `removed` gone. A member
// that has the value already keeps its bytes; one that is absent is added at the end.
// REQUIRES: text is one valid JSON object; set is an object.
std::string EditJsonObject(absl::string_view text, const nlohmann::ordered_json& set,
                           const std::vector<std::string>& removed);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_JSON_TEXT_H_
