// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/convert.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/checkpoint_files.h"
#include "policy/checkpoint/config_json.h"
#include "policy/checkpoint/float8.h"
#include "policy/checkpoint/half.h"
#include "policy/checkpoint/json_text.h"

namespace hone {
namespace {

constexpr int64_t kBlock = 128;
constexpr int64_t kPieceElements = int64_t{1} << 18;

// One row of blocks of a matrix at a time: values and their scales.
class BlockRows {
 public:
  BlockRows(int64_t rows, int64_t columns, ReadElements read)
      : rows_(rows), columns_(columns), read_(std::move(read)) {}

  absl::Status Scales(int64_t first, int64_t count, float* to) {
    const int64_t blocks = (columns_ + kBlock - 1) / kBlock;
    for (int64_t i = 0; i < count; ++i) {
      absl::Status status = Go((first + i) / blocks);
      if (!status.ok()) return status;
      to[i] = scales_[static_cast<size_t>((first + i) % blocks)];
    }
    return absl::OkStatus();
  }
  absl::Status Scaled(int64_t first, int64_t count, float* to) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = (first + i) / columns_, column = (first + i) % columns_;
      absl::Status status = Go(row / kBlock);
      if (!status.ok()) return status;
      to[i] = values_[static_cast<size_t>(first + i - at_ * kBlock * columns_)] /
              scales_[static_cast<size_t>(column / kBlock)];
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Go(int64_t block_row) {
    if (block_row == at_) return absl::OkStatus();
    at_ = block_row;
    const int64_t rows = std::min(kBlock, rows_ - block_row * kBlock);
    values_.resize(static_cast<size_t>(rows * columns_));
    absl::Status status = read_(block_row * kBlock * columns_, rows * columns_, values_.data());
    if (!status.ok()) return status;
    scales_.assign(static_cast<size_t>((columns_ + kBlock - 1) / kBlock), 0.0f);
    for (int64_t i = 0; i < rows * columns_; ++i) {
      float& largest = scales_[static_cast<size_t>(i % columns_ / kBlock)];
      largest = std::max(largest, std::abs(values_[static_cast<size_t>(i)]));
    }
    for (float& scale : scales_) scale = scale > 0 ? scale / kLargestFloat8 : 1.0f;
    return absl::OkStatus();
  }

  const int64_t rows_, columns_;
  const ReadElements read_;
  int64_t at_ = -1;
  std::vector<float> values_, scales_;
};

// What published fp8 checkpoints quantise.
bool IsQuantised(const TensorToWrite& tensor) {
  return tensor.shape.size() == 2 && !absl::EndsWith(tensor.name, ".eh_proj.weight") &&
         (absl::EndsWith(tensor.name, "_proj.weight") ||
          absl::EndsWith(tensor.name, ".kv_a_proj_with_mqa.weight"));
}

std::vector<TensorToWrite> Quantised(std::vector<TensorToWrite> tensors) {
  std::vector<TensorToWrite> out;
  for (TensorToWrite& tensor : tensors) {
    if (IsQuantised(tensor)) {
      const auto blocks = [](int64_t extent) { return (extent + kBlock - 1) / kBlock; };
      // Two readers: a file's scales are written before its matrices.
      const auto rows = [&] {
        return std::make_shared<BlockRows>(tensor.shape[0], tensor.shape[1], tensor.read);
      };
      TensorToWrite scale;
      scale.name = absl::StrCat(tensor.name, kScaleSuffix);
      scale.shape = {blocks(tensor.shape[0]), blocks(tensor.shape[1])};
      scale.read = [from = rows()](int64_t first, int64_t count, float* to) {
        return from->Scales(first, count, to);
      };
      out.push_back(std::move(scale));
      tensor.read = [from = rows()](int64_t first, int64_t count, float* to) {
        return from->Scaled(first, count, to);
      };
      tensor.float8 = true;
    }
    out.push_back(std::move(tensor));
  }
  return out;
}

// All gate and up, or all down projections of a layer's experts as one tensor.
struct FusedExperts {
  std::vector<TensorToWrite> parts;  // per expert: gate, up; or down
  int64_t elements = 0;              // of a part

