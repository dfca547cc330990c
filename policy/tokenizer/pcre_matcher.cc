// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/pcre_matcher.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/utf8.h"

namespace hone {
namespace {

constexpr uint32_t kMatchLimit = 1'000'000;  // for each place where a match could begin
constexpr uint32_t kDepthLimit = 1'000'000;
constexpr uint32_t kHeapLimitKib = 65'536;
constexpr size_t kJitStackBytes = size_t{1} << 20;
constexpr std::chrono::seconds kTimeLimit{20};
// Bytes times places where a match could begin, between two looks at the clock.
constexpr size_t kWorkPerLook = size_t{1} << 28;

template <auto kFree>
struct Freed {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using CodePtr = std::unique_ptr<pcre2_code, Freed<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Freed<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freed<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freed<pcre2_jit_stack_free>>;

std::string WordsOf(int error) {
  PCRE2_UCHAR words[256];
  pcre2_get_error_message(error, words, sizeof(words));
  return reinterpret_cast<const char*>(words);
}

PCRE2_SPTR BytesOf(absl::string_view text) {
  // An empty view may hold no address.
  return reinterpret_cast<PCRE2_SPTR>(text.empty() ? "" : text.data());
}

CodePtr CompilePcre(const std::string& pattern, int* error) {
  const CompileContext context(pcre2_compile_context_create(nullptr));
  assert(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  PCRE2_SIZE at = 0;
  CodePtr code(pcre2_compile(
      BytesOf(pattern), pattern.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT,
      error, &at, context.get()));
  // Without JIT the interpreter does the same, more slowly.
  if (code != nullptr) pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

// What one search needs besides the pattern.
struct Search {
  MatchContext context;
  JitStack stack;
  MatchData data;

  explicit Search(const pcre2_code* code)
      : context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(size_t{32} << 10, kJitStackBytes, nullptr)),
        data(pcre2_match_data_create_from_pattern(code, nullptr)) {
    assert(context != nullptr && stack != nullptr && data != nullptr);
    pcre2_set_match_limit(context.get(), kMatchLimit);
    pcre2_set_depth_limit(context.get(), kDepthLimit);
    pcre2_set_heap_limit(context.get(), kHeapLimitKib);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

// Every character but surrogates, as UTF-8.
const std::string& AllCharacters() {
  static const std::string* const all = [] {
    auto* text = new std::string();
    for (uint32_t c = 0; c <= 0x10ffff; ++c) {
      if (c < 0xd800 || c > 0xdfff) AppendUtf8(c, text);
    }
    return text;
  }();
  return *all;
}

std::vector<uint64_t> FindCharactersWith(const std::string& property) {
  int error = 0;
  const CodePtr code = CompilePcre(absl::StrCat("\\p{", property, "}++"), &error);
  assert(code != nullptr);
  const Search search(code.get());
  const std::string& text = AllCharacters();
  std::vector<uint64_t> bits((0x110000 + 63) / 64);
  for (size_t from = 0;;) {
    const int found = pcre2_match(code.get(), BytesOf(text), text.size(), from, PCRE2_NO_UTF_CHECK,
                                  search.data.get(), search.context.get());
    if (found == PCRE2_ERROR_NOMATCH) return bits;
    assert(found > 0);
    const PCRE2_SIZE* at = pcre2_get_ovector_pointer(search.data.get());
    from = at[1];
    for (absl::string_view run(text.data() + at[0], at[1] - at[0]); !run.empty();) {
      const Utf8Front front = ReadUtf8(run);
      bits[front.character / 64] |= uint64_t{1} << front.character % 64;
      run.remove_prefix(front.bytes);
    }
  }
}

}  // namespace

struct PcreMatcher::Code {
  CodePtr pattern;
};

PcreMatcher::PcreMatcher(std::unique_ptr<Code> code) : code_(std::move(code)) {}
PcreMatcher::~PcreMatcher() = default;

absl::StatusOr<std::unique_ptr<PcreMatcher>> PcreMatcher::Compile(const PatternNode& pattern) {
  int error = 0;
  auto code = std::make_unique<Code>();
  code->pattern = CompilePcre(ToPcre(pattern), &error);
  if (code->pattern == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("PCRE2 refuses the pattern: ", WordsOf(error)));
  }
  return std::unique_ptr<PcreMatcher>(new PcreMatcher(std::move(code)));
}

absl::Status PcreMatcher::FindAll(absl::string_view text, std::vector<Match>* matches) const {
  matches->clear();
  const Search search(code_->pattern.get());
  const auto started = std::chrono::steady_clock::now();
  const size_t window = std::clamp<size_t>(kWorkPerLook / (text.size() + 1), 64, 1024);
  size_t from = 0;
  size_t last_end = text.size() + 1;  // of the last match; none yet
  while (from <= text.size()) {
    size_t until = std::min(text.size(), from + window);
    while (until < text.size() && (text[until] & 0xc0) == 0x80) ++until;
    pcre2_set_offset_limit(search.context.get(), until);
    const int found = pcre2_match(code_->pattern.get(), BytesOf(text), text.size(), from,
                                  PCRE2_NO_UTF_CHECK, search.data.get(), search.context.get());
    if (found == PCRE2_ERROR_NOMATCH && until == text.size()) break;
    const bool late = std::chrono::steady_clock::now() - started > kTimeLimit;
    if ((found < 0 && found != PCRE2_ERROR_NOMATCH) || late) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the pattern gave up on a text of ", text.size(),
                       " bytes: ", late ? std::string("more than 20 seconds") : WordsOf(found)));
    }
    Match match{until, until};
    if (found > 0) {
      const PCRE2_SIZE* at = pcre2_get_ovector_pointer(search.data.get());
      match = {at[0], at[1]};
      // An empty match right after another match does not count.
      if (match.end > match.begin || match.end != last_end) {
        matches->push_back(match);
        from = last_end = match.end;
        continue;
      }
    }
    if (match.end == text.size()) break;
    from = match.end + ReadUtf8(text.substr(match.end)).bytes;
  }
  return absl::OkStatus();
}

const std::vector<uint64_t>& CharactersWith(const std::string& property) {
  static std::mutex* const mutex = new std::mutex();
  static auto* const known = new std::map<std::string, std::vector<uint64_t>>();
  const std::lock_guard<std::mutex> lock(*mutex);
  const auto at = known->find(property);
  if (at != known->end()) return at->second;
  return known->emplace(property, FindCharactersWith(property)).first->second;
}

}  // namespace hone
