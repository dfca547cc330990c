// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/carried_files.h"

#include <array>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace hone {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{64} << 20;
constexpr uint64_t kMaxAllBytes = uint64_t{256} << 20;

constexpr std::array<absl::string_view, 16> kNames = {"tokenizer_config.json",
                                                      "special_tokens_map.json",
                                                      "added_tokens.json",
                                                      "vocab.json",
                                                      "vocab.txt",
                                                      "merges.txt",
                                                      "tokenizer.model",
                                                      "tiktoken.model",
                                                      "spiece.model",
                                                      "sentencepiece.bpe.model",
                                                      "chat_template.jinja",
                                                      "chat_template.json",
                                                      "generation_config.json",
                                                      "LICENSE",
                                                      "LICENSE.txt",
                                                      "LICENSE-MODEL"};

}  // namespace

bool IsCarriedFile(absl::string_view name) {
  for (const absl::string_view known : kNames) {
    if (name == known) return true;
  }
  return absl::EndsWith(name, ".tiktoken") || absl::EndsWith(name, ".jinja");
}

absl::StatusOr<std::map<std::string, std::string>> ReadCarriedFiles(
    FileSystem& files, const std::string& directory, const CheckpointManifest* manifest) {
  const absl::StatusOr<std::vector<std::string>> names = files.List(directory);
  if (!names.ok()) return names.status();
  std::map<std::string, std::string> out;
  uint64_t all = 0;
  for (const std::string& name : *names) {
    if (!IsCarriedFile(name) || (manifest != nullptr && manifest->files.count(name) == 0)) continue;
    if (absl::Status status = CheckStaysInside(files, directory, name); !status.ok()) return status;
    absl::StatusOr<std::string> text =
        ReadFile(files, absl::StrCat(directory, "/", name), kMaxFileBytes);
    if (!text.ok()) return text.status();
    all += text->size();
    if (all > kMaxAllBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          directory, ": the tokenizer's files have more than ", kMaxAllBytes, " bytes together"));
    }
    out[name] = *std::move(text);
  }
  return out;
}

}  // namespace hone
