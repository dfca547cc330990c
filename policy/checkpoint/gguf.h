// SPDX-License-Identifier: Apache-2.0
//
// The GGUF format, versions 2 and 3, little-endian; read only. A file is: "GGUF", u32 version, u64
// tensors, u64 metadata entries; the entries (string key, u32 type, value); of each tensor its
// name, extents (innermost first), type and offset; padding; the tensors' bytes.
//
// Files come from strangers: every count, length and offset is held against the file's size and
// the limits below before anything is allocated for it. What is refused is DATA_LOSS and named.
#ifndef HONE_POLICY_CHECKPOINT_GGUF_H_
#define HONE_POLICY_CHECKPOINT_GGUF_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/file_system.h"

namespace hone {

inline constexpr uint64_t kMaxGgufHeaderBytes = uint64_t{256} << 20;
inline constexpr uint64_t kMaxGgufEntries = 65'536;
inline constexpr uint64_t kMaxGgufTensors = 1'000'000;
inline constexpr uint64_t kMaxGgufArray = uint64_t{4} << 20;  // values
inline constexpr uint32_t kMaxGgufRank = 4;

struct GgufTensor {
  std::string name;
  uint32_t type = 0;           // the file's number: 0 F32, 1 F16, 2 Q4_0, 3 Q4_1, 8 Q8_0, 30 BF16
  std::vector<int64_t> shape;  // outermost first, as in safetensors; extents >= 1
  int64_t elements = 0;
  uint64_t begin = 0;  // bytes into the file
  uint64_t bytes = 0;  // 0: a type whose size is not known here
};

struct GgufHeader {
  nlohmann::json metadata = nlohmann::json::object();  // key -> number, boolean, string or array
  std::vector<GgufTensor> tensors;                     // in the file's order
};

// `head` is the beginning of a file of `file_bytes`. OUT_OF_RANGE: more of the file is needed.
absl::StatusOr<GgufHeader> ParseGguf(absl::string_view head, uint64_t file_bytes);

// `elements` numbers of a type from its bytes. UNIMPLEMENTED for types other than those named
// above. REQUIRES: bytes.size() is what the type takes for them.
//   blocks of 32: Q4_0 d (q - 8); Q4_1 d q + m; Q8_0 d q (d and m are float16)
absl::Status GgufToFloats(uint32_t type, absl::string_view bytes, int64_t elements, float* to);

// A file on disk. Thread-safe once open.
class GgufFile {
 public:
  static absl::StatusOr<GgufFile> Open(FileSystem& files, const std::string& path);

  const std::string& path() const { return path_; }
  const nlohmann::json& metadata() const { return header_.metadata; }
  const std::vector<GgufTensor>& tensors() const { return header_.tensors; }
  // nullptr when there is none of that name.
  const GgufTensor* Find(const std::string& name) const;
  absl::StatusOr<std::vector<float>> Read(const GgufTensor& tensor) const;

 private:
  std::string path_;
  std::shared_ptr<ReadableFile> file_;
  GgufHeader header_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_GGUF_H_
