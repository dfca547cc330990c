// SPDX-License-Identifier: Apache-2.0
//
// The one list of a model's parameters. Optimizer, checkpoint, hash, weight sync and `info` all
// walk it; nobody keeps a second one.
//
// Every parameter lives in one flat array in registry order, at `offset` elements. The experts of
// a layer lie side by side (all gate_proj, then all up_proj, then all down_proj), so that a
// layer's experts are one [E, out, in] block of that array too. What is frozen lies behind all the
// rest, so that gradients and optimizer state are arrays of the first trainable_elements() alone.
#ifndef HONE_POLICY_MODEL_PARAMETERS_H_
#define HONE_POLICY_MODEL_PARAMETERS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/hash.h"
#include "policy/model/adaptation.h"
#include "policy/model/config.h"

namespace hone {

enum class DType : uint8_t { kFloat32 = 0, kBFloat16 = 1 };

enum class ParameterGroup : uint8_t { kBase = 0, kRouter = 1, kLora = 2, kMtp = 3 };

// Which part of the global tensor this rank holds. A world of one holds all of it.
struct Shard {
  int32_t axis = -1;  // -1: not sharded
  int32_t index = 0;
  int32_t count = 1;
};

struct ParameterInfo {
  std::string name;            // as in published checkpoints: "model.layers.0.self_attn..."
  std::vector<int64_t> shape;  // global
  Shard shard;
  DType dtype = DType::kFloat32;  // as stored in checkpoints and seen by kernels
  ParameterGroup group = ParameterGroup::kBase;
  bool trainable = true;  // false: no gradient, no optimizer state (the correction bias)
  bool frozen = false;    // not trainable because the options say so; its place is at the back
  bool decay = true;      // weight decay applies (not to norm gains and biases)
  int64_t offset = 0;     // elements into the flat array; a multiple of 16
  int64_t elements = 0;
};

// Elements [first, first + count) of a parameter, into host memory.
using ReadParameter =
    std::function<absl::Status(const ParameterInfo& info, int64_t first, int64_t count, float* to)>;

class ParameterRegistry {
 public:
  // The parameters of a configuration, in a fixed order. REQUIRES: config.Validate() is ok, and
  // CheckAdaptation of it.
  static ParameterRegistry Of(const ModelConfig& config, DType dtype,
                              const AdaptationOptions& adaptation = {});

  const std::vector<ParameterInfo>& all() const { return all_; }
  // nullptr when there is none of that name.
  const ParameterInfo* Find(absl::string_view name) const;
  // Elements of the flat array, padding between parameters included (padding stays zero).
  int64_t flat_elements() const { return flat_elements_; }
  // Where frozen parameters begin: the length of gradients and optimizer state.
  int64_t trainable_elements() const { return trainable_elements_; }
  // Sum of the parameters' own elements.
  int64_t parameters() const { return parameters_; }
  const AdaptationOptions& adaptation() const { return adaptation_; }

 private:
  void Place(ParameterInfo* info);
  AdaptationOptions adaptation_;
  std::vector<ParameterInfo> all_;
  absl::flat_hash_map<std::string, size_t> index_;
  int64_t flat_elements_ = 0;
  int64_t trainable_elements_ = 0;
  int64_t parameters_ = 0;
};

// Asks an array in host memory of the registry's layout, by name; null for an empty one. Both must
// outlive the result.
ReadParameter FlatReader(const std::vector<float>& flat, const ParameterRegistry& registry);

// A module that predicts further ahead is no part of the policy that the hash is of: the same
// weights have the same hash whether it is loaded or not.
inline bool InWeightsHash(const ParameterInfo& info) {
  return info.group != ParameterGroup::kMtp;
}

// SHA-256 over names, shapes and values (float, little-endian) in registry order: the weights
// alone, whatever file or process they are in. Fed parameter by parameter, each front to back.
class WeightsHasher {
 public:
  explicit WeightsHasher(const ParameterRegistry& registry);
  void Begin(const ParameterInfo& info);
  void Values(const float* values, int64_t count) {
    hash_.Update(values, static_cast<size_t>(count) * sizeof(float));
  }
  std::string FinishHex() { return hash_.FinishHex(); }

 private:
  Sha256 hash_;
};

// `tensors`, if given: the fingerprint of every parameter that the hash is of, in registry order.
absl::StatusOr<std::string> HashParameters(const ParameterRegistry& registry,
                                           const ReadParameter& read,
                                           std::vector<uint64_t>* tensors = nullptr);
// The same of a flat array in host memory.
std::string WeightsHash(const ParameterRegistry& registry, const float* flat);

}  // namespace hone

#endif  // HONE_POLICY_MODEL_PARAMETERS_H_
