// SPDX-License-Identifier: Apache-2.0
#include "policy/model/merged_values.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "policy/kernels/backend.h"

namespace hone {
namespace {

// Adds scale B A to elements [first, first + count) of a matrix.
absl::Status Merge(const ReadParameter& raw, const ParameterInfo& a, const ParameterInfo& b,
                   float scale, int64_t first, int64_t count, float* values) {
  const int64_t rank = a.shape[0], in = a.shape[1];
  const int64_t begin = first / in, end = (first + count + in - 1) / in;  // rows
  std::vector<float> a_values(static_cast<size_t>(a.elements));
  std::vector<float> b_values(static_cast<size_t>((end - begin) * rank));
  absl::Status status = raw(a, 0, a.elements, a_values.data());
  if (status.ok()) status = raw(b, begin * rank, (end - begin) * rank, b_values.data());
  if (!status.ok()) return status;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t from = std::max(first, row * in), to = std::min(first + count, (row + 1) * in);
    const View<float, 2> y(values + (from - first), {1, to - from});
    kernels::MergeArgs<float> args;
    args.w = y;
    args.a = {a_values.data() + (from - row * in), {rank, to - from}, {in, 1}};
    args.b = {b_values.data() + (row - begin) * rank, {1, rank}};
    args.scale = scale;
    args.y = y;
    kernels::ReferenceTable().merge(nullptr, args);
  }
  return absl::OkStatus();
}

}  // namespace

ReadParameter MergedValues(std::shared_ptr<const ParameterRegistry> adapted, ReadParameter raw) {
  const double scale = adapted->adaptation().lora.Scale();
  if (scale == 0) return raw;
  return [adapted = std::move(adapted), raw = std::move(raw), scale = static_cast<float>(scale)](
             const ParameterInfo& info, int64_t first, int64_t count, float* to) {
    absl::Status status = raw(info, first, count, to);
    const ParameterInfo* a = adapted->Find(LoraName(info.name, 'A'));
    if (!status.ok() || a == nullptr) return status;
    const ParameterInfo* b = adapted->Find(LoraName(info.name, 'B'));
    return Merge(raw, *a, *b, scale, first, count, to);
  };
}

}  // namespace hone
