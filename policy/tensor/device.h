// SPDX-License-Identifier: Apache-2.0
//
// Where bytes live. Model code allocates, copies and launches kernels; it never dereferences a
// device pointer. The fake device of the tests keeps every buffer PROT_NONE outside kernels and
// copies, so that a stray read stops the program.
#ifndef HONE_POLICY_TENSOR_DEVICE_H_
#define HONE_POLICY_TENSOR_DEVICE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"

namespace hone {

// An ordered queue of device work. Host devices run everything at once and ignore it.
struct Stream;

class Device {
 public:
  virtual ~Device() = default;

  virtual const char* name() const = 0;

  // `bytes` of 64-byte aligned memory, contents unspecified; nullptr when there is no memory.
  // Thread-safe, like everything here.
  virtual void* Allocate(size_t bytes) = 0;
  virtual void Free(void* pointer) = 0;

  virtual void CopyIn(void* device_to, const void* host_from, size_t bytes, Stream* stream) = 0;
  // Returns when the bytes have arrived.
  virtual void CopyOut(void* host_to, const void* device_from, size_t bytes, Stream* stream) = 0;
  virtual void CopyWithin(void* to, const void* from, size_t bytes, Stream* stream) = 0;
  virtual void Zero(void* device_to, size_t bytes, Stream* stream) = 0;
  virtual void Synchronize(Stream* stream) = 0;
};

// The machine's own memory.
Device& HostDevice();

// Owns device memory. Movable, not copyable.
class Buffer {
 public:
  Buffer() = default;
  // RESOURCE_EXHAUSTED with the figures when there is no memory.
  static absl::StatusOr<Buffer> Allocate(Device& device, size_t bytes);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device* device() const { return device_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// A bump allocator over one growing set of device blocks: what a pass needs, freed all at once.
// Not thread-safe; each worker has its own. Allocations are 64-byte aligned.
class Arena {
 public:
  explicit Arena(Device& device) : device_(&device) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Dies on out of memory (with the figures): callers bound their sizes first.
  void* AllocateBytes(size_t bytes);
  template <typename T>
  T* Allocate(int64_t count) {
    return static_cast<T*>(AllocateBytes(static_cast<size_t>(count) * sizeof(T)));
  }
  // Everything allocated becomes invalid; the memory is kept for the next pass.
  void Reset();
  size_t bytes_reserved() const { return reserved_; }

 private:
  struct Block;
  Device* device_;
  Block* blocks_ = nullptr;  // singly linked, newest first
  Block* current_ = nullptr;
  size_t reserved_ = 0;
};

}  // namespace hone

#endif  // HONE_POLICY_TENSOR_DEVICE_H_
