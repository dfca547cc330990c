// SPDX-License-Identifier: Apache-2.0
//
// Small host-made arrays of a pass (tokens, positions, tables), written side by side and sent to
// the device in one copy. Private to policy/model. Not thread-safe.
#ifndef HONE_POLICY_MODEL_STAGING_H_
#define HONE_POLICY_MODEL_STAGING_H_

#include <cassert>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "policy/tensor/device.h"
#include "policy/tensor/view.h"

namespace hone {

class Staging {
 public:
  explicit Staging(Device& device) : device_(&device) {}

  // Forgets the arrays before. The device side comes from `arena` and lives as long as its
  // memory; `bytes` bounds what Add will ask for, 64 bytes a call included.
  void Begin(Arena& arena, size_t bytes) {
    if (host_.size() < bytes) host_.resize(bytes);
    on_device_ = static_cast<char*>(arena.AllocateBytes(bytes));
    room_ = bytes;
    used_ = 0;
  }

  // An array of `count` elements. Write through the returned host pointer before Send; kernels
  // read *view after it.
  template <typename T>
  std::remove_const_t<T>* Add(int64_t count, View<T, 1>* view) {
    const size_t at = used_;
    used_ += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    assert(used_ <= room_);
    *view = {reinterpret_cast<T*>(on_device_ + at), {count}};
    return reinterpret_cast<std::remove_const_t<T>*>(host_.data() + at);
  }
  template <typename T>
  std::remove_const_t<T>* Add(int64_t rows, int64_t cols, View<T, 2>* view) {
    View<T, 1> flat;
    std::remove_const_t<T>* host = Add(rows * cols, &flat);
    *view = {flat.data, {rows, cols}};
    return host;
  }

  void Send() {
    if (used_ > 0) device_->CopyIn(on_device_, host_.data(), used_, nullptr);
  }

  // Enough for an array of Add.
  template <typename T>
  static size_t Room(int64_t count) {
    return static_cast<size_t>(count) * sizeof(T) + 64;
  }

 private:
  Device* device_;
  std::vector<char> host_;  // operator new aligns for every fundamental type; offsets are 64s
  char* on_device_ = nullptr;
  size_t room_ = 0;
  size_t used_ = 0;
};

}  // namespace hone

#endif  // HONE_POLICY_MODEL_STAGING_H_
