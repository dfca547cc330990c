// SPDX-License-Identifier: Apache-2.0
//
// The weights of a Hugging Face directory, one file or shards: found, checked, and read a piece at
// a time straight from the mapped files.
#ifndef HONE_POLICY_CHECKPOINT_WEIGHTS_H_
#define HONE_POLICY_CHECKPOINT_WEIGHTS_H_

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/checkpoint/config_json.h"
#include "policy/checkpoint/file_system.h"
#include "policy/checkpoint/float8.h"
#include "policy/checkpoint/manifest.h"
#include "policy/checkpoint/safetensors.h"
#include "policy/model/parameters.h"

namespace hone {

inline constexpr absl::string_view kWeightsName = "model.safetensors";
inline constexpr absl::string_view kIndexName = "model.safetensors.index.json";

// DATA_LOSS when DIRECTORY/NAME is a symlink that leads out of the directory (or, in a cache of
// Hugging Face libraries, where DIRECTORY is REPOSITORY/snapshots/X, out of REPOSITORY/blobs).
absl::Status CheckStaysInside(FileSystem& files, const std::string& directory,
                              const std::string& name);

// The text of a model.safetensors.index.json.
struct WeightIndex {
  std::map<std::string, std::string> shard_of;  // by tensor; plain file names
  int64_t stated_bytes = -1;                    // total_size; -1: it does not say
};
// DATA_LOSS, beginning with `what`: not such a file, a shard that is no plain name of the directory
// (a path, a hidden file), more than 10,000 shards.
absl::StatusOr<WeightIndex> ParseWeightIndex(absl::string_view text, absl::string_view what);

// The tensors of a directory's weight files, by name.
class WeightFiles {
 public:
  // model.safetensors, or the shards that model.safetensors.index.json names: whichever `manifest`
  // lists, or is there when manifest is null. NOT_FOUND when there is neither; DATA_LOSS when a
  // shard is malformed or disagrees with the index.
  static absl::StatusOr<WeightFiles> Open(FileSystem& files, const std::string& directory,
                                          const CheckpointManifest* manifest);
  static absl::StatusOr<WeightFiles> OpenOne(FileSystem& files, const std::string& path);

  struct Place {
    const SafetensorsFile* file = nullptr;
    const SafetensorsTensor* tensor = nullptr;
  };
  // Null members when there is none of that name.
  Place Find(const std::string& name) const;
  const std::unordered_map<std::string, Place>& all() const { return places_; }
  // In the order of their names.
  const std::vector<std::unique_ptr<SafetensorsFile>>& shards() const { return files_; }
  // What the index says all tensors take; -1: it does not say, or there is none.
  int64_t stated_bytes() const { return stated_bytes_; }
  int64_t tensor_bytes() const;

 private:
  absl::Status Add(SafetensorsFile file);
  absl::Status AddShards(FileSystem& files, const std::string& directory,
                         const std::map<std::string, std::string>& shard_of);

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::unordered_map<std::string, Place> places_;
  int64_t stated_bytes_ = -1;
};

// A tensor that belongs to the model and that Hone does not compute with (a layer that predicts
// tokens further ahead): kept as it is from load to save. Its file stays open.
struct CarriedTensor {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::kFloat32;
  ReadElements read;
};

// What published files hold twice: the module's own copies, and what they are copies of. None
// without a module.
std::vector<std::pair<std::string, std::string>> MtpCopies(const ModelConfig& config);

// Where every parameter of a model lies in weight files. Thread-safe.
class ModelWeights {
 public:
  // Every parameter is checked to be there and of its shape; no value is read. Experts may be apart
  // or fused (experts.gate_up_proj [E, 2F, C] and experts.down_proj [E, C, F]); a matrix in fp8 and
  // its scales may lie in different files. DATA_LOSS names what is absent, too many or of another
  // shape; UNIMPLEMENTED a number format.
  // With config.config.mtp_layers a module that predicts further ahead is one of the parameters;
  // its copies of embedding and head are left out.
  static absl::StatusOr<ModelWeights> Resolve(std::shared_ptr<const WeightFiles> files,
                                              const ConfigFile& config,
                                              const BlockQuantization& quantization);

  // bfloat16 when every tensor that may be is stored as BF16 or F8_E4M3, else float32.
  const ParameterRegistry& registry() const { return registry_; }
  DType dtype() const { return dtype_; }
  // Sorted names: rotary tables, the copy of a tied head.
  const std::vector<std::string>& not_loaded() const { return not_loaded_; }
  // Sorted by name.
  const std::vector<CarriedTensor>& carried() const { return carried_; }
  bool any_float8() const { return any_float8_; }
  const WeightFiles& files() const { return *files_; }

  // Of registry(). Values of fp8 are e4m3 times scale in float, rounded to bfloat16 where the
  // model is.
  absl::Status Read(const ParameterInfo& info, int64_t first, int64_t count, float* to) const;

 private:
  struct Source {
    WeightFiles::Place place;
    int64_t first = 0;         // elements into the tensor
    WeightFiles::Place scale;  // of F8_E4M3
  };
  static absl::StatusOr<Source> Find(const WeightFiles& files, const ConfigFile& config,
                                     const ParameterInfo& info, std::string* name);
  absl::Status FindScale(const std::string& name, const BlockQuantization& quantization,
                         Source* source);
  absl::Status SortOut(const ConfigFile& config, const BlockQuantization& quantization,
                       const std::vector<std::string>& used);
  static absl::Status ReadSource(const Source& source, const BlockQuantization& quantization,
                                 int64_t first, int64_t count, DType dtype, float* to);

  std::shared_ptr<const WeightFiles> files_;
  BlockQuantization quantization_;
  ParameterRegistry registry_;
  DType dtype_ = DType::kBFloat16;
  bool any_float8_ = false;
  std::vector<Source> sources_;  // of registry().all()
  std::vector<std::string> not_loaded_;
  std::vector<CarriedTensor> carried_;
};

// The parameters of a file that WritePolicyState made, its tensors named `prefix` + parameter;
// other prefixes are left alone. DATA_LOSS as above.
absl::StatusOr<ReadParameter> ReadPrefixed(std::shared_ptr<const WeightFiles> files,
                                           absl::Span<const ParameterInfo> parameters,
                                           const std::string& prefix);

// The tensors of a flat array, named `prefix` + parameter. With `as_stored` each has its
// parameter's dtype, otherwise all are float32. `flat` must outlive the result.
std::vector<TensorToWrite> FlatTensors(const ParameterRegistry& registry, const float* flat,
                                       const std::string& prefix, bool as_stored);
// The same, asked for piece by piece; `parameters` must outlive the result too.
std::vector<TensorToWrite> StreamedTensors(absl::Span<const ParameterInfo> parameters,
                                           const ReadParameter& read, const std::string& prefix,
                                           bool as_stored);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_WEIGHTS_H_
