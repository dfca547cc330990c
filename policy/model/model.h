// SPDX-License-Identifier: Apache-2.0
//
// A transformer's weights and what kernels read of them. Real is float; double exists so that
// finite differences can check the very code that trains.
#ifndef HONE_POLICY_MODEL_MODEL_H_
#define HONE_POLICY_MODEL_MODEL_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/kernels/kernel_table.h"
#include "policy/model/adaptation.h"
#include "policy/model/config.h"
#include "policy/model/parameters.h"
#include "policy/tensor/device.h"

namespace hone {

struct ModelOptions {
  DType dtype = DType::kFloat32;
  bool trainable = true;  // also keeps the transposed packs that backward reads
  // false: a model to generate and score with. Load fills it, and a matrix that is packed is kept
  // packed alone: of values() only what kernels read flat (embedding, gains, correction bias) has
  // memory. REQUIRES: not trainable; values are not set, got, initialised or repacked.
  bool keep_values = true;
  AdaptationOptions adaptation = {};  // with adapters values are kept
};

// What a model holds, in bytes.
struct ModelBytes {
  int64_t values = 0;  // flat; without keep_values: of what kernels read flat
  int64_t packed = 0;
  int64_t rope = 0;
  int64_t total() const { return values + packed + rope; }
};

template <typename Real>
struct ModelLayout;  // packed weights, rope table: layout.h

// Thread-safe for any number of readers (passes, engines). Whoever changes values() and calls
// Repack must be alone.
template <typename Real>
class Model {
 public:
  // Values start as zero: fill them through SetValues, InitializeValues or values().
  // INVALID_ARGUMENT for an adaptation that does not fit, RESOURCE_EXHAUSTED with the figures when
  // memory does not suffice.
  static absl::StatusOr<std::unique_ptr<Model>> Create(const ModelConfig& config,
                                                       const kernels::KernelTable<Real>& table,
                                                       Device& device, const ModelOptions& options);
  // What Create would take, without taking it. REQUIRES: config is valid.
  static ModelBytes Measure(const ModelConfig& config, const kernels::KernelTable<Real>& table,
                            const ModelOptions& options);
  ~Model();

  const ModelConfig& config() const { return config_; }
  const ParameterRegistry& registry() const { return registry_; }
  const kernels::KernelTable<Real>& table() const { return *table_; }
  Device& device() const { return *device_; }
  const ModelOptions& options() const { return options_; }

  // Device pointer, [registry().flat_elements()]. After writing, call Repack.
  Real* values() const { return values_.template as<Real>(); }
  void Repack();

  // Host arrays of registry().flat_elements(); SetValues repacks.
  void SetValues(const Real* host);
  void GetValues(Real* host) const;

  // Asks for every value once, parameters in registry order, each front to back in pieces of a
  // megabyte or so, and packs. After an error the values are unspecified.
  absl::Status Load(const ReadParameter& read);

  // Normal(0, initializer_range) for matrices, one for norm gains, zero for biases,
  // keyed by (seed, Purpose::kInit, parameter index): the same values on every machine.
  // Adapters' A: uniform in +-1/sqrt(in); their B: zero, so that they change nothing yet.
  void InitializeValues(uint64_t seed);

  const ModelLayout<Real>& layout() const { return *layout_; }

 private:
  Model() = default;
  absl::Status LoadParameter(const ReadParameter& read, const ParameterInfo& info,
                             const std::vector<const kernels::PackArgs<Real>*>& packs,
                             std::vector<float>* piece);
  void PackMerged();
  ModelConfig config_;
  ModelOptions options_;
  ParameterRegistry registry_;
  const kernels::KernelTable<Real>* table_ = nullptr;
  Device* device_ = nullptr;
  Buffer values_;
  std::unique_ptr<ModelLayout<Real>> layout_;
};

}  // namespace hone

#endif  // HONE_POLICY_MODEL_MODEL_H_
