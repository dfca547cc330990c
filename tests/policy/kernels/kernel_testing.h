// SPDX-License-Identifier: Apache-2.0
//
// What the kernel tests share: tensors whose unread memory is NaN, random fills, comparisons and
// finite differences.
#ifndef HONE_TESTS_POLICY_KERNELS_KERNEL_TESTING_H_
#define HONE_TESTS_POLICY_KERNELS_KERNEL_TESTING_H_

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "policy/kernels/backend.h"
#include "policy/sampling/rng.h"
#include "policy/tensor/view.h"

namespace hone::kernels {

// Not round on purpose, and around vector widths.
inline const std::vector<int64_t>& OddSizes() {
  static const std::vector<int64_t> sizes = {1, 3, 63, 65, 126};
  return sizes;
}

inline KeyedRandom TestRandom(uint64_t seed) {
  SampleKey key;
  key.run_seed = seed;
  key.purpose = Purpose::kData;
  return KeyedRandom(key);
}

// A value that reads as poison: NaN for floats, huge for integers.
template <typename T>
T Poison() {
  if constexpr (std::numeric_limits<T>::has_quiet_NaN) {
    return std::numeric_limits<T>::quiet_NaN();
  } else {
    return std::numeric_limits<T>::max() / 2;
  }
}

// Rows with gaps between them and before and after, all gaps poisoned.
template <typename T, int N>
class Tensor {
 public:
  explicit Tensor(std::array<int64_t, N> shape, int64_t gap = 5) : shape_(shape) {
    int64_t step = 1;
    for (int axis = N - 1; axis >= 0; --axis) {
      stride_[axis] = step;
      step = step * shape[axis] + (axis > 0 ? gap : 0);
    }
    data_.assign(static_cast<size_t>(step + 2 * kGuard), Poison<T>());
  }

  View<T, N> view() { return {data_.data() + kGuard, shape_, stride_}; }
  View<const T, N> view() const { return {data_.data() + kGuard, shape_, stride_}; }
  T* row(int64_t i) { return data_.data() + kGuard + i * stride_[0]; }

  // The i-th element in row-major order of the shape.
  T& at(int64_t i) { return data_[static_cast<size_t>(Offset(i))]; }
  const T& at(int64_t i) const { return data_[static_cast<size_t>(Offset(i))]; }
  int64_t size() const {
    int64_t total = 1;
    for (int64_t extent : shape_) total *= extent;
    return total;
  }

  Tensor& Fill(T value) {
    for (int64_t i = 0; i < size(); ++i) at(i) = value;
    return *this;
  }
  // Normal values, rounded to float so that every type holds the same ones.
  Tensor& Random(uint64_t seed, double scale = 1.0) {
    KeyedRandom random = TestRandom(seed);
    for (int64_t i = 0; i < size(); ++i) {
      at(i) = static_cast<T>(static_cast<float>(random.Normal() * scale));
    }
    return *this;
  }
  std::vector<double> Values() const {
    std::vector<double> out;
    for (int64_t i = 0; i < size(); ++i) out.push_back(static_cast<double>(at(i)));
    return out;
  }
  // The gaps are as they were.
  bool GapsUntouched() const {
    std::vector<bool> inside(data_.size(), false);
    for (int64_t i = 0; i < size(); ++i) inside[static_cast<size_t>(Offset(i))] = true;
    const T poison = Poison<T>();
    for (size_t i = 0; i < data_.size(); ++i) {
      if (!inside[i] && std::memcmp(&data_[i], &poison, sizeof(T)) != 0) return false;
    }
    return true;
  }

 private:
  static constexpr int64_t kGuard = 19;
  int64_t Offset(int64_t i) const {
    int64_t offset = kGuard;
    for (int axis = N - 1; axis >= 0; --axis) {
      offset += (i % shape_[axis]) * stride_[axis];
      i /= shape_[axis];
    }
    return offset;
  }

  std::array<int64_t, N> shape_;
  std::array<int64_t, N> stride_{};
  std::vector<T> data_;
};

// sum_i weights[i] * values[i]: a scalar loss over a tensor.
template <typename T, int N>
double Against(const Tensor<T, N>& values, const Tensor<T, N>& weights) {
  double sum = 0;
  for (int64_t i = 0; i < values.size(); ++i) {
    sum += static_cast<double>(values.at(i)) * static_cast<double>(weights.at(i));
  }
  return sum;
}

// Central differences of `loss` in every element of x against `gradient`, relative to the
// largest gradient of the tensor.
template <int N>
void ExpectGradient(const std::string& what, Tensor<double, N>& x,
                    const std::vector<double>& gradient, const std::function<double()>& loss,
                    double tolerance = 1e-6) {
  ASSERT_EQ(static_cast<int64_t>(gradient.size()), x.size());
  double largest = 1e-3;
  for (double g : gradient) largest = std::max(largest, std::abs(g));
  double worst = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    const double saved = x.at(i), h = 3e-5 * std::max(1.0, std::abs(saved));
    x.at(i) = saved + h;
    const double above = loss();
    x.at(i) = saved - h;
    const double below = loss();
    x.at(i) = saved;
    const double error =
        std::abs((above - below) / (2 * h) - gradient[static_cast<size_t>(i)]) / largest;
    worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
  }
  EXPECT_LT(worst, tolerance) << what;
}

}  // namespace hone::kernels

#endif  // HONE_TESTS_POLICY_KERNELS_KERNEL_TESTING_H_
