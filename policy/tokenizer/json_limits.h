// SPDX-License-Identifier: Apache-2.0
//
// JSON from outside, within limits: bytes, nesting, number of values. A key that appears twice in
// one object is refused, since two readers could then see two different files.
#ifndef HONE_POLICY_TOKENIZER_JSON_LIMITS_H_
#define HONE_POLICY_TOKENIZER_JSON_LIMITS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace hone {

struct JsonLimits {
  size_t bytes = size_t{1} << 20;
  int32_t depth = 32;                 // objects and arrays inside one another
  int64_t values = int64_t{1} << 20;  // scalars, objects and arrays together
};

// Builds a document from parser events and stops at the first limit. An implementation detail of
// ParseJson.
class JsonBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit JsonBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Place(nullptr) != nullptr; }
  bool boolean(bool value) override { return Place(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Place(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Place(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override {
    return Place(value) != nullptr;
  }
  bool string(string_t& value) override { return Place(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return Fail("binary values are not JSON"); }
  bool start_object(size_t) override { return Open(nlohmann::json::object()); }
  bool start_array(size_t) override { return Open(nlohmann::json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    auto& object = stack_.back()->get_ref<nlohmann::json::object_t&>();
    const auto [at, inserted] = object.emplace(name, nullptr);
    if (!inserted) return Fail(absl::StrCat("the key \"", name, "\" appears twice in one object"));
    slot_ = &at->second;
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    const std::string words = error.what();  // "[json.exception.parse_error.101] parse error ..."
    const size_t bracket = words.find("] ");
    return Fail(absl::StrCat("not JSON at byte ", position, ": ",
                             bracket == std::string::npos ? words : words.substr(bracket + 2)));
  }

  nlohmann::json& root() { return root_; }
  const std::string& error() const { return error_; }

 private:
  bool Fail(std::string why) {
    if (error_.empty()) error_ = std::move(why);
    return false;
  }
  nlohmann::json* Place(nlohmann::json value) {
    if (++values_ > limits_.values) {
      Fail(absl::StrCat("more than ", limits_.values, " values"));
      return nullptr;
    }
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    nlohmann::json& top = *stack_.back();
    if (top.is_array()) {
      top.push_back(std::move(value));
      return &top.back();
    }
    *slot_ = std::move(value);
    return slot_;
  }
  bool Open(nlohmann::json empty) {
    if (static_cast<int32_t>(stack_.size()) >= limits_.depth) {
      return Fail(absl::StrCat("nested deeper than ", limits_.depth));
    }
    nlohmann::json* at = Place(std::move(empty));
    if (at == nullptr) return false;
    stack_.push_back(at);
    return true;
  }
  bool Close() {
    stack_.pop_back();
    return true;
  }

  JsonLimits limits_;
  nlohmann::json root_;
  std::vector<nlohmann::json*> stack_;  // open objects and arrays, outermost first
  nlohmann::json* slot_ = nullptr;      // where the value of the last key goes
  int64_t values_ = 0;
  std::string error_;
};

// INVALID_ARGUMENT, beginning with `what` (a file's name), saying where and why.
inline absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, const JsonLimits& limits,
                                                absl::string_view what) {
  if (text.size() > limits.bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": ", text.size(), " bytes; at most ", limits.bytes, " are accepted"));
  }
  JsonBuilder builder(limits);
  const bool ok = nlohmann::json::sax_parse(text.data(), text.data() + text.size(), &builder);
  if (!ok) return absl::InvalidArgumentError(absl::StrCat(what, ": ", builder.error()));
  return std::move(builder.root());
}

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_JSON_LIMITS_H_
