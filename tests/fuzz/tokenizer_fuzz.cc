// SPDX-License-Identifier: Apache-2.0
//
// A tokenizer.json from outside, and a text. The input is the text, a NUL, and the file; without a
// NUL all of it is the text, for tokenizers that are known to be good: their fast path must cut it
// as PCRE2 does, and no special token may come out of literal text. A file of less than 4 KiB that
// is no JSON is a split pattern.
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "policy/tokenizer/pre_tokenizer.h"
#include "policy/tokenizer/stream_decoder.h"
#include "policy/tokenizer/tokenizer.h"
#include "policy/tokenizer/utf8.h"

namespace {

using nlohmann::json;

// Every id is in range, and streaming says what Decode says.
void CheckTokens(const hone::Tokenizer& tokenizer, const std::vector<hone::TokenId>& ids) {
  hone::StreamDecoder decoder(tokenizer);
  std::string streamed;
  for (const hone::TokenId id : ids) {
    assert(id >= 0 && id < tokenizer.size());
    streamed += decoder.Add(id);
    assert(tokenizer.Piece(id).find('\n') == std::string::npos);
  }
  streamed += decoder.Finish();
  assert(streamed == tokenizer.Decode(ids));
}

void CheckKnown(absl::string_view text) {
  static const std::unique_ptr<hone::Tokenizer> bytes =
      std::move(*hone::ParseTokenizer(hone::ByteTokenizerJson({"<eos>", "<think>", "<th"})));
  const auto ids = bytes->Encode(text);
  assert(ids.ok());
  CheckTokens(*bytes, *ids);
  std::string back;
  for (const hone::TokenId id : *ids) bytes->AppendBytes(id, back.empty(), &back);
  assert(back == text);
}

constexpr char kPattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

json SplitFile(const std::string& pattern) {
  json file = json::parse(hone::ByteTokenizerJson({"<eos>", "<think>"}));
  const json bytes = file["pre_tokenizer"];
  const json split = {{"type", "Split"},
                      {"pattern", {{"Regex", pattern}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}};
  file["normalizer"] = {{"type", "NFC"}};
  int id = 258;
  for (const char* merged : {"aa", "ab", "aaaa", "ĠĠ", "'s"}) {
    file["model"]["vocab"][merged] = id++;
  }
  file["model"]["merges"] = {"a a", "a b", "aa aa", "Ġ Ġ", "' s"};
  for (json& token : file["added_tokens"]) token["id"] = id++;
  return file;
}

// The end of what is well-formed.
absl::string_view WellFormed(absl::string_view text) {
  return text.substr(0, hone::WellFormedPrefix(text));
}

using PreTokenizerOr = absl::StatusOr<hone::PreTokenizer>;

// The fast path cuts as PCRE2 does; pieces put together are the text.
void CheckPieces(const PreTokenizerOr& fast, const PreTokenizerOr& general,
                 absl::string_view text) {
  assert(fast.ok() == general.ok());
  if (!fast.ok()) return;
  std::string pieces[2];
  absl::Status statuses[2];
  for (int i = 0; i < 2; ++i) {
    const hone::PreTokenizer& made = i == 0 ? *fast : *general;
    hone::PreTokenizer::Memory memory = made.NewMemory();
    statuses[i] = made.Split(text, &memory, [&](absl::string_view piece) {
      pieces[i].append(piece.data(), piece.size());
      pieces[i].push_back('\xff');
      return absl::OkStatus();
    });
  }
  if (statuses[0].ok() && statuses[1].ok()) assert(pieces[0] == pieces[1]);
  if (!statuses[0].ok()) return;
  pieces[0].erase(std::remove(pieces[0].begin(), pieces[0].end(), '\xff'), pieces[0].end());
  assert(pieces[0] == text);
}

PreTokenizerOr PreTokenizerOf(const std::string& pattern, bool fast) {
  return hone::PreTokenizer::Parse(SplitFile(pattern)["pre_tokenizer"], {fast});
}

void CheckSplit(absl::string_view text) {
  static const std::unique_ptr<hone::Tokenizer> known =
      std::move(*hone::ParseTokenizer(SplitFile(kPattern).dump()));
  const auto ids = known->Encode(text);
  assert(ids.ok());
  CheckTokens(*known, *ids);
  hone::PromptText literal;
  literal.AppendLiteral(text);
  const auto plain = known->EncodeText(literal);
  assert(plain.ok());
  for (const hone::TokenId id : *plain) assert(id < 263);
  static const PreTokenizerOr fast = PreTokenizerOf(kPattern, true);
  static const PreTokenizerOr general = PreTokenizerOf(kPattern, false);
  CheckPieces(fast, general, WellFormed(text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t split = std::min(input.find('\0'), input.size());
  const absl::string_view text = input.substr(0, split);
  CheckKnown(text);
  CheckSplit(text);
  if (split == input.size()) return 0;
  const std::string file(input.substr(split + 1));
  if (file.size() < 4096 && !file.empty() && file[0] != '{') {
    const std::string pattern(WellFormed(file));
    CheckPieces(PreTokenizerOf(pattern, true), PreTokenizerOf(pattern, false),
                WellFormed(text.substr(0, 256)));
    return 0;
  }
  const auto tokenizer = hone::ParseTokenizer(file);
  if (!tokenizer.ok()) {
    assert(!tokenizer.status().message().empty());
    return 0;
  }
  assert((*tokenizer)->eos() < (*tokenizer)->size() && (*tokenizer)->bos() < (*tokenizer)->size());
  const auto ids = (*tokenizer)->Encode(text);
  if (ids.ok()) CheckTokens(**tokenizer, *ids);
  return 0;
}