  absl::Status Read(int64_t first, int64_t count, float* to) const {
    while (count > 0) {
      const int64_t at = first % elements, run = std::min(count, elements - at);
      absl::Status status = parts[static_cast<size_t>(first / elements)].read(at, run, to);
      if (!status.ok()) return status;
      first += run;
      count -= run;
      to += run;
    }
    return absl::OkStatus();
  }
};

std::vector<TensorToWrite> Fused(std::vector<TensorToWrite> tensors) {
  constexpr absl::string_view kMark = ".mlp.experts.";
  std::map<std::string, std::map<int64_t, TensorToWrite>> groups;  // by fused name, then place
  std::vector<TensorToWrite> out;
  for (TensorToWrite& tensor : tensors) {
    const size_t mark = tensor.name.find(kMark.data(), 0, kMark.size());
    if (mark == std::string::npos) {
      out.push_back(std::move(tensor));
      continue;
    }
    const std::string prefix = tensor.name.substr(0, mark + kMark.size());
    const int64_t expert = std::atoll(tensor.name.c_str() + prefix.size());
    const bool down = absl::EndsWith(tensor.name, ".down_proj.weight");
    const bool up = absl::EndsWith(tensor.name, ".up_proj.weight");
    groups[prefix + (down ? "down_proj" : "gate_up_proj")].emplace(
        down ? expert : 2 * expert + (up ? 1 : 0), std::move(tensor));
  }
  for (auto& [name, parts] : groups) {
    auto fused = std::make_shared<FusedExperts>();
    const std::vector<int64_t> shape = parts.begin()->second.shape;
    const int64_t halves = absl::EndsWith(name, "gate_up_proj") ? 2 : 1;
    TensorToWrite tensor;
    tensor.name = name;
    tensor.shape = {static_cast<int64_t>(parts.size()) / halves, halves * shape[0], shape[1]};
    tensor.dtype = parts.begin()->second.dtype;
    fused->elements = shape[0] * shape[1];
    for (auto& [place, part] : parts) fused->parts.push_back(std::move(part));
    tensor.read = [fused](int64_t first, int64_t count, float* to) {
      return fused->Read(first, count, to);
    };
    out.push_back(std::move(tensor));
  }
  return out;
}

// Values as bfloat16 holds them.
ReadElements Rounded(ReadElements read) {
  return [read = std::move(read)](int64_t first, int64_t count, float* to) {
    const absl::Status status = read(first, count, to);
    for (int64_t i = 0; i < count; ++i) to[i] = RoundToBFloat16(to[i]);
    return status;
  };
}

std::vector<TensorToWrite> TensorsOf(const OpenedCheckpoint& opened,
                                     const ParameterRegistry& registry, DType dtype,
                                     const ConvertOptions& options) {
  std::vector<TensorToWrite> tensors =
      StreamedTensors(registry.all(), opened.arrays.values, "", true);
  if (!options.drop_further_layers) {
    for (const CarriedTensor& carried : opened.state.carried.tensors) {
      const bool bias = absl::EndsWith(carried.name, ".e_score_correction_bias");
      const DType as = bias ? carried.dtype : dtype;
      tensors.push_back({carried.name, carried.shape, as, nullptr, carried.read});
    }
  }
  for (TensorToWrite& tensor : tensors) {
    if (tensor.dtype == DType::kBFloat16) tensor.read = Rounded(std::move(tensor.read));
  }
  return tensors;
}

std::string ConfigOf(const OpenedCheckpoint& opened, DType dtype, const ConvertOptions& options) {
  nlohmann::ordered_json set = nlohmann::ordered_json::object();
  if (options.drop_further_layers && !opened.state.carried.tensors.empty()) {
    set["num_nextn_predict_layers"] = 0;
  }
  if (options.dtype == "fp8") {
    set["quantization_config"] = {{"activation_scheme", "dynamic"},
                                  {"fmt", "e4m3"},
                                  {"quant_method", "fp8"},
                                  {"weight_block_size", {kBlock, kBlock}}};
  }
  return EditJsonObject(ConfigJson(opened.state.config, dtype), set, {});
}

absl::Status CheckConvert(const ConvertOptions& options) {
  if (!options.dtype.empty() && options.dtype != "float32" && options.dtype != "bfloat16" &&
      options.dtype != "fp8") {
    return absl::InvalidArgumentError(
        absl::StrCat("the dtype ", options.dtype, " is none of float32, bfloat16 and fp8"));
  }
  if (options.fuse_experts && options.dtype == "fp8") {
    return absl::InvalidArgumentError("fused experts and fp8 do not go together; choose one");
  }
  if (options.shard_bytes < 1) return absl::InvalidArgumentError("a shard has at least one byte");
  return absl::OkStatus();
}

}  // namespace

absl::Status ConvertCheckpoint(const std::string& from, const std::string& to,
                               const ConvertOptions& options, FileSystem& files) {
  if (absl::Status status = CheckConvert(options); !status.ok()) return status;
  const auto opened = OpenCheckpoint(from, /*weights_only=*/true, files);
  if (!opened.ok()) return opened.status();
  const auto present = files.List(to);
  if (!present.ok()) return present.status();
  if (!present->empty()) {
    return absl::FailedPreconditionError(absl::StrCat(to, " is not empty"));
  }
  const DType dtype = options.dtype.empty()        ? opened->state.dtype
                      : options.dtype == "float32" ? DType::kFloat32
                                                   : DType::kBFloat16;
  const ParameterRegistry registry = ParameterRegistry::Of(opened->state.config, dtype);
  CheckpointWriter writer(files, to);
  std::map<std::string, std::string> texts = opened->state.carried.files;
  texts["config.json"] = ConfigOf(*opened, dtype, options);
  if (!opened->state.tokenizer_json.empty()) {
    texts["tokenizer.json"] = opened->state.tokenizer_json;
  }
  for (const auto& [name, text] : texts) {
    if (absl::Status status = writer.Text(name, text); !status.ok()) return status;
  }
  std::vector<TensorToWrite> tensors = TensorsOf(*opened, registry, dtype, options);
  if (options.dtype == "fp8") tensors = Quantised(std::move(tensors));
  if (options.fuse_experts) tensors = Fused(std::move(tensors));
  absl::Status status = writer.Weights(std::move(tensors), options.shard_bytes);
  return status.ok() ? files.SyncDirectory(to) : status;
}

absl::StatusOr<std::vector<TensorScan>> ScanWeights(const OpenedCheckpoint& opened,
                                                    const std::string& directory) {
  std::vector<TensorScan> found;
  const auto look = [&](const std::string& name, const float* values, int64_t count) {
    const int64_t bad =
        std::count_if(values, values + count, [](float value) { return !std::isfinite(value); });
    if (bad == 0) return;
    if (found.empty() || found.back().name != name) found.push_back({name, 0});
    found.back().not_finite += bad;
  };
  const auto hash =
      HashParameters(opened.weights->registry(),
                     [&](const ParameterInfo& info, int64_t first, int64_t count, float* to) {
                       absl::Status status = opened.arrays.values(info, first, count, to);
                       if (status.ok()) look(info.name, to, count);
                       return status;
                     });
  if (!hash.ok()) return hash.status();
  const absl::Status same = CheckWeightsHash(opened, directory, *hash);
  if (!same.ok()) return same;
  std::vector<float> piece;
  for (const CarriedTensor& tensor : opened.state.carried.tensors) {
    int64_t elements = 1;
    for (const int64_t extent : tensor.shape) elements *= extent;
    for (int64_t first = 0; first < elements; first += kPieceElements) {
      piece.resize(static_cast<size_t>(std::min(kPieceElements, elements - first)));
      const int64_t count = static_cast<int64_t>(piece.size());
      const absl::Status status = tensor.read(first, count, piece.data());
      if (!status.ok()) return status;
      look(tensor.name, piece.data(), count);
    }
  }
  return found;
}

absl::StatusOr<std::vector<TensorDifference>> CompareWeights(const OpenedCheckpoint& a,
                                                             const OpenedCheckpoint& b) {
  if (!(a.state.config == b.state.config)) {
    return absl::FailedPreconditionError("the two are models of different shapes");
  }
  std::vector<TensorDifference> out;
  std::vector<float> x, y;
  for (const ParameterInfo& info : a.weights->registry().all()) {
    TensorDifference difference;
    difference.name = info.name;
    double norm = 0, change = 0;
    for (int64_t first = 0; first < info.elements; first += kPieceElements) {
      const int64_t count = std::min(kPieceElements, info.elements - first);
      x.resize(static_cast<size_t>(count));
      y.resize(static_cast<size_t>(count));
      absl::Status status = a.arrays.values(info, first, count, x.data());
      if (status.ok()) status = b.arrays.values(info, first, count, y.data());
      if (!status.ok()) return status;
      if (std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) != 0) difference.equal = false;
      for (size_t i = 0; i < x.size(); ++i) {
        const double step = static_cast<double>(y[i]) - x[i];
        norm += static_cast<double>(x[i]) * x[i];
        if (std::memcmp(&x[i], &y[i], sizeof(float)) == 0) continue;  // the same NaN too
        change += step * step;
        if (!std::isnan(difference.max_abs) && !(std::abs(step) <= difference.max_abs)) {
          difference.max_abs = std::abs(step);
        }
      }
    }
    difference.change_norm = std::sqrt(change);
    difference.relative_norm = norm > 0 ? std::sqrt(change / norm) : 0.0;
    out.push_back(std::move(difference));
  }
  return out;
}

}  // namespace hone
