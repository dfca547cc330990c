// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/gguf.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/checkpoint/half.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr int64_t kBlock = 32;  // elements of a quantised block

// Bytes of one block (of one element for the plain types); 0: not read.
struct TypeSize {
  int64_t elements = 1;
  int64_t bytes = 0;
};
TypeSize SizeOf(uint32_t type) {
  switch (type) {
    case 0:
      return {1, 4};
    case 1:
      return {1, 2};
    case 2:
      return {kBlock, 2 + kBlock / 2};
    case 3:
      return {kBlock, 4 + kBlock / 2};
    case 8:
      return {kBlock, 2 + kBlock};
    case 30:
      return {1, 2};
    default:
      return {};
  }
}

// Bytes of a metadata scalar by its type number; 0: not one.
size_t ScalarBytes(uint32_t type) {
  constexpr size_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < std::size(kBytes) ? kBytes[type] : 0;
}
constexpr uint32_t kString = 8, kArray = 9;

// Takes one value after another; the first that is not there or not allowed is remembered.
class Cursor {
 public:
  Cursor(absl::string_view head, uint64_t file_bytes) : head_(head), file_bytes_(file_bytes) {}

  const absl::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }
  uint64_t at() const { return at_; }
  void Fail(std::string why) {
    if (ok()) status_ = absl::DataLossError(absl::StrCat("byte ", at_, ": ", why));
  }

  // True when `bytes` more are there.
  bool Has(uint64_t bytes) {
    if (!ok()) return false;
    if (bytes > file_bytes_ - at_) {
      Fail(absl::StrCat("wants ", bytes, " bytes more; the file has ", file_bytes_ - at_));
    } else if (bytes > head_.size() - at_) {
      status_ = absl::OutOfRangeError("the header is longer than what was read of it");
    }
    return ok();
  }
  template <typename T>
  T Take() {
    T value{};
    if (!Has(sizeof(T))) return value;
    std::memcpy(&value, head_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  std::string String() {
    const uint64_t bytes = Take<uint64_t>();
    if (!Has(bytes)) return "";
    std::string text(head_.substr(at_, bytes));
    at_ += bytes;
    return text;
  }

 private:
  absl::string_view head_;
  uint64_t file_bytes_;
  uint64_t at_ = 0;
  absl::Status status_;
};

json Scalar(Cursor& from, uint32_t type) {
  switch (type) {
    case 0:
      return from.Take<uint8_t>();
    case 1:
      return from.Take<int8_t>();
    case 2:
      return from.Take<uint16_t>();
    case 3:
      return from.Take<int16_t>();
    case 4:
      return from.Take<uint32_t>();
    case 5:
      return from.Take<int32_t>();
    case 6:
      return from.Take<float>();
    case 7:
      return from.Take<uint8_t>() != 0;
    case 10:
      return from.Take<uint64_t>();
    case 11:
      return from.Take<int64_t>();
    case 12:
      return from.Take<double>();
    case kString:
      return from.String();
    default:
      from.Fail(absl::StrCat("metadata of the unknown type ", type));
      return nullptr;
  }
}

json Value(Cursor& from) {
  const uint32_t type = from.Take<uint32_t>();
  if (!from.ok() || type != kArray) return Scalar(from, type);
  const uint32_t element = from.Take<uint32_t>();
  const uint64_t count = from.Take<uint64_t>();
  if (element == kArray) {
    from.Fail("an array of arrays");
    return nullptr;
  }
  const uint64_t least = element == kString ? sizeof(uint64_t) : ScalarBytes(element);
  if (from.ok() && (least == 0 || count > kMaxGgufArray)) {
    from.Fail(absl::StrCat("an array of ", count, " values of type ", element));
  }
  json array = json::array();
  if (!from.Has(count * least)) return array;
  for (uint64_t i = 0; i < count && from.ok(); ++i) array.push_back(Scalar(from, element));
  return array;
}

GgufTensor Tensor(Cursor& from) {
  GgufTensor tensor;
  tensor.name = from.String();
  const uint32_t rank = from.Take<uint32_t>();
  if (from.ok() && (rank < 1 || rank > kMaxGgufRank)) {
    from.Fail(absl::StrCat("the tensor ", tensor.name, " has ", rank, " dimensions; 1 to ",
                           kMaxGgufRank, " are accepted"));
  }
  tensor.elements = 1;
  for (uint32_t i = 0; i < rank && from.ok(); ++i) {
    const uint64_t extent = from.Take<uint64_t>();
    constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
    if (from.ok() && (extent < 1 || extent > kMost / 8 / static_cast<uint64_t>(tensor.elements))) {
      from.Fail(absl::StrCat("the tensor ", tensor.name, " has an extent of ", extent));
      break;
    }
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(extent));
    tensor.elements *= from.ok() ? static_cast<int64_t>(extent) : 1;
  }
  tensor.type = from.Take<uint32_t>();
  tensor.begin = from.Take<uint64_t>();  // into the tensors' part
  return tensor;
}

