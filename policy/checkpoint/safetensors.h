// SPDX-License-Identifier: Apache-2.0
//
// The safetensors format. A file is: u64 little-endian N; N bytes of JSON, from tensor name to
// {"dtype", "shape", "data_offsets": [begin, end]}; the buffer the offsets speak of.
//
// The reader is strict, for files come from strangers: N is at most 100,000,000 and fits the file;
// no name, key or metadata entry twice; every tensor's bytes are what its dtype and shape say; the
// tensors tile the buffer: no hole, no overlap, nothing after the last. Everything that is refused
// is DATA_LOSS and named.
#ifndef HONE_POLICY_CHECKPOINT_SAFETENSORS_H_
#define HONE_POLICY_CHECKPOINT_SAFETENSORS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/checkpoint/digested_file.h"
#include "policy/checkpoint/file_system.h"
#include "policy/model/parameters.h"

namespace hone {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;
inline constexpr size_t kMaxSafetensorsTensors = 1'000'000;
inline constexpr size_t kMaxSafetensorsRank = 16;

struct SafetensorsTensor {
  std::string name;
  std::string dtype;           // as the file says it: "F32", "BF16", "F8_E4M3", ...
  std::vector<int64_t> shape;  // [] is a scalar; an extent may be 0
  int64_t elements = 0;        // product of the shape
  uint64_t begin = 0;          // bytes into the buffer
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsTensor> tensors;  // ascending in the buffer
  std::map<std::string, std::string> metadata;
  uint64_t buffer_begin = 0;  // bytes into the file: 8 + N
};

// `json` is the N bytes; the buffer behind it has `buffer_bytes`.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json,
                                                         uint64_t buffer_bytes);
// A whole file in memory; a tensor's bytes are file.substr(buffer_begin + begin, end - begin).
absl::StatusOr<SafetensorsHeader> ParseSafetensors(absl::string_view file);

// Elements [first, first + count) of a tensor as floats.
using ReadElements = std::function<absl::Status(int64_t first, int64_t count, float* to)>;

// A file on disk, mapped: its bytes are read when they are asked for. Thread-safe once open.
class SafetensorsFile {
 public:
  static absl::StatusOr<SafetensorsFile> Open(FileSystem& files, const std::string& path);

  const std::string& path() const { return path_; }
  const SafetensorsHeader& header() const { return header_; }
  // nullptr when there is none of that name.
  const SafetensorsTensor* Find(const std::string& name) const;
  // Elements [first, first + count) of a tensor as floats. F32, BF16, F16 and F8_E4M3 are exact
  // (the last without its scale); UNIMPLEMENTED for other types, by name. REQUIRES: the range is
  // inside the tensor.
  absl::Status ReadFloats(const SafetensorsTensor& tensor, int64_t first, int64_t count,
                          float* to) const;

 private:
  std::string path_;
  std::shared_ptr<ReadableFile> file_;
  absl::string_view bytes_;  // the mapping
  SafetensorsHeader header_;
  std::unordered_map<std::string, size_t> index_;
};

struct TensorToWrite {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::kFloat32;
  const float* values = nullptr;  // [product of shape]
  ReadElements read = nullptr;    // without values: asked front to back, piece by piece
  bool float8 = false;            // stored as F8_E4M3, rounded; dtype is not looked at
};

// A new file: tensors sorted by alignment (wide types first), then name; the header padded with
// blanks to a multiple of 8; metadata {"format": "pt"}. INVALID_ARGUMENT, naming the tensor, when a
// bfloat16 one has a value that bfloat16 cannot hold: rounding is the caller's decision.
absl::StatusOr<FileDigest> WriteSafetensors(FileSystem& files, const std::string& path,
                                            std::vector<TensorToWrite> tensors);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_SAFETENSORS_H_
