// SPDX-License-Identifier: Apache-2.0
#include "policy/tensor/device.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hone {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kSmallestBlockBytes = size_t{1} << 20;

size_t RoundUp(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

class Host final : public Device {
 public:
  const char* name() const override { return "host"; }
  void* Allocate(size_t bytes) override {
    if (bytes > SIZE_MAX - kAlignment) return nullptr;
    return std::aligned_alloc(kAlignment, RoundUp(std::max<size_t>(bytes, 1)));
  }
  void Free(void* pointer) override { std::free(pointer); }
  void CopyIn(void* to, const void* from, size_t bytes, Stream*) override { Copy(to, from, bytes); }
  void CopyOut(void* to, const void* from, size_t bytes, Stream*) override {
    Copy(to, from, bytes);
  }
  void CopyWithin(void* to, const void* from, size_t bytes, Stream*) override {
    if (bytes > 0) std::memmove(to, from, bytes);
  }
  void Zero(void* to, size_t bytes, Stream*) override {
    if (bytes > 0) std::memset(to, 0, bytes);
  }
  void Synchronize(Stream*) override {}

 private:
  static void Copy(void* to, const void* from, size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
};

}  // namespace

Device& HostDevice() {
  static Host* const host = new Host;
  return *host;
}

absl::StatusOr<Buffer> Buffer::Allocate(Device& device, size_t bytes) {
  Buffer out;
  out.data_ = device.Allocate(bytes);
  if (out.data_ == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", bytes, " bytes on device ", device.name(),
                     "; make the model, the batch or the context smaller"));
  }
  out.device_ = &device;
  out.bytes_ = bytes;
  return out;
}

Buffer::Buffer(Buffer&& other) noexcept {
  *this = std::move(other);
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Buffer::~Buffer() {
  if (data_ != nullptr) device_->Free(data_);
}

struct Arena::Block {
  Buffer memory;
  size_t used = 0;
  Block* next = nullptr;
};

Arena::~Arena() {
  while (blocks_ != nullptr) {
    Block* next = blocks_->next;
    delete blocks_;
    blocks_ = next;
  }
}

void* Arena::AllocateBytes(size_t bytes) {
  assert(bytes <= SIZE_MAX / 2);
  const size_t wanted = RoundUp(std::max<size_t>(bytes, 1));
  while (current_ != nullptr && current_->memory.bytes() - current_->used < wanted) {
    current_ = current_->next;
  }
  if (current_ == nullptr) {
    // As much again as there is: few blocks, whatever the size of the pass.
    const size_t size = std::max({wanted, kSmallestBlockBytes, reserved_});
    absl::StatusOr<Buffer> memory = Buffer::Allocate(*device_, size);
    if (!memory.ok()) {
      std::fprintf(stderr, "arena of %zu bytes cannot grow by %zu: %s\n", reserved_, size,
                   memory.status().ToString().c_str());
      std::abort();
    }
    blocks_ = new Block{*std::move(memory), 0, blocks_};
    current_ = blocks_;
    reserved_ += size;
  }
  void* out = current_->memory.as<char>() + current_->used;
  current_->used += wanted;
  return out;
}

void Arena::Reset() {
  for (Block* block = blocks_; block != nullptr; block = block->next) block->used = 0;
  current_ = blocks_;
}

}  // namespace hone