// Makes offsets absolute and holds them to the file.
absl::Status PlaceTensors(uint64_t part, uint64_t alignment, uint64_t file_bytes,
                          std::vector<GgufTensor>* tensors) {
  std::vector<const GgufTensor*> order;
  for (GgufTensor& tensor : *tensors) {
    const auto refuse = [&](absl::string_view why) {
      return absl::DataLossError(absl::StrCat("the tensor ", tensor.name, " ", why));
    };
    const TypeSize size = SizeOf(tensor.type);
    if (tensor.shape.back() % size.elements != 0) {
      return refuse(absl::StrCat("has rows of ", tensor.shape.back(), ", not whole blocks of ",
                                 size.elements));
    }
    tensor.bytes = static_cast<uint64_t>(tensor.elements / size.elements * size.bytes);
    if (tensor.begin % alignment != 0) {
      return refuse(absl::StrCat("begins at ", tensor.begin, ", not a multiple of ", alignment));
    }
    if (part > file_bytes || tensor.begin > file_bytes - part ||
        tensor.bytes > file_bytes - part - tensor.begin) {
      return refuse("reaches past the end of the file: it is truncated");
    }
    tensor.begin += part;
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->begin < b->begin; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->begin + order[i - 1]->bytes > order[i]->begin) {
      return absl::DataLossError(
          absl::StrCat("the tensors ", order[i - 1]->name, " and ", order[i]->name, " overlap"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufHeader> ParseGguf(absl::string_view head, uint64_t file_bytes) {
  assert(head.size() <= file_bytes);
  Cursor from(head, file_bytes);
  if (from.Take<uint32_t>() != 0x46554747) from.Fail("not a GGUF file");
  const uint32_t version = from.Take<uint32_t>();
  if (from.ok() && version != 2 && version != 3) {
    from.Fail(absl::StrCat("GGUF version ", version, "; 2 and 3 little-endian are read"));
  }
  const uint64_t tensors = from.Take<uint64_t>(), entries = from.Take<uint64_t>();
  if (from.ok() && (tensors > kMaxGgufTensors || entries > kMaxGgufEntries)) {
    from.Fail(absl::StrCat(tensors, " tensors and ", entries, " metadata entries; at most ",
                           kMaxGgufTensors, " and ", kMaxGgufEntries, " are accepted"));
  }
  GgufHeader header;
  for (uint64_t i = 0; i < entries && from.ok(); ++i) {
    std::string key = from.String();
    json value = Value(from);
    if (from.ok() && !header.metadata.emplace(key, std::move(value)).second) {
      from.Fail(absl::StrCat("the key ", key, " appears twice"));
    }
  }
  std::unordered_map<std::string, size_t> names;
  for (uint64_t i = 0; i < tensors && from.ok(); ++i) {
    header.tensors.push_back(Tensor(from));
    if (from.ok() && !names.emplace(header.tensors.back().name, i).second) {
      from.Fail(absl::StrCat("the tensor ", header.tensors.back().name, " appears twice"));
    }
  }
  if (!from.ok()) return from.status();
  uint64_t alignment = 32;
  if (const auto at = header.metadata.find("general.alignment"); at != header.metadata.end()) {
    alignment = at->is_number_unsigned() ? at->get<uint64_t>() : 0;
    if (alignment == 0 || alignment > 65'536 || (alignment & (alignment - 1)) != 0) {
      return absl::DataLossError("general.alignment is not a power of two up to 65536");
    }
  }
  const uint64_t part = (from.at() + alignment - 1) / alignment * alignment;
  const absl::Status placed = PlaceTensors(part, alignment, file_bytes, &header.tensors);
  if (!placed.ok()) return placed;
  return header;
}

absl::Status GgufToFloats(uint32_t type, absl::string_view bytes, int64_t elements, float* to) {
  const TypeSize size = SizeOf(type);
  if (size.bytes == 0) {
    return absl::UnimplementedError(absl::StrCat("values of GGUF type ", type,
                                                 "; F32, F16, BF16, Q4_0, Q4_1 and Q8_0 are read"));
  }
  assert(elements % size.elements == 0);
  assert(static_cast<int64_t>(bytes.size()) == elements / size.elements * size.bytes);
  const char* from = bytes.data();
  const auto half = [](const char* at) {
    uint16_t bits;
    std::memcpy(&bits, at, sizeof(bits));
    return FromFloat16(bits);
  };
  for (int64_t i = 0; i < elements; i += size.elements, from += size.bytes, to += size.elements) {
    if (type == 0) std::memcpy(to, from, sizeof(float));
    if (type == 1) *to = half(from);
    if (type == 30) {
      uint16_t bits;
      std::memcpy(&bits, from, sizeof(bits));
      *to = FromBFloat16(bits);
    }
    if (type == 2 || type == 3) {
      const float scale = half(from), least = type == 3 ? half(from + 2) : -8.0f * scale;
      const auto* quants = reinterpret_cast<const uint8_t*>(from) + (type == 3 ? 4 : 2);
      for (int64_t j = 0; j < kBlock / 2; ++j) {
        to[j] = static_cast<float>(quants[j] & 0xf) * scale + least;
        to[j + kBlock / 2] = static_cast<float>(quants[j] >> 4) * scale + least;
      }
    }
    if (type == 8) {
      const float scale = half(from);
      const auto* quants = reinterpret_cast<const int8_t*>(from) + 2;
      for (int64_t j = 0; j < kBlock; ++j) to[j] = static_cast<float>(quants[j]) * scale;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufFile> GgufFile::Open(FileSystem& files, const std::string& path) {
  absl::StatusOr<std::unique_ptr<ReadableFile>> file = files.Open(path);
  if (!file.ok()) return file.status();
  GgufFile out;
  out.path_ = path;
  out.file_ = *std::move(file);
  const uint64_t size = out.file_->size();
  // The header's length stands nowhere: read twice as much until it is whole.
  for (uint64_t room = uint64_t{8} << 20;; room *= 2) {
    std::string head(std::min({room, size, kMaxGgufHeaderBytes}), '\0');
    const absl::Status read = out.file_->Read(0, head.size(), head.data());
    if (!read.ok()) return read;
    absl::StatusOr<GgufHeader> header = ParseGguf(head, size);
    if (header.ok()) {
      out.header_ = *std::move(header);
      break;
    }
    if (absl::IsOutOfRange(header.status()) && room < kMaxGgufHeaderBytes) continue;
    return absl::DataLossError(absl::StrCat(path, ": ", header.status().message()));
  }
  for (size_t i = 0; i < out.header_.tensors.size(); ++i) {
    out.index_.emplace(out.header_.tensors[i].name, i);
  }
  return out;
}

const GgufTensor* GgufFile::Find(const std::string& name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &header_.tensors[at->second];
}

absl::StatusOr<std::vector<float>> GgufFile::Read(const GgufTensor& tensor) const {
  std::string bytes(tensor.bytes, '\0');
  absl::Status status = file_->Read(tensor.begin, bytes.size(), bytes.data());
  if (!status.ok()) return status;
  if (SizeOf(tensor.type).bytes == 0) {
    status = GgufToFloats(tensor.type, "", 0, nullptr);
    return absl::Status(status.code(),
                        absl::StrCat(path_, ": ", tensor.name, ": ", status.message()));
  }
  std::vector<float> values(static_cast<size_t>(tensor.elements));
  status = GgufToFloats(tensor.type, bytes, tensor.elements, values.data());
  if (!status.ok()) return status;
  return values;
}

}  // namespace hone
