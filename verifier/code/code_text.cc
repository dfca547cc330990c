// SPDX-License-Identifier: Apache-2.0
#include "verifier/code/code_text.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "verifier/answer/extract.h"
#include "verifier/answer/text.h"

namespace hone {
namespace {

constexpr size_t kCodeIndent = 4;  // a fence that stands so much deeper is text of the block

struct Block {
  std::string code;
  bool is_python = false;
  bool names_language = false;
  bool is_closed = false;
};

// The length of the run of ` or ~ that a fence line starts with; 0 for another line.
size_t FenceLength(absl::string_view line) {
  if (line.empty() || (line[0] != '`' && line[0] != '~')) return 0;
  const size_t length = std::min(line.find_first_not_of(line[0]), line.size());
  return length >= 3 ? length : 0;
}

size_t IndentOf(absl::string_view line) {
  return std::min(line.find_first_not_of(" \t"), line.size());
}

std::vector<Block> FencedBlocks(absl::string_view text) {
  std::vector<Block> blocks;
  size_t open_length = 0, open_indent = 0;
  char open_mark = '\0';
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const absl::string_view line = text.substr(at, end - at);
    at = end + 1;
    const size_t indent = IndentOf(line);
    const absl::string_view inside = absl::StripTrailingAsciiWhitespace(line.substr(indent));
    const size_t length = FenceLength(inside);
    if (open_length == 0) {
      if (length == 0) continue;
      const absl::string_view info = absl::StripAsciiWhitespace(inside.substr(length));
      const std::string language = absl::AsciiStrToLower(info.substr(0, info.find_first_of(" {")));
      Block block;
      block.is_python = language == "python" || language == "py" || language == "python3";
      block.names_language = !language.empty();
      blocks.push_back(block);
      open_length = length;
      open_indent = indent;
      open_mark = inside[0];
    } else if (length >= open_length && inside.size() == length && inside[0] == open_mark &&
               indent < open_indent + kCodeIndent) {
      blocks.back().is_closed = true;
      open_length = 0;
    } else {
      absl::StrAppend(&blocks.back().code, line.substr(std::min(indent, open_indent)), "\n");
    }
  }
  return blocks;
}

bool Defines(absl::string_view code, absl::string_view entry_point) {
  if (entry_point.empty()) return false;
  for (const char* keyword : {"def ", "class "}) {
    const std::string wanted = absl::StrCat(keyword, entry_point);
    for (size_t at = code.find(wanted); at != code.npos; at = code.find(wanted, at + 1)) {
      const absl::string_view rest = code.substr(at + wanted.size());
      const unsigned char next = rest.empty() ? ' ' : static_cast<unsigned char>(rest[0]);
      const bool goes_on = next == '_' || next >= 0x80 || absl::ascii_isalnum(next);
      if (!goes_on) return true;
    }
  }
  return false;
}

const Block* ChooseBlock(const std::vector<Block>& blocks, bool lenient,
                         absl::string_view entry_point) {
  const Block* best = nullptr;
  int best_rank = 0;
  for (const Block& block : blocks) {
    const bool may_be = lenient || (block.is_closed && (block.is_python || !block.names_language));
    if (!may_be || IsBlank(block.code)) continue;
    const int rank =
        1 + (block.is_python ? 1 : 0) + (lenient && Defines(block.code, entry_point) ? 2 : 0);
    if (rank >= best_rank) {
      best = &block;
      best_rank = rank;
    }
  }
  return best;
}

// Without blank lines before it and blanks after it.
std::string Trimmed(absl::string_view text) {
  text = absl::StripTrailingAsciiWhitespace(text);
  size_t begin = 0;
  for (size_t i = 0; i < text.size() && absl::ascii_isspace(static_cast<unsigned char>(text[i]));
       ++i) {
    if (text[i] == '\n') begin = i + 1;
  }
  return std::string(text.substr(begin));
}

// The body of the last answer tag that is not blank; the region itself without one.
absl::string_view InsideAnswer(absl::string_view region) {
  const size_t close = region.rfind("</answer>");
  if (close == absl::string_view::npos) return region;
  const size_t open = region.substr(0, close).rfind("<answer>");
  if (open == absl::string_view::npos) return region;
  return region.substr(open + 8, close - open - 8);
}

}  // namespace

CodeText FindCode(const Question& question, absl::string_view entry_point) {
  const absl::string_view completion = question.completion();
  if (question.bare) {
    if (IsBlank(completion)) return {"", "the completion is blank"};
    if (FenceLength(absl::StripLeadingAsciiWhitespace(completion)) == 0) {
      return {Trimmed(completion), ""};
    }
  }
  const ExtractedAnswer found =
      ExtractAnswer(completion, ExtractMode::kLenient, HasPrefilledThink(question));
  if (found.region.empty()) return {"", found.why};
  // The region is trimmed; a body that starts the completion keeps its first indent.
  absl::string_view region = found.region;
  while (region.data() > completion.data() &&
         (region.data()[-1] == ' ' || region.data()[-1] == '\t')) {
    region = absl::string_view(region.data() - 1, region.size() + 1);
  }
  const absl::string_view answer = InsideAnswer(region);
  const bool tagged = answer.size() != region.size();
  region = answer;
  const bool lenient = question.lenient || question.bare;
  const std::vector<Block> blocks = FencedBlocks(region);
  const Block* block = ChooseBlock(blocks, lenient, entry_point);
  if (block != nullptr) return {Trimmed(block->code), ""};
  if (!lenient && tagged && blocks.empty() && !IsBlank(region)) {  // the answer is the program
    const size_t first = region.find_first_not_of(" \t\r\n");
    const bool beside_tag = region.substr(0, first).find('\n') == absl::string_view::npos;
    return {beside_tag ? Trimmed(region.substr(first)) : Trimmed(region), ""};
  }
  if (!lenient) return {"", "no closed ```python block after the reasoning, nor an <answer>"};
  if (IsBlank(region) || !blocks.empty()) return {"", "the answer holds no code"};
  return {Trimmed(region), ""};
}

}  // namespace hone
