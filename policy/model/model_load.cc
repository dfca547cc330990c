// SPDX-License-Identifier: Apache-2.0
//
// Values into a model, a piece at a time.
#include <algorithm>
#include <cassert>
#include <map>

#include "policy/model/layout.h"
#include "policy/model/model.h"
#include "policy/tensor/host_memory.h"

namespace hone {
namespace {

constexpr int64_t kPieceElements = int64_t{1} << 18;
// A multiple of every backend's panel, so that the rows of a piece can be packed on their own.
constexpr int64_t kPieceRows = 64;

// Whether rows [0, at) and [at, out) packed one behind the other are the whole matrix packed.
template <typename Real>
bool PacksInPieces(const kernels::KernelTable<Real>& table, const ParameterInfo& info,
                   const std::vector<const kernels::PackArgs<Real>*>& packs) {
  if (packs.size() != 1 || info.shape.size() != 2) return false;
  const kernels::PackArgs<Real>& pack = *packs[0];
  return pack.col_stride == 1 && pack.row_stride == info.shape[1] && pack.out == info.shape[0] &&
         pack.out > kPieceRows &&
         table.packed_size(kPieceRows, pack.in) +
                 table.packed_size(pack.out - kPieceRows, pack.in) ==
             table.packed_size(pack.out, pack.in);
}

void CopyIn(Device& device, const float* from, int64_t count, float* to) {
  device.CopyIn(to, from, static_cast<size_t>(count) * sizeof(float), nullptr);
}
void CopyIn(Device& device, const float* from, int64_t count, double* to) {
  const std::vector<double> wide(from, from + count);
  device.CopyIn(to, wide.data(), static_cast<size_t>(count) * sizeof(double), nullptr);
}

}  // namespace

template <typename Real>
absl::Status Model<Real>::LoadParameter(const ReadParameter& read, const ParameterInfo& info,
                                        const std::vector<const kernels::PackArgs<Real>*>& packs,
                                        std::vector<float>* piece) {
  const bool in_pieces = PacksInPieces(*table_, info, packs);
  const int64_t width = in_pieces ? info.shape[1] : 1;
  const int64_t step =
      in_pieces ? std::max<int64_t>(1, kPieceElements / (width * kPieceRows)) * kPieceRows * width
                : kPieceElements;
  const bool flat = packs.empty() || info.offset == layout_->embedding_offset;
  const bool let_go = !options_.keep_values && !flat;
  piece->resize(static_cast<size_t>(std::min(step, info.elements)));
  for (int64_t first = 0; first < info.elements; first += step) {
    const int64_t count = std::min(step, info.elements - first);
    if (absl::Status status = read(info, first, count, piece->data()); !status.ok()) return status;
    Real* to = values() + info.offset + first;
    CopyIn(*device_, piece->data(), count, to);
    if (!in_pieces) continue;
    kernels::PackArgs<Real> rows = *packs[0];
    rows.source += first;
    rows.out = count / width;
    if (first > 0) rows.packed += table_->packed_size(first / width, rows.in);
    table_->pack(nullptr, rows);
    if (let_go) DiscardMemory(*device_, to, static_cast<size_t>(count) * sizeof(Real));
  }
  if (in_pieces) return absl::OkStatus();
  for (const kernels::PackArgs<Real>* pack : packs) table_->pack(nullptr, *pack);
  if (let_go) {
    DiscardMemory(*device_, values() + info.offset,
                  static_cast<size_t>(info.elements) * sizeof(Real));
  }
  return absl::OkStatus();
}

template <typename Real>
absl::Status Model<Real>::Load(const ReadParameter& read) {
  // By where they read: a parameter's packs lie between its offset and the next one's.
  std::multimap<const Real*, const kernels::PackArgs<Real>*> by_source;
  for (const kernels::PackArgs<Real>& pack : layout_->packs) by_source.emplace(pack.source, &pack);
  std::vector<float> piece;
  for (const ParameterInfo& info : registry_.all()) {
    std::vector<const kernels::PackArgs<Real>*> packs;
    const Real* begin = values() + info.offset;
    for (auto at = by_source.lower_bound(begin);
         at != by_source.end() && at->first < begin + info.elements; ++at) {
      packs.push_back(at->second);
    }
    if (absl::Status status = LoadParameter(read, info, packs, &piece); !status.ok()) return status;
  }
  PackMerged();
  return absl::OkStatus();
}

template absl::Status Model<float>::Load(const ReadParameter&);
template absl::Status Model<double>::Load(const ReadParameter&);

}  // namespace hone
