// SPDX-License-Identifier: Apache-2.0
//
// The reader of safetensors headers: a state machine over JSON events, so that a hostile header
// costs no more than its tensors.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/safetensors.h"

namespace hone {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian, and so are we");

struct NamedType {
  absl::string_view name;
  uint64_t bits;
};
constexpr NamedType kTypes[] = {
    {"BOOL", 8},    {"U8", 8},   {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F4", 4},   {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6},
    {"F6_E3M2", 6}, {"I16", 16}, {"U16", 16},        {"F16", 16},        {"BF16", 16},
    {"I32", 32},    {"U32", 32}, {"F32", 32},        {"F64", 64},        {"I64", 64},
    {"U64", 64},    {"C64", 64},
};

// 0: no such type.
uint64_t BitsOf(absl::string_view dtype) {
  for (const NamedType& type : kTypes) {
    if (type.name == dtype) return type.bits;
  }
  return 0;
}

// Text for a message: short, and on one line.
std::string Shown(const std::string& text) {
  return nlohmann::json(text.substr(0, 120))
      .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

// Header := { Name: Entry, ... , "__metadata__": { String: String } }
class HeaderEvents final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderEvents(SafetensorsHeader* header) : header_(header) {}

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t& text) override {
    return Unexpected(absl::StrCat("the number ", text.substr(0, 40)));
  }
  bool binary(binary_t&) override { return Unexpected("binary"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShapeItem) {
      if (tensor_.shape.size() == kMaxSafetensorsRank) {
        return Fail(absl::StrCat("has more than ", kMaxSafetensorsRank, " dimensions"));
      }
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Fail(absl::StrCat("has the extent ", value));
      }
      tensor_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsetsItem) {
      if (offsets_ == 2) return Fail("has more than two data_offsets");
      (offsets_++ == 0 ? tensor_.begin : tensor_.end) = value;
      return true;
    }
    return Unexpected("a number");
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadataValue) {
      header_->metadata[key_] = value;
      place_ = Place::kMetadata;
      return true;
    }
    if (place_ != Place::kDtype) return Unexpected("a string");
    tensor_.dtype = value;
    place_ = Place::kEntry;
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
    } else if (place_ == Place::kMetadataStart) {
      place_ = Place::kMetadata;
    } else if (place_ == Place::kEntryStart) {
      place_ = Place::kEntry;
    } else {
      return Unexpected("an object");
    }
    return true;
  }

  bool key(string_t& name) override {
    if (place_ == Place::kMetadata) {
      key_ = name;
      place_ = Place::kMetadataValue;
      return header_->metadata.count(name) == 0 ||
             Fail(absl::StrCat("has ", Shown(name), " twice"));
    }
    if (place_ == Place::kEntry) return EntryKey(name);
    tensor_ = {};
    tensor_.name = name;
    has_dtype_ = has_shape_ = false;
    offsets_ = 0;
    place_ = name == "__metadata__" ? Place::kMetadataStart : Place::kEntryStart;
    if (!names_.insert(name).second) return Fail("appears twice");
    if (names_.size() > kMaxSafetensorsTensors) {
      return Fail(absl::StrCat("is one of more than ", kMaxSafetensorsTensors, " tensors"));
    }
    return true;
  }

  bool start_array(size_t) override {
    if (place_ == Place::kShape) {
      place_ = Place::kShapeItem;
    } else if (place_ == Place::kOffsets) {
      place_ = Place::kOffsetsItem;
    } else {
      return Unexpected("a list");
    }
    return true;
  }
  bool end_array() override {
    if (place_ == Place::kOffsetsItem && offsets_ != 2)
      return Fail("lacks one of its data_offsets");
    place_ = Place::kEntry;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kEntry) {
      if (!has_dtype_ || !has_shape_ || offsets_ != 2) {
        return Fail("lacks one of dtype, shape and data_offsets");
      }
      if (!CheckSize()) return false;
      header_->tensors.push_back(std::move(tensor_));
    }
    place_ = Place::kTop;
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    if (error_.empty()) {
      error_ = absl::StrCat("the header is not JSON at byte ", position, ": ", error.what());
    }
    return false;
  }

  const std::string& error() const { return error_; }

 private:
  enum class Place {
    kStart,          // before anything
    kTop,            // between tensors
    kMetadataStart,  // before the metadata's brace
    kMetadata,       // between its entries
    kMetadataValue,  // before a value
    kEntryStart,     // before a tensor's brace
    kEntry,          // between its keys
    kDtype,          // before the value of "dtype"
    kShape,          // before the bracket of "shape"
    kShapeItem,      // inside
    kOffsets,        // before the bracket of "data_offsets"
    kOffsetsItem,    // inside
  };

  bool Fail(const std::string& why) {
    error_ = absl::StrCat("the tensor ", Shown(tensor_.name), " ", why);
    return false;
  }
  bool Unexpected(const std::string& what) {
    return Fail(absl::StrCat("has ", what, " where the format has none"));
  }

  bool EntryKey(const std::string& name) {
    bool first = false;
    if (name == "dtype") {
      place_ = Place::kDtype;
      first = !std::exchange(has_dtype_, true);
    } else if (name == "shape") {
      place_ = Place::kShape;
      first = !std::exchange(has_shape_, true);
    } else if (name == "data_offsets") {
      place_ = Place::kOffsets;
      first = offsets_ == 0;
    } else {
      return Fail(absl::StrCat("has the unknown key ", Shown(name)));
    }
    return first || Fail(absl::StrCat("has ", name, " twice"));
  }

  // end - begin is what dtype and shape say, without overflow.
  bool CheckSize() {
    const uint64_t bits = BitsOf(tensor_.dtype);
    if (bits == 0) return Fail(absl::StrCat("has the unknown dtype ", Shown(tensor_.dtype)));
    uint64_t elements = 1;
    for (const int64_t extent : tensor_.shape) {
      if (__builtin_mul_overflow(elements, static_cast<uint64_t>(extent), &elements)) {
        return Fail("has a shape whose product overflows");
      }
    }
    uint64_t total_bits = 0;
    if (__builtin_mul_overflow(elements, bits, &total_bits)) {
      return Fail("has a shape whose size overflows");
    }
    if (total_bits % 8 != 0) return Fail("ends inside a byte");
    if (tensor_.end < tensor_.begin || tensor_.end - tensor_.begin != total_bits / 8) {
      return Fail(absl::StrCat("has data_offsets [", tensor_.begin, ", ", tensor_.end,
                               "], but its dtype and shape take ", total_bits / 8, " bytes"));
    }
    tensor_.elements = static_cast<int64_t>(elements);
    return true;
  }

  SafetensorsHeader* header_;
  Place place_ = Place::kStart;
  SafetensorsTensor tensor_;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  int offsets_ = 0;
  std::string key_;
  std::unordered_set<std::string> names_;
  std::string error_;
};

