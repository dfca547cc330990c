// SPDX-License-Identifier: Apache-2.0
//
// The weights of a Hugging Face directory, one file or shards, into a flat array.
#ifndef HONE_POLICY_CHECKPOINT_WEIGHTS_H_
#define HONE_POLICY_CHECKPOINT_WEIGHTS_H_

#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/checkpoint/config_json.h"
#include "policy/checkpoint/file_system.h"
#include "policy/checkpoint/safetensors.h"
#include "policy/model/parameters.h"

namespace hone {

// The tensors of a directory's weight files, by name.
class WeightFiles {
 public:
  // model.safetensors, or the shards that model.safetensors.index.json names. NOT_FOUND when there
  // is neither; DATA_LOSS when a shard is malformed or disagrees with the index.
  static absl::StatusOr<WeightFiles> Open(FileSystem& files, const std::string& directory);
  static absl::StatusOr<WeightFiles> OpenOne(FileSystem& files, const std::string& path);

  struct Place {
    const SafetensorsFile* file = nullptr;
    const SafetensorsTensor* tensor = nullptr;
  };
  // Null members when there is none of that name.
  Place Find(const std::string& name) const;
  const std::unordered_map<std::string, Place>& all() const { return places_; }

 private:
  absl::Status Add(SafetensorsFile file);

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::unordered_map<std::string, Place> places_;
};

struct LoadedWeights {
  std::vector<float> values;            // [registry.flat_elements()]
  bool bfloat16 = false;                // every tensor that may be is stored as BF16
  std::vector<std::string> not_loaded;  // sorted
};

// Every parameter of the registry, checked to be there and of its shape before anything is
// allocated. Experts may be apart or fused (experts.gate_up_proj [E, 2F, C] and experts.down_proj
// [E, C, F]). DATA_LOSS names what is absent, too many or of another shape.
absl::StatusOr<LoadedWeights> LoadWeights(const WeightFiles& files, const ConfigFile& config,
                                          const ParameterRegistry& registry);

// A file written by WriteFlat, its tensors named `prefix` + parameter; tensors of other prefixes
// are left alone.
absl::StatusOr<std::vector<float>> ReadFlat(const WeightFiles& files,
                                            const ParameterRegistry& registry,
                                            const std::string& prefix);

// The tensors of a flat array, named `prefix` + parameter. With `as_stored` each has its
// parameter's dtype, otherwise all are float32. `flat` must outlive the result.
std::vector<TensorToWrite> FlatTensors(const ParameterRegistry& registry, const float* flat,
                                       const std::string& prefix, bool as_stored);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_WEIGHTS_H_
