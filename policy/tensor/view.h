// SPDX-License-Identifier: Apache-2.0
//
// Views: a pointer, a shape and strides. They never own; the pointer may be a device's and is
// dereferenced by kernels alone.
#ifndef HONE_POLICY_TENSOR_VIEW_H_
#define HONE_POLICY_TENSOR_VIEW_H_

#include <array>
#include <cstdint>

namespace hone {

template <typename T, int N>
struct View {
  T* data = nullptr;
  std::array<int64_t, N> shape{};
  std::array<int64_t, N> stride{};  // in elements; the last axis is contiguous (stride 1)

  View() = default;
  // Contiguous.
  View(T* pointer, std::array<int64_t, N> extents) : data(pointer), shape(extents) {
    int64_t step = 1;
    for (int axis = N - 1; axis >= 0; --axis) {
      stride[axis] = step;
      step *= shape[axis];
    }
  }
  View(T* pointer, std::array<int64_t, N> extents, std::array<int64_t, N> strides)
      : data(pointer), shape(extents), stride(strides) {}

  // A view of T as a view of const T.
  operator View<const T, N>() const { return {data, shape, stride}; }  // NOLINT: widening is safe

  explicit operator bool() const { return data != nullptr; }
  int64_t size() const {
    int64_t total = 1;
    for (int64_t extent : shape) total *= extent;
    return total;
  }
  bool contiguous() const {
    int64_t step = 1;
    for (int axis = N - 1; axis >= 0; --axis) {
      if (shape[axis] != 1 && stride[axis] != step) return false;
      step *= shape[axis];
    }
    return true;
  }

  // Rows [first, first + count) of the first axis.
  View Rows(int64_t first, int64_t count) const {
    View out = *this;
    out.data += first * stride[0];
    out.shape[0] = count;
    return out;
  }
  // Columns [first, first + count) of the last axis.
  View Columns(int64_t first, int64_t count) const {
    View out = *this;
    out.data += first;
    out.shape[N - 1] = count;
    return out;
  }
  // [M, H, X] seen at one h of the middle axis: [M, X].
  View<T, 2> Middle(int64_t h) const requires(N == 3) {
    return {data + h * stride[1], {shape[0], shape[2]}, {stride[0], 1}};
  }
};

}  // namespace hone

#endif  // HONE_POLICY_TENSOR_VIEW_H_
