// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/tokenizer_parts.h"

namespace hone {
namespace {

using nlohmann::json;
using Match = PcreMatcher::Match;

constexpr size_t kMaxStages = 16;
// What ByteLevel splits by with use_regex: the pattern of GPT-2.
constexpr absl::string_view kByteLevelPattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

absl::Status Refuse(absl::string_view what) {
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: ", what, " cannot be honoured by Hone"));
}

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: ", what));
}

// A setting that is true or false; `otherwise` where it is absent.
absl::StatusOr<bool> Flag(const json& part, const char* name, bool otherwise) {
  const json& value = MemberOf(part, name);
  if (value.is_null()) return otherwise;
  if (value.is_boolean()) return value.get<bool>();
  return Invalid(absl::StrCat("\"", name, "\" of a pre_tokenizer is not true or false"));
}

absl::StatusOr<SplitBehavior> BehaviorOf(const json& part) {
  const json& value = MemberOf(part, "behavior");
  const std::string name = value.is_string() ? value.get<std::string>() : "";
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return Refuse(absl::StrCat("the behavior \"", name, "\" of the pre_tokenizer \"Split\""));
}

struct Part {
  size_t begin = 0;
  size_t end = 0;
  bool match = false;
};

// All of a text of `size` bytes: matches and what stands between them.
std::vector<Part> PartsOf(const std::vector<Match>& matches, size_t size, bool invert) {
  std::vector<Part> parts;
  size_t from = 0;
  for (const Match& match : matches) {
    if (match.begin > from) parts.push_back({from, match.begin, invert});
    parts.push_back({match.begin, match.end, !invert});
    from = match.end;
  }
  if (from < size) parts.push_back({from, size, invert});
  return parts;
}

// Parts put together as `behavior` says, those that are dropped apart.
std::vector<Part> Joined(std::vector<Part> parts, SplitBehavior behavior) {
  if (behavior == SplitBehavior::kMergedWithNext) std::reverse(parts.begin(), parts.end());
  std::vector<Part> joined;
  bool after_match = false;
  for (const Part& part : parts) {
    bool join = false;
    switch (behavior) {
      case SplitBehavior::kIsolated:
        break;
      case SplitBehavior::kRemoved:
        if (part.match) continue;
        break;
      case SplitBehavior::kMergedWithPrevious:
      case SplitBehavior::kMergedWithNext:
        join = part.match && !after_match;
        break;
      case SplitBehavior::kContiguous:
        join = part.match == after_match;
        break;
    }
    after_match = part.match;
    if (join && !joined.empty()) {
      joined.back().begin = std::min(joined.back().begin, part.begin);
      joined.back().end = std::max(joined.back().end, part.end);
    } else {
      joined.push_back(part);
    }
  }
  if (behavior == SplitBehavior::kMergedWithNext) std::reverse(joined.begin(), joined.end());
  return joined;
}

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::Parse(const json& part, const Options& options) {
  PreTokenizer made;
  for (const json* stage : StagesOf(part, "pretokenizers")) {
    if (made.has_byte_level_) return Refuse("a pre_tokenizer after \"ByteLevel\"");
    if (absl::Status status = made.AddStage(*stage, options); !status.ok()) return status;
    if (made.stages_.size() > kMaxStages) {
      return Invalid(absl::StrCat("more than ", kMaxStages, " pre_tokenizers"));
    }
  }
  if (!made.has_byte_level_) return Refuse("a BPE model without the pre_tokenizer \"ByteLevel\"");
  return made;
}

absl::Status PreTokenizer::AddStage(const json& part, const Options& options) {
  const std::string type = TypeOf(part);
  if (type == "Split") return AddSplit(part, options);
  if (type == "ByteLevel") return AddByteLevel(part, options);
  if (type == "Digits") {
    absl::Status known = CheckKeys(part, "pre_tokenizer Digits", {"type", "individual_digits"});
    if (!known.ok()) return known;
    const absl::StatusOr<bool> individual = Flag(part, "individual_digits", false);
    if (!individual.ok()) return individual.status();
    PatternNode digit;
    digit.kind = PatternNode::Kind::kSet;
    digit.set.properties = {{"N", false}};
    return AddPattern(digit, *individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous,
                      false, "Digits", options);
  }
  return Refuse(absl::StrCat("the pre_tokenizer \"", type, "\""));
}

absl::Status PreTokenizer::AddSplit(const json& part, const Options& options) {
  absl::Status known =
      CheckKeys(part, "pre_tokenizer Split", {"type", "pattern", "behavior", "invert"});
  if (!known.ok()) return known;
  const absl::StatusOr<SplitBehavior> behavior = BehaviorOf(part);
  if (!behavior.ok()) return behavior.status();
  const absl::StatusOr<bool> invert = Flag(part, "invert", false);
  if (!invert.ok()) return invert.status();
  const json& pattern = MemberOf(part, "pattern");
  const bool one = pattern.is_object() && pattern.size() == 1;
  const json regex = one ? MemberOf(pattern, "Regex") : json();
  const json text = one ? MemberOf(pattern, "String") : json();
  if (text.is_string() && regex.is_null()) {
    if (text.get_ref<const std::string&>().empty()) return Refuse("a Split by an empty String");
    return AddPattern(LiteralPattern(text.get_ref<const std::string&>()), *behavior, *invert,
                      "Split", options);
  }
  if (!regex.is_string()) {
    return Invalid("the pattern of a Split is not {\"String\": ...} or {\"Regex\": ...}");
  }
  const absl::StatusOr<PatternNode> tree = ParseSplitPattern(regex.get_ref<const std::string&>());
  if (!tree.ok()) {
    return absl::Status(tree.status().code(), absl::StrCat("tokenizer.json: pre_tokenizer Split: ",
                                                           tree.status().message()));
  }
  return AddPattern(*tree, *behavior, *invert, "Split", options);
}

absl::Status PreTokenizer::AddByteLevel(const json& part, const Options& options) {
  absl::Status known = CheckKeys(part, "pre_tokenizer ByteLevel",
                                 {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (!known.ok()) return known;
  const absl::StatusOr<bool> use_regex = Flag(part, "use_regex", true);
  if (!use_regex.ok()) return use_regex.status();
  const absl::StatusOr<bool> prefix = Flag(part, "add_prefix_space", true);
  if (!prefix.ok()) return prefix.status();
  has_byte_level_ = true;
  add_prefix_space_ = *prefix;
  prefix_stage_ = stages_.size();
  if (!*use_regex) return absl::OkStatus();
  return AddPattern(*ParseSplitPattern(kByteLevelPattern), SplitBehavior::kIsolated, false,
                    "ByteLevel", options);
}

absl::Status PreTokenizer::AddPattern(const PatternNode& pattern, SplitBehavior behavior,
                                      bool invert, std::string name, const Options& options) {
  Stage stage;
  stage.behavior = behavior;
  stage.invert = invert;
  stage.name = std::move(name);
  // Compiled in any case: what PCRE2 refuses is refused.
  absl::StatusOr<std::unique_ptr<PcreMatcher>> general = PcreMatcher::Compile(pattern);
  if (!general.ok()) return Invalid(general.status().message());
  if (options.use_fast_path) stage.fast = RunMatcher::Compile(pattern);
  if (stage.fast == nullptr) stage.general = *std::move(general);
  stages_.push_back(std::move(stage));
  return absl::OkStatus();
}

PreTokenizer::Memory PreTokenizer::NewMemory() const {
  Memory memory;
  for (const Stage& stage : stages_) {
    memory.runs_.push_back(stage.fast != nullptr ? RunMatcher::Memory(*stage.fast)
                                                 : RunMatcher::Memory());
  }
  memory.matches_.resize(stages_.size());
  return memory;
}

size_t PreTokenizer::slow_stages() const {
  return static_cast<size_t>(std::count_if(
      stages_.begin(), stages_.end(), [](const Stage& stage) { return stage.fast == nullptr; }));
}

absl::Status PreTokenizer::Split(absl::string_view text, Memory* memory, Sink sink) const {
  return Next(0, text, memory, sink);
}

absl::Status PreTokenizer::Next(size_t stage, absl::string_view piece, Memory* memory,
                                Sink sink) const {
  if (piece.empty()) return absl::OkStatus();
  if (add_prefix_space_ && stage == prefix_stage_ && piece[0] != ' ') {
    memory->prefixed_.assign(1, ' ');
    memory->prefixed_.append(piece.data(), piece.size());
    piece = memory->prefixed_;
    if (stage < stages_.size()) memory->runs_[stage].Reset();  // other text at the same address
  }
  return stage == stages_.size() ? sink(piece) : Run(stage, piece, memory, sink);
}

absl::Status PreTokenizer::Run(size_t index, absl::string_view text, Memory* memory,
                               Sink sink) const {
  const Stage& stage = stages_[index];
  if (stage.fast != nullptr && stage.behavior == SplitBehavior::kIsolated) {
    return RunIsolated(index, text, memory, sink);
  }
  std::vector<Match>& matches = memory->matches_[index];
  if (absl::Status status = FindAll(index, text, memory, &matches); !status.ok()) return status;
  for (const Part& part : Joined(PartsOf(matches, text.size(), stage.invert), stage.behavior)) {
    const absl::Status status =
        Next(index + 1, text.substr(part.begin, part.end - part.begin), memory, sink);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// Isolated pieces are the same whichever of them count as matches.
absl::Status PreTokenizer::RunIsolated(size_t index, absl::string_view text, Memory* memory,
                                       Sink sink) const {
  const RunMatcher& fast = *stages_[index].fast;
  for (size_t from = 0; from < text.size();) {
    const auto [begin, end] = fast.Find(text, from, &memory->runs_[index]);
    absl::Status status = Next(index + 1, text.substr(from, begin - from), memory, sink);
    if (status.ok()) status = Next(index + 1, text.substr(begin, end - begin), memory, sink);
    if (!status.ok()) return status;
    from = end;
  }
  return absl::OkStatus();
}

absl::Status PreTokenizer::FindAll(size_t index, absl::string_view text, Memory* memory,
                                   std::vector<Match>* matches) const {
  const Stage& stage = stages_[index];
  if (stage.fast == nullptr) {
    absl::Status status = stage.general->FindAll(text, matches);
    if (status.ok()) return status;
    return absl::Status(status.code(), absl::StrCat("the tokenizer's pre_tokenizer \"", stage.name,
                                                    "\": ", status.message()));
  }
  matches->clear();
  for (size_t from = 0; from < text.size();) {
    const auto [begin, end] = stage.fast->Find(text, from, &memory->runs_[index]);
    if (begin < end) matches->push_back({begin, end});
    from = end;
  }
  return absl::OkStatus();
}

}  // namespace hone
