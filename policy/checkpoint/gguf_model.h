// SPDX-License-Identifier: Apache-2.0
//
// A GGUF file of a Llama-shaped model as the files of a Hugging Face directory. Its rotary rows are
// put back into the order Hugging Face stores (GGUF keeps pairs adjacent), quantised weights become
// the numbers they stand for.
#ifndef HONE_POLICY_CHECKPOINT_GGUF_MODEL_H_
#define HONE_POLICY_CHECKPOINT_GGUF_MODEL_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/checkpoint/file_system.h"
#include "policy/checkpoint/gguf.h"

namespace hone {

// config.json, generation_config.json, tokenizer.json, tokenizer_config.json by name.
// UNIMPLEMENTED, by name: architectures other than llama, tokenizers other than byte-level BPE
// with a pre-tokenizer among smollm, gpt-2 and llama-bpe, rotary scaling. DATA_LOSS: what such a
// file must say is absent or of the wrong type.
absl::StatusOr<std::map<std::string, std::string>> GgufModelTexts(const GgufFile& file);

// Where a tensor of the file goes.
struct GgufPlace {
  const GgufTensor* tensor = nullptr;
  std::string name;          // in the Hugging Face directory
  int64_t rotary_heads = 0;  // > 0: rows of each head alternate between its halves
};
// In the order of the registry's names. UNIMPLEMENTED names a tensor that has no place.
absl::StatusOr<std::vector<GgufPlace>> GgufPlaces(const GgufFile& file);

// The tensor's values as the directory stores them.
absl::StatusOr<std::vector<float>> ReadGgufPlace(const GgufFile& file, const GgufPlace& place);

// All of it into `directory`, an existing empty one; weights are float32.
absl::Status WriteGgufModel(const GgufFile& file, const std::string& directory,
                            FileSystem& files = RealFileSystem());

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_GGUF_MODEL_H_
