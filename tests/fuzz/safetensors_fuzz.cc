// SPDX-License-Identifier: Apache-2.0
//
// The files of a checkpoint from outside: safetensors, hone.json, config.json with its
// quantization, and the index of shards. What is accepted must keep the promises of its header. The
// first byte picks the reader.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_set>

#include "absl/strings/string_view.h"
#include "policy/checkpoint/config_json.h"
#include "policy/checkpoint/float8.h"
#include "policy/checkpoint/manifest.h"
#include "policy/checkpoint/safetensors.h"
#include "policy/checkpoint/weights.h"

namespace {

void CheckSafetensors(absl::string_view file) {
  const auto header = hone::ParseSafetensors(file);
  if (!header.ok()) {
    assert(absl::IsDataLoss(header.status()) && !header.status().message().empty());
    return;
  }
  uint64_t at = 0;
  std::unordered_set<std::string> names;
  for (const hone::SafetensorsTensor& tensor : header->tensors) {
    assert(tensor.begin == at && tensor.end >= tensor.begin && tensor.elements >= 0);
    assert(names.insert(tensor.name).second);
    at = tensor.end;
  }
  assert(header->buffer_begin + at == file.size());
}

void CheckManifest(absl::string_view text) {
  const auto manifest = hone::ParseManifest(text, "hone.json");
  if (!manifest.ok()) return;
  const auto again = hone::ParseManifest(hone::ManifestJson(*manifest), "again");
  assert(again.ok() && *again == *manifest);
}

void CheckConfig(absl::string_view text) {
  const auto file = hone::ParseConfigJson(text);
  if (!file.ok()) return;
  assert(file->config.Validate().ok());
  const auto again = hone::ParseConfigJson(hone::ConfigJson(file->config, hone::DType::kBFloat16));
  assert(again.ok() && again->config == file->config);
}

void CheckIndex(absl::string_view text) {
  const auto index = hone::ParseWeightIndex(text, "index");
  if (!index.ok()) {
    assert(absl::IsDataLoss(index.status()) && !index.status().message().empty());
    return;
  }
  assert(index->stated_bytes >= -2);
  for (const auto& [name, shard] : index->shard_of) {
    assert(!shard.empty() && shard[0] != '.' && shard.find('/') == std::string::npos);
  }
}

void CheckQuantization(absl::string_view text) {
  const auto quantization = hone::ReadQuantization(text);
  if (!quantization.ok() || !quantization->fp8) return;
  assert(quantization->block_rows >= 1 && quantization->block_columns >= 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const absl::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      CheckManifest(rest);
      break;
    case 1:
      CheckConfig(rest);
      CheckQuantization(rest);
      break;
    case 3:
      CheckIndex(rest);
      break;
    case 2: {
      // The header alone: the fuzzer need not guess its length.
      const uint64_t bytes = rest.size();
      std::string file(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
      file.append(rest.data(), rest.size());
      CheckSafetensors(file);
      const auto header = hone::ParseSafetensorsHeader(rest, 64);
      if (header.ok()) assert(header->tensors.empty() || header->tensors.back().end == 64);
      break;
    }
    default:
      CheckSafetensors(rest);
  }
  return 0;
}