absl::Status CheckTiling(const SafetensorsHeader& header, uint64_t buffer_bytes) {
  uint64_t at = 0;
  for (const SafetensorsTensor& tensor : header.tensors) {
    if (tensor.begin != at) {
      return absl::DataLossError(
          absl::StrCat("the tensor ", Shown(tensor.name), " begins at byte ", tensor.begin,
                       " of the buffer, but the one before it ends at ", at,
                       tensor.begin < at ? ": they overlap" : ": there is a hole"));
    }
    at = tensor.end;
  }
  if (at == buffer_bytes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the tensors take ", at, " bytes, but the file has ",
                                          buffer_bytes, " behind its header",
                                          at > buffer_bytes ? ": it was truncated" : ""));
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json,
                                                         uint64_t buffer_bytes) {
  if (json.empty() || json[0] != '{') {
    return absl::DataLossError("the header does not begin with {: not a safetensors file");
  }
  SafetensorsHeader header;
  HeaderEvents events(&header);
  if (!nlohmann::json::sax_parse(json.data(), json.data() + json.size(), &events)) {
    return absl::DataLossError(events.error());
  }
  header.buffer_begin = 8 + json.size();
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
              return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
            });
  if (absl::Status status = CheckTiling(header, buffer_bytes); !status.ok()) return status;
  return header;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensors(absl::string_view file) {
  uint64_t header_bytes = 0;
  if (file.size() < sizeof(header_bytes)) {
    return absl::DataLossError(
        absl::StrCat("the file has ", file.size(), " bytes, fewer than the 8 of its length field"));
  }
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  const uint64_t rest = file.size() - sizeof(header_bytes);
  if (header_bytes > rest || header_bytes > kMaxSafetensorsHeaderBytes) {
    return absl::DataLossError(absl::StrCat(
        "the header claims ", header_bytes, " bytes; the file has ", rest, " behind the length ",
        "field, and at most ", kMaxSafetensorsHeaderBytes, " are accepted"));
  }
  return ParseSafetensorsHeader(file.substr(sizeof(header_bytes), header_bytes),
                                rest - header_bytes);
}

}  // namespace hone
