// SPDX-License-Identifier: Apache-2.0
//
// The pre_tokenizer of a byte-level tokenizer.json: stages that cut a text into pieces, each stage
// the pieces of the one before; the last is ByteLevel. Byte-pair merges never cross pieces.
#ifndef HONE_POLICY_TOKENIZER_PRE_TOKENIZER_H_
#define HONE_POLICY_TOKENIZER_PRE_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "policy/tokenizer/pcre_matcher.h"
#include "policy/tokenizer/run_matcher.h"

namespace hone {

// What becomes of the matches of a pattern and of what stands between them.
enum class SplitBehavior : uint8_t {
  kIsolated,            // each is a piece
  kRemoved,             // matches are dropped
  kMergedWithPrevious,  // a match joins what stands before it
  kMergedWithNext,      // or after it
  kContiguous,          // neighbouring matches are one piece
};

// Immutable, thread-safe.
class PreTokenizer {
 public:
  using Sink = absl::FunctionRef<absl::Status(absl::string_view piece)>;

  struct Options {
    bool use_fast_path = true;  // false: PCRE2 for every pattern (the oracle of tests)
  };

  // From the member "pre_tokenizer": Split, Digits, ByteLevel, and Sequences of them.
  // UNIMPLEMENTED: another type or setting, by name; INVALID_ARGUMENT: a pattern that is wrong.
  static absl::StatusOr<PreTokenizer> Parse(const nlohmann::json& part, const Options& options);

  // What searches remember within one text.
  class Memory {
   private:
    friend class PreTokenizer;
    std::vector<RunMatcher::Memory> runs_;                  // by stage
    std::vector<std::vector<PcreMatcher::Match>> matches_;  // by stage
    std::string prefixed_;
  };
  Memory NewMemory() const;

  // Calls `sink` with the pieces of `text` in order; none is empty. A piece is a view into `text`,
  // or valid during the call alone (where a blank was put in front). `memory` is of no earlier
  // text. Returns the first error of a search or of `sink`.
  // REQUIRES: text is well-formed UTF-8.
  absl::Status Split(absl::string_view text, Memory* memory, Sink sink) const;

  // Stages whose pattern needs PCRE2 itself.
  size_t slow_stages() const;

 private:
  struct Stage {
    std::unique_ptr<RunMatcher> fast;  // null: `general` is used
    std::unique_ptr<PcreMatcher> general;
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
    std::string name;  // for errors
  };

  absl::Status AddStage(const nlohmann::json& part, const Options& options);
  absl::Status AddSplit(const nlohmann::json& part, const Options& options);
  absl::Status AddByteLevel(const nlohmann::json& part, const Options& options);
  absl::Status AddPattern(const PatternNode& pattern, SplitBehavior behavior, bool invert,
                          std::string name, const Options& options);
  absl::Status Run(size_t stage, absl::string_view text, Memory* memory, Sink sink) const;
  absl::Status RunIsolated(size_t stage, absl::string_view text, Memory* memory, Sink sink) const;
  absl::Status FindAll(size_t stage, absl::string_view text, Memory* memory,
                       std::vector<PcreMatcher::Match>* matches) const;
  // From stage `stage` on, with the blank of the last stage where it adds one.
  absl::Status Next(size_t stage, absl::string_view piece, Memory* memory, Sink sink) const;

  std::vector<Stage> stages_;
  bool has_byte_level_ = false;
  bool add_prefix_space_ = false;  // ByteLevel puts a blank before what begins with none
  size_t prefix_stage_ = 0;        // the stage before which that happens
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_PRE_TOKENIZER_H_
