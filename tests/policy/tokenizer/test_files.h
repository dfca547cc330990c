// SPDX-License-Identifier: Apache-2.0
//
// Small tokenizer.json files for tests.
#ifndef HONE_TESTS_POLICY_TOKENIZER_TEST_FILES_H_
#define HONE_TESTS_POLICY_TOKENIZER_TEST_FILES_H_

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "policy/tokenizer/byte_alphabet.h"
#include "policy/tokenizer/tokenizer.h"

namespace hone {

inline nlohmann::json WordFile() {
  return nlohmann::json::parse(WordTokenizerJson({"<eos>", "<pad>"}, {"a", "b", "=", "12", "é"}));
}

// All bytes (ids 0 to 255), then what `merges` ("left right", in the byte alphabet) make.
inline nlohmann::json BpeFile(const std::vector<std::string>& merges,
                              const std::vector<std::string>& special = {"<eos>"}) {
  nlohmann::json file = nlohmann::json::parse(ByteTokenizerJson({}));
  int next = 256;
  for (const std::string& merge : merges) {
    const size_t blank = merge.find(' ');
    const std::string merged = merge.substr(0, blank) + merge.substr(blank + 1);
    if (!file["model"]["vocab"].contains(merged)) file["model"]["vocab"][merged] = next++;
    file["model"]["merges"].push_back(merge);
  }
  for (const std::string& content : special) {
    file["added_tokens"].push_back({{"id", next++},
                                    {"content", content},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  }
  return file;
}

}  // namespace hone

#endif  // HONE_TESTS_POLICY_TOKENIZER_TEST_FILES_H_
