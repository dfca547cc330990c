// SPDX-License-Identifier: Apache-2.0
#include "policy/model/model.h"

#include <cassert>
#include <utility>
#include <vector>

#include "policy/model/initial_values.h"
#include "policy/model/layout.h"
#include "policy/model/rope_table.h"

namespace hone {
template <typename Real>
absl::StatusOr<std::unique_ptr<Model<Real>>> Model<Real>::Create(
    const ModelConfig& config, const kernels::KernelTable<Real>& table, Device& device,
    const ModelOptions& options) {
  absl::Status status = config.Validate();
  if (status.ok()) status = CheckAdaptation(config, options.adaptation);
  if (!status.ok()) return status;
  assert(options.keep_values || (!options.trainable && options.adaptation.lora.r == 0));
  std::unique_ptr<Model> model(new Model());
  model->config_ = config;
  model->options_ = options;
  model->registry_ = ParameterRegistry::Of(config, options.dtype, options.adaptation);
  model->table_ = &table;
  model->device_ = &device;
  const auto allocate = [&](int64_t elements, Buffer* buffer) {
    absl::StatusOr<Buffer> made =
        Buffer::Allocate(device, static_cast<size_t>(elements) * sizeof(Real));
    if (made.ok()) *buffer = *std::move(made);
    return made.status();
  };
  status = allocate(model->registry_.flat_elements(), &model->values_);
  if (!status.ok()) return status;
  if (options.keep_values) device.Zero(model->values_.data(), model->values_.bytes(), nullptr);

  model->layout_ = std::make_unique<ModelLayout<Real>>();
  ModelLayout<Real>& layout = *model->layout_;
  status = allocate(1, &layout.zero);  // more than an int32_t
  if (!status.ok()) return status;
  device.Zero(layout.zero.data(), layout.zero.bytes(), nullptr);
  LayoutMemory<Real> memory;
  memory.values = model->values();
  const LayoutSizes sizes =
      BuildLayout(config, model->registry_, table, options.trainable, memory, &layout);
  status = allocate(sizes.packed, &layout.packed);
  if (status.ok() && sizes.merge_scratch > 0) {
    status = allocate(sizes.merge_scratch, &layout.merge_scratch);
  }
  const std::vector<Real> rope = RopeTable<Real>(config);
  if (status.ok()) status = allocate(static_cast<int64_t>(rope.size()), &layout.rope_table);
  if (!status.ok()) return status;
  memory.packed = layout.packed.template as<Real>();
  memory.merge_scratch = layout.merge_scratch.template as<Real>();
  memory.zero = layout.zero.template as<int32_t>();
  BuildLayout(config, model->registry_, table, options.trainable, memory, &layout);

  device.CopyIn(layout.rope_table.data(), rope.data(), rope.size() * sizeof(Real), nullptr);
  layout.rope = {layout.rope_table.template as<Real>(),
                 {config.max_position_embeddings, config.RopeWidth() / 2, 2}};
  if (options.keep_values) model->Repack();
  return model;
}

template <typename Real>
ModelBytes Model<Real>::Measure(const ModelConfig& config, const kernels::KernelTable<Real>& table,
                                const ModelOptions& options) {
  const ParameterRegistry registry =
      ParameterRegistry::Of(config, options.dtype, options.adaptation);
  ModelLayout<Real> layout;
  const Real anchor = 0;  // where values would begin; nothing is read
  LayoutMemory<Real> memory;
  memory.values = &anchor;
  const LayoutSizes sizes =
      BuildLayout(config, registry, table, options.trainable, memory, &layout);
  int64_t values = 0;
  for (const ParameterInfo& info : registry.all()) {
    const bool flat = info.shape.size() == 1 || info.offset == layout.embedding_offset;
    if (flat) values += info.elements;
  }
  if (options.keep_values) values = registry.flat_elements();
  const int64_t angles = int64_t{config.max_position_embeddings} * config.RopeWidth();
  const int64_t size = sizeof(Real);
  return {values * size, (sizes.packed + sizes.merge_scratch) * size, angles * size};
}

template <typename Real>
Model<Real>::~Model() = default;

template <typename Real>
void Model<Real>::Repack() {
  for (const kernels::PackArgs<Real>& pack : layout_->packs) table_->pack(nullptr, pack);
  PackMerged();
}

template <typename Real>
void Model<Real>::PackMerged() {
  for (const MergedMatrix<Real>& matrix : layout_->merged) {
    table_->merge(nullptr, matrix.merge);
    for (const kernels::PackArgs<Real>& pack : matrix.packs) table_->pack(nullptr, pack);
  }
}

template <typename Real>
void Model<Real>::SetValues(const Real* host) {
  device_->CopyIn(values(), host, static_cast<size_t>(registry_.flat_elements()) * sizeof(Real),
                  nullptr);
  Repack();
}

template <typename Real>
void Model<Real>::GetValues(Real* host) const {
  device_->CopyOut(host, values(), static_cast<size_t>(registry_.flat_elements()) * sizeof(Real),
                   nullptr);
}

template <typename Real>
void Model<Real>::InitializeValues(uint64_t seed) {
  const absl::Status status = Load(InitialValues(registry_, config_.initializer_range, seed));
  assert(status.ok());
}

template class Model<float>;
template class Model<double>;

}  // namespace hone
