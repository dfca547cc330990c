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
#include "policy/checkpoint/half.h"

namespace hone {
namespace {

constexpr int64_t kChunkElements = int64_t{1} << 18;

const char* NameOf(DType dtype) {
  return dtype == DType::kBFloat16 ? "BF16" : "F32";
}
uint64_t BytesOf(DType dtype) {
  return dtype == DType::kBFloat16 ? 2 : 4;
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
    const uint64_t end = at + ElementsOf(tensor.shape) * BytesOf(tensor.dtype);
    absl::StrAppend(&text, ",", nlohmann::json(tensor.name).dump(), ":{\"dtype\":\"",
                    NameOf(tensor.dtype), "\",\"shape\":[", absl::StrJoin(tensor.shape, ","),
                    "],\"data_offsets\":[", at, ",", end, "]}");
    at = end;
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  *buffer_bytes = at;
  return text;
}

absl::Status AppendValues(const TensorToWrite& tensor, DigestedFile* file) {
  const int64_t elements = static_cast<int64_t>(ElementsOf(tensor.shape));
  if (tensor.dtype == DType::kFloat32) {
    return file->Append({reinterpret_cast<const char*>(tensor.values),
                         static_cast<size_t>(elements) * sizeof(float)});
  }
  std::vector<uint16_t> chunk;
  for (int64_t first = 0; first < elements; first += kChunkElements) {
    const int64_t count = std::min(kChunkElements, elements - first);
    chunk.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t bits = std::bit_cast<uint32_t>(tensor.values[first + i]);
      if ((bits & 0xffff) != 0) {
        return absl::InvalidArgumentError(absl::StrCat("element ", first + i, " of ", tensor.name,
                                                       " is ", tensor.values[first + i],
                                                       ", which bfloat16 cannot hold"));
      }
      chunk[static_cast<size_t>(i)] = static_cast<uint16_t>(bits >> 16);
    }
    const absl::Status status =
        file->Append({reinterpret_cast<const char*>(chunk.data()), chunk.size() * 2});
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(FileSystem& files, const std::string& path) {
  absl::StatusOr<std::unique_ptr<ReadableFile>> file = files.Open(path);
  if (!file.ok()) return file.status();
  const auto lost = [&](absl::string_view why) {
    return absl::DataLossError(absl::StrCat(path, ": ", why));
  };
  const uint64_t size = (*file)->size();
  uint64_t header_bytes = 0;
  if (size < sizeof(header_bytes)) return lost("shorter than 8 bytes: not a safetensors file");
  absl::Status status = (*file)->Read(0, sizeof(header_bytes), &header_bytes);
  if (!status.ok()) return status;
  if (header_bytes > size - 8 || header_bytes > kMaxSafetensorsHeaderBytes) {
    return lost(absl::StrCat("the header claims ", header_bytes, " bytes of a file of ", size,
                             "; at most ", kMaxSafetensorsHeaderBytes, " are accepted"));
  }
  std::string text(header_bytes, '\0');
  status = (*file)->Read(8, text.size(), text.data());
  if (!status.ok()) return status;
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(text, size - 8 - text.size());
  if (!header.ok()) return lost(header.status().message());
  SafetensorsFile out;
  out.path_ = path;
  out.file_ = *std::move(file);
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
  const uint64_t begin = header_.buffer_begin + tensor.begin;
  if (tensor.dtype == "F32") {
    return file_->Read(begin + static_cast<uint64_t>(first) * 4,
                       static_cast<size_t>(count) * sizeof(float), to);
  }
  if (tensor.dtype != "BF16" && tensor.dtype != "F16") {
    return absl::UnimplementedError(absl::StrCat(path_, ": the tensor ", tensor.name, " has dtype ",
                                                 tensor.dtype, "; Hone reads F32, BF16 and F16"));
  }
  const auto convert = tensor.dtype == "BF16" ? FromBFloat16 : FromFloat16;
  std::vector<uint16_t> chunk;
  for (int64_t done = 0; done < count; done += kChunkElements) {
    chunk.resize(static_cast<size_t>(std::min(kChunkElements, count - done)));
    const absl::Status status = file_->Read(begin + static_cast<uint64_t>(first + done) * 2,
                                            chunk.size() * 2, chunk.data());
    if (!status.ok()) return status;
    std::transform(chunk.begin(), chunk.end(), to + done, convert);
  }
  return absl::OkStatus();
}

absl::StatusOr<FileDigest> WriteSafetensors(FileSystem& files, const std::string& path,
                                            std::vector<TensorToWrite> tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorToWrite& a, const TensorToWrite& b) {
    const uint64_t a_bytes = BytesOf(a.dtype), b_bytes = BytesOf(b.dtype);
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
