// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/byte_level_tokenizer.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/byte_alphabet.h"
#include "policy/tokenizer/piece_cache.h"
#include "policy/tokenizer/utf8.h"

namespace hone {

using nlohmann::json;

namespace {

absl::Status Invalid(const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: ", why));
}

absl::Status Refuse(const std::string& what) {
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: ", what, " cannot be honoured by Hone"));
}

// Whether an optional setting is there and other than its neutral values.
bool IsSet(const json& part, const char* name) {
  const auto at = part.find(name);
  if (at == part.end() || at->is_null()) return false;
  if (at->is_boolean()) return at->get<bool>();
  if (at->is_string()) return !at->get_ref<const std::string&>().empty();
  return !(at->is_number() && at->get<double>() == 0);
}

absl::Status CheckSettings(const json& root) {
  const auto decoders = StagesOf(MemberOf(root, "decoder"), "decoders");
  for (const json* decoder : decoders) {
    const std::string type = TypeOf(*decoder);
    if (type != "ByteLevel") return Refuse(absl::StrCat("the decoder \"", type, "\""));
  }
  if (decoders.size() != 1) return Refuse("a byte-level model without its ByteLevel decoder");
  const json& model = root["model"];
  for (const char* setting :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"}) {
    if (IsSet(model, setting)) return Refuse(absl::StrCat("\"", setting, "\" of a BPE model"));
  }
  return CheckKeys(
      model, "BPE model",
      {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
       "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
}

// An unknown token is used for what the vocabulary lacks; with all bytes there it never is.
absl::Status CheckUnknown(const json& model, const TokenizerParts& parts) {
  if (!IsSet(model, "unk_token")) return absl::OkStatus();
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    if (parts.ids.count(ToByteAlphabet(absl::string_view(&text, 1))) == 0) {
      return Refuse("\"unk_token\" of a BPE model whose vocabulary lacks bytes");
    }
  }
  return absl::OkStatus();
}

// A merge is "left right" or ["left", "right"].
bool ReadMerge(const json& merge, std::string* left, std::string* right) {
  if (merge.is_array()) {
    if (merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) return false;
    *left = merge[0].get<std::string>();
    *right = merge[1].get<std::string>();
    return true;
  }
  if (!merge.is_string()) return false;
  const std::string& text = merge.get_ref<const std::string&>();
  const size_t blank = text.find(' ');
  if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos) return false;
  *left = text.substr(0, blank);
  *right = text.substr(blank + 1);
  return true;
}

absl::StatusOr<BpeModel> ReadMerges(const json& model, const TokenizerParts& parts) {
  BpeModel bpe;
  const auto list = model.find("merges");
  if (list == model.end() || !list->is_array()) return Invalid("model.merges is not a list");
  bpe.Reserve(list->size());
  for (const json& merge : *list) {
    std::string left, right;
    if (!ReadMerge(merge, &left, &right)) {
      return Invalid(absl::StrCat("merge ", bpe.merges(), " is not two tokens"));
    }
    const auto left_at = parts.ids.find(left);
    const auto right_at = parts.ids.find(right);
    const auto merged_at = parts.ids.find(left + right);
    if (left_at == parts.ids.end() || right_at == parts.ids.end() || merged_at == parts.ids.end()) {
      return Invalid(absl::StrCat("merge ", bpe.merges(), " (\"", left, "\" and \"", right,
                                  "\") uses a token that is not in the vocabulary"));
    }
    if (!bpe.AddMerge(left_at->second, right_at->second, merged_at->second)) {
      return Invalid(
          absl::StrCat("the merge of \"", left, "\" and \"", right, "\" is listed twice"));
    }
  }
  return bpe;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> ByteLevelTokenizer::Parse(
    const nlohmann::json& root, TokenizerParts parts, const PreTokenizer::Options& options) {
  if (absl::Status status = CheckSettings(root); !status.ok()) return status;
  if (absl::Status status = CheckUnknown(root["model"], parts); !status.ok()) return status;
  absl::StatusOr<PreTokenizer> pre_tokenizer =
      PreTokenizer::Parse(MemberOf(root, "pre_tokenizer"), options);
  if (!pre_tokenizer.ok()) return pre_tokenizer.status();
  absl::StatusOr<BpeModel> model = ReadMerges(root["model"], parts);
  if (!model.ok()) return model.status();
  const bool ignore_merges = IsSet(root["model"], "ignore_merges");
  return std::unique_ptr<Tokenizer>(new ByteLevelTokenizer(
      std::move(parts), *std::move(pre_tokenizer), *std::move(model), ignore_merges));
}

namespace {

uint64_t NextOwner() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

struct ByteLevelTokenizer::Work {
  Work(const PreTokenizer& pre_tokenizer, uint64_t owner)
      : cache(PieceCache::OfThread(owner)), memory(pre_tokenizer.NewMemory()) {}
  PieceCache& cache;
  std::vector<absl::string_view> literal;
  PreTokenizer::Memory memory;
  BpeModel::Scratch scratch;
  std::vector<TokenId> symbols;
  std::vector<TokenId> tokens;  // the result
};

ByteLevelTokenizer::ByteLevelTokenizer(TokenizerParts parts, PreTokenizer pre_tokenizer,
                                       BpeModel model, bool ignore_merges)
    : TokenizerBase(std::move(parts)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      model_(std::move(model)),
      ignore_merges_(ignore_merges),
      reach_(new std::atomic<uint8_t>[parts_.content.size()]()),
      owner_(NextOwner()) {
  bytes_.resize(parts_.content.size());
  for (size_t id = 0; id < bytes_.size(); ++id) {
    // What is not wholly in the byte alphabet says itself, as the Hugging Face decoder has it.
    if (!FromByteAlphabet(parts_.content[id], &bytes_[id])) bytes_[id] = parts_.content[id];
  }
  words_.reserve(parts_.ids.size());
  std::string bytes;
  for (const auto& [content, id] : parts_.ids) {
    if (!FromByteAlphabet(content, &bytes)) continue;
    words_.emplace(bytes_[id], id);
    longest_word_ = std::max(longest_word_, bytes.size());
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    const auto at = words_.find(absl::string_view(&text, 1));
    byte_tokens_[byte] = at == words_.end() ? -1 : at->second;
  }
}

absl::Status ByteLevelTokenizer::Merge(absl::string_view piece, Work* work) const {
  work->symbols.resize(piece.size());
  for (size_t i = 0; i < piece.size(); ++i) {
    const uint8_t byte = static_cast<uint8_t>(piece[i]);
    work->symbols[i] = byte_tokens_[byte];
    if (byte_tokens_[byte] < 0) {
      char shown[8];
      std::snprintf(shown, sizeof(shown), "0x%02X", byte);
      return absl::InvalidArgumentError(
          absl::StrCat("the byte ", shown, " of the text is not in the tokenizer's vocabulary"));
    }
  }
  model_.Encode(work->symbols, &work->scratch, &work->tokens);
  return absl::OkStatus();
}

absl::Status ByteLevelTokenizer::EncodePiece(absl::string_view piece, Work* work) const {
  if (piece.size() > PieceCache::kMaxPieceBytes) return EncodeNewPiece(piece, work);
  const PieceCache::Key key = PieceCache::KeyOf(piece);
  PieceCache::Entry& entry = work->cache.At(key);
  if (entry.key == key) {
    work->tokens.insert(work->tokens.end(), entry.tokens, entry.tokens + entry.count);
    return absl::OkStatus();
  }
  const size_t before = work->tokens.size();
  absl::Status status = EncodeNewPiece(piece, work);
  if (status.ok()) entry.Set(key, absl::MakeConstSpan(work->tokens).subspan(before));
  return status;
}

absl::Status ByteLevelTokenizer::EncodeNewPiece(absl::string_view piece, Work* work) const {
  if (piece.size() > longest_word_) return Merge(piece, work);
  const auto word = words_.find(piece);
  if (word == words_.end()) return Merge(piece, work);
  const TokenId token = word->second;
  std::atomic<uint8_t>& reach = reach_[token];
  if (ignore_merges_ || reach.load(std::memory_order_relaxed) == kReached) {
    work->tokens.push_back(token);
    return absl::OkStatus();
  }
  const size_t before = work->tokens.size();
  if (absl::Status status = Merge(piece, work); !status.ok()) return status;
  const bool reached = work->tokens.size() == before + 1 && work->tokens.back() == token;
  reach.store(reached ? kReached : kNotReached, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status ByteLevelTokenizer::EncodeWellFormed(absl::string_view text, Work* work) const {
  std::string normalized;
  if (parts_.normalizer == Normalizer::kNfc) {
    normalized = ToNfc(text);
    text = normalized;
    work->memory = pre_tokenizer_.NewMemory();  // other text, perhaps at the same address
  }
  const auto encode = [&](absl::string_view piece) { return EncodePiece(piece, work); };
  if (!parts_.added.has_normalized()) return pre_tokenizer_.Split(text, &work->memory, encode);
  for (const TextPiece& piece : parts_.added.SplitNormalized(text, work->literal)) {
    if (piece.token >= 0) {
      work->tokens.push_back(piece.token);
      continue;
    }
    const absl::Status status = pre_tokenizer_.Split(piece.text, &work->memory, encode);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ByteLevelTokenizer::EncodeStretch(absl::string_view text, Work* work) const {
  while (!text.empty()) {
    const size_t good = WellFormedPrefix(text);
    if (good > 0) {
      const absl::Status status = EncodeWellFormed(text.substr(0, good), work);
      if (!status.ok()) return status;
      text.remove_prefix(good);
    }
    // Bytes that are no characters are pieces of their own.
    size_t bad = 0;
    while (bad < text.size()) {
      const Utf8Front front = ReadUtf8(text.substr(bad));
      if (front.kind == Utf8Front::Kind::kCharacter) break;
      bad += front.bytes;
    }
    if (bad == 0) continue;
    const absl::Status status = EncodePiece(text.substr(0, bad), work);
    if (!status.ok()) return status;
    text.remove_prefix(bad);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> ByteLevelTokenizer::EncodeText(const PromptText& text) const {
  if (absl::Status status = CheckLength(text.text); !status.ok()) return status;
  Work work(pre_tokenizer_, owner_);
  work.literal = LiteralOf(text);
  if (!work.literal.empty() && parts_.normalizer != Normalizer::kNone &&
      parts_.added.has_normalized()) {
    return absl::UnimplementedError(
        "the tokenizer has a normalizer and added tokens that are sought in normalized text; with "
        "these, literal parts of a text cannot be honoured");
  }
  for (const TextPiece& piece : parts_.added.SplitRaw(text.text, work.literal)) {
    if (piece.token >= 0) {
      work.tokens.push_back(piece.token);
    } else if (absl::Status status = EncodeStretch(piece.text, &work); !status.ok()) {
      return status;
    }
  }
  return std::move(work.tokens);
}

TokenId ByteLevelTokenizer::TokenOf(absl::string_view text) const {
  const AddedToken* added = parts_.added.Find(text);
  if (added != nullptr) return added->id;
  const auto at = words_.find(text);
  return at == words_.end() ? -1 : at->second;
}

void ByteLevelTokenizer::AppendBytes(TokenId token, bool, std::string* out) const {
  if (Has(token)) {
    *out += bytes_[token];
  } else {
    AppendUtf8(0xfffd, out);
  }
}

}  // namespace hone
