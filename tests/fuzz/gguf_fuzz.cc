// SPDX-License-Identifier: Apache-2.0
//
// A GGUF file's header from outside. What is accepted lies inside the file, in whole blocks.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/checkpoint/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view file(reinterpret_cast<const char*>(data), size);
  const auto header = hone::ParseGguf(file, size);
  if (!header.ok()) {
    assert(absl::IsDataLoss(header.status()) && !header.status().message().empty());
    return 0;
  }
  for (const hone::GgufTensor& tensor : header->tensors) {
    assert(tensor.begin <= size && tensor.bytes <= size - tensor.begin);
    if (tensor.bytes == 0) continue;
    std::vector<float> values(static_cast<size_t>(tensor.elements));
    const auto bytes = file.substr(tensor.begin, tensor.bytes);
    assert(hone::GgufToFloats(tensor.type, bytes, tensor.elements, values.data()).ok());
  }
  return 0;
}
