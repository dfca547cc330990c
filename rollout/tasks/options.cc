// SPDX-License-Identifier: Apache-2.0
#include "rollout/tasks/options.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hone {

OptionReader::OptionReader(std::string what, const TaskOptions& options)
    : what_(std::move(what)), options_(options) {}

const std::string* OptionReader::Find(const std::string& name) {
  known_.insert(name);
  const auto found = options_.find(name);
  return found == options_.end() ? nullptr : &found->second;
}

void OptionReader::Refuse(const std::string& sentence) {
  if (mistake_.empty()) mistake_ = sentence;
}

int64_t OptionReader::Int(const std::string& name, int64_t fallback, int64_t lowest,
                          int64_t highest) {
  const std::string* text = Find(name);
  if (text == nullptr) return fallback;
  int64_t value = 0;
  if (absl::SimpleAtoi(*text, &value) && value >= lowest && value <= highest) return value;
  Refuse(absl::StrCat(name, " is '", *text, "'; it must be a whole number from ", lowest, " to ",
                      highest));
  return fallback;
}

double OptionReader::Number(const std::string& name, double fallback, double lowest,
                            double highest) {
  const std::string* text = Find(name);
  if (text == nullptr) return fallback;
  double value = 0;
  if (absl::SimpleAtod(*text, &value) && value >= lowest && value <= highest) return value;
  Refuse(
      absl::StrCat(name, " is '", *text, "'; it must be a number from ", lowest, " to ", highest));
  return fallback;
}

std::string OptionReader::Choice(const std::string& name, const std::string& fallback,
                                 const std::vector<std::string>& choices) {
  const std::string* text = Find(name);
  if (text == nullptr) return fallback;
  if (std::find(choices.begin(), choices.end(), *text) != choices.end()) return *text;
  Refuse(absl::StrCat(name, " is '", *text, "'; it must be one of ", absl::StrJoin(choices, ", ")));
  return fallback;
}

std::string OptionReader::Text(const std::string& name, const std::string& fallback) {
  const std::string* text = Find(name);
  return text == nullptr ? fallback : *text;
}

absl::Status OptionReader::Finish() const {
  for (const auto& [name, value] : options_) {
    if (known_.count(name) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(what_, " has no option '", name, "'; its options are ",
                       known_.empty() ? "none" : absl::StrJoin(known_, ", ")));
    }
  }
  if (mistake_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what_, ": ", mistake_));
}

}  // namespace hone
