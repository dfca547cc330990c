// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/float8.h"
#include "policy/checkpoint/half.h"

namespace hone {
namespace {

constexpr int64_t kChunkElements = int64_t{1} << 18;

const char* NameOf(const TensorToWrite& tensor) {
  return tensor.float8 ? "F8_E4M3" : tensor.dtype == DType::kBFloat16 ? "BF16" : "F32";
}
uint64_t BytesOf(const TensorToWrite& tensor) {
  return tensor.float8 ? 1 : tensor.dtype == DType::kBFloat16 ? 2 : 4;
}

uint64_t ElementsOf(const std::vector<int64_t>& shape) {
  uint64_t elements = 1;
  for (const int64_t extent : shape) elements *= static_cast<uint64_t>(extent);
  return elements;
}

// The N bytes, padding included, and the size of the buffer.
std::string HeaderText(const std::vector<TensorToWrite>& tensors, uint64_t* buffer_bytes) {
  std::string text = "{\"__metadata__\":{\"format\":\"pt\"}";
  uint64_t at = 0;
  for (const TensorToWrite& tensor : tensors) {
    const uint64_t end = at + ElementsOf(tensor.shape) * BytesOf(tensor);
    absl::StrAppend(&text, ",", nlohmann::json(tensor.name).dump(), ":{\"dtype\":\"",
                    NameOf(tensor), "\",\"shape\":[", absl::StrJoin(tensor.shape, ","),
                    "],\"data_offsets\":[", at, ",", end, "]}");
    at = end;
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  *buffer_bytes = at;
  return text;
}

absl::Status AppendBFloat16(const TensorToWrite& tensor, const float* values, int64_t first,
                            int64_t count, std::string* bytes) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    if ((bits & 0xffff) != 0) {
      return absl::InvalidArgumentError(absl::StrCat("element ", first + i, " of ", tensor.name,
                                                     " is ", values[i],
                                                     ", which bfloat16 cannot hold"));
    }
    const uint16_t upper = static_cast<uint16_t>(bits >> 16);
    bytes->append(reinterpret_cast<const char*>(&upper), sizeof(upper));
  }
  return absl::OkStatus();
}

absl::Status AppendValues(const TensorToWrite& tensor, DigestedFile* file) {
  const int64_t elements = static_cast<int64_t>(ElementsOf(tensor.shape));
  std::vector<float> piece;
  std::string bytes;
  for (int64_t first = 0; first < elements; first += kChunkElements) {
    const int64_t count = std::min(kChunkElements, elements - first);
    const float* values = tensor.values + first;
    absl::Status status;
    if (tensor.values == nullptr) {
      piece.resize(static_cast<size_t>(count));
      status = tensor.read(first, count, piece.data());
      values = piece.data();
    }
    bytes.clear();
    if (tensor.float8) {
      for (int64_t i = 0; i < count; ++i) bytes.push_back(static_cast<char>(ToFloat8(values[i])));
    } else if (tensor.dtype == DType::kBFloat16 && status.ok()) {
      status = AppendBFloat16(tensor, values, first, count, &bytes);
    }
    if (!status.ok()) return status;
    const bool floats = bytes.empty();
    status = file->Append(floats ? absl::string_view(reinterpret_cast<const char*>(values),
                                                     static_cast<size_t>(count) * sizeof(float))
                                 : absl::string_view(bytes));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// `count` elements of type Stored at unaligned `from`, each through `convert`.
template <typename Stored, typename Convert>
void ConvertAll(const char* from, int64_t count, const Convert& convert, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    Stored stored;
    std::memcpy(&stored, from + i * static_cast<int64_t>(sizeof(Stored)), sizeof(Stored));
    to[i] = convert(stored);
  }
}

}  // namespace

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(FileSystem& files, const std::string& path) {
  absl::StatusOr<std::unique_ptr<ReadableFile>> file = files.Open(path);
  if (!file.ok()) return file.status();
  const absl::StatusOr<absl::string_view> bytes = (*file)->Map();
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensors(*bytes);
  if (!header.ok()) {
    return absl::DataLossError(absl::StrCat(path, ": ", header.status().message()));
  }
  SafetensorsFile out;
  out.path_ = path;
  out.file_ = *std::move(file);
  out.bytes_ = *bytes;
  out.header_ = *std::move(header);
  for (size_t i = 0; i < out.header_.tensors.size(); ++i) {
    out.index_.emplace(out.header_.tensors[i].name, i);
  }
  return out;
}

const SafetensorsTensor* SafetensorsFile::Find(const std::string& name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &header_.tensors[at->second];
}

absl::Status SafetensorsFile::ReadFloats(const SafetensorsTensor& tensor, int64_t first,
                                         int64_t count, float* to) const {
  assert(first >= 0 && count >= 0 && first + count <= tensor.elements);
  const char* const begin = bytes_.data() + header_.buffer_begin + tensor.begin;
  if (tensor.dtype == "F32") {
    if (count > 0) std::memcpy(to, begin + first * 4, static_cast<size_t>(count) * sizeof(float));
  } else if (tensor.dtype == "BF16") {
    ConvertAll<uint16_t>(begin + first * 2, count, FromBFloat16, to);
  } else if (tensor.dtype == "F16") {
    ConvertAll<uint16_t>(begin + first * 2, count, FromFloat16, to);
  } else if (tensor.dtype == "F8_E4M3") {
    ConvertAll<uint8_t>(begin + first, count, FromFloat8, to);
  } else {
    return absl::UnimplementedError(absl::StrCat(path_, ": the tensor ", tensor.name, " has dtype ",
                                                 tensor.dtype,
                                                 "; Hone reads F32, BF16, F16 and F8_E4M3"));
  }
  return absl::OkStatus();
}

absl::StatusOr<FileDigest> WriteSafetensors(FileSystem& files, const std::string& path,
                                            std::vector<TensorToWrite> tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorToWrite& a, const TensorToWrite& b) {
    const uint64_t a_bytes = BytesOf(a), b_bytes = BytesOf(b);
    return a_bytes != b_bytes ? a_bytes > b_bytes : a.name < b.name;
  });
  uint64_t buffer_bytes = 0;
  const std::string header = HeaderText(tensors, &buffer_bytes);
  const uint64_t header_bytes = header.size();
  absl::StatusOr<DigestedFile> file =
      DigestedFile::Create(files, path, sizeof(header_bytes) + header_bytes + buffer_bytes);
  if (!file.ok()) return file.status();
  absl::Status status =
      file->Append({reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes)});
  if (status.ok()) status = file->Append(header);
  for (const TensorToWrite& tensor : tensors) {
    if (status.ok()) status = AppendValues(tensor, &*file);
  }
  if (!status.ok()) return status;
  return file->Finish();
}

}  // namespace hone
