// SPDX-License-Identifier: Apache-2.0
#include "services/replay/compare_weights.h"

#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "policy/checkpoint/file_system.h"
#include "policy/checkpoint/weights.h"

namespace hone {
namespace {

constexpr char kStage[] = "checkpoints";

// A float with its bits, which tell neighbours apart.
std::string BitsText(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return absl::StrFormat("%.9g (0x%08x)", value, bits);
}

class Comparison {
 public:
  Comparison(const PolicyState& state, std::string directory, int64_t iteration,
             ReplayReport& report)
      : registry_(ParameterRegistry::Of(state.config, state.dtype)),
        directory_(std::move(directory)),
        iteration_(iteration),
        report_(report) {}

  // Number of differences found.
  int64_t Weights(const std::vector<float>& values) {
    auto files = WeightFiles::Open(RealFileSystem(), directory_, nullptr);
    if (!files.ok()) return Unreadable(std::string(kWeightsName), files.status());
    return All(*files, "", values);
  }

  int64_t File(const std::string& name,
               const std::vector<std::pair<std::string, const std::vector<float>*>>& arrays) {
    auto files = WeightFiles::OpenOne(RealFileSystem(), absl::StrCat(directory_, "/", name));
    if (!files.ok()) return Unreadable(name, files.status());
    int64_t found = 0;
    for (const auto& [prefix, values] : arrays) {
      if (!values->empty()) found += All(*files, prefix, *values);
    }
    return found;
  }

  int64_t Unreadable(const std::string& what, const absl::Status& why) {
    ReplayDifference difference = About(what, -1);
    difference.stored = absl::StrCat("unreadable (", why.message(), ")");
    difference.replayed = "whole";
    report_.Differs(kStage, std::move(difference));
    return 1;
  }

 private:
  ReplayDifference About(const std::string& what, int64_t index) const {
    ReplayDifference about;
    about.iteration = iteration_;
    about.what = absl::StrCat(std::filesystem::path(directory_).filename().string(), ", ", what);
    about.index = index;
    return about;
  }

  int64_t All(const WeightFiles& files, const std::string& prefix,
              const std::vector<float>& values) {
    int64_t found = 0;
    for (const ParameterInfo& info : registry_.all()) {
      found += Tensor(files, prefix + info.name, info, values.data() + info.offset);
    }
    return found;
  }

  int64_t Tensor(const WeightFiles& files, const std::string& name, const ParameterInfo& info,
                 const float* values) {
    const WeightFiles::Place place = files.Find(name);
    // The optimizer keeps nothing for what is not trained.
    if (place.tensor == nullptr && !info.trainable) return 0;
    if (place.tensor == nullptr || place.tensor->elements != info.elements) {
      return Unreadable(name, absl::DataLossError("it is absent or of another shape"));
    }
    std::vector<float> stored(static_cast<size_t>(info.elements));
    const absl::Status read =
        place.file->ReadFloats(*place.tensor, 0, info.elements, stored.data());
    if (!read.ok()) return Unreadable(name, read);
    int64_t found = 0;
    for (int64_t i = 0; i < info.elements; ++i) {
      if (std::memcmp(&stored[static_cast<size_t>(i)], values + i, sizeof(float)) == 0) continue;
      ++found;
      ReplayDifference difference = About("tensor " + name + ", element", i);
      difference.stored = BitsText(stored[static_cast<size_t>(i)]);
      difference.replayed = BitsText(values[i]);
      report_.Differs(kStage, std::move(difference));
    }
    report_.Same(kStage, info.elements - found);
    return found;
  }

  const ParameterRegistry registry_;
  const std::string directory_;
  const int64_t iteration_;
  ReplayReport& report_;
};

}  // namespace

void CompareCheckpoint(const PolicyState& state, const std::string& directory, int64_t iteration,
                       const absl::Status& why, ReplayReport& report) {
  Comparison comparison(state, directory, iteration, report);
  int64_t found = comparison.Weights(state.values);
  const bool moments = std::filesystem::exists(directory + "/optimizer.safetensors");
  if (moments || !state.adam_m.empty()) {
    found += comparison.File(
        "optimizer.safetensors",
        {{"adam_m.", &state.adam_m}, {"adam_v.", &state.adam_v}, {"master.", &state.master}});
  }
  if (!state.reference.empty()) {
    found += comparison.File("reference.safetensors", {{"", &state.reference}});
  }
  if (found == 0 && !why.ok()) comparison.Unreadable("its files", why);
}

}  // namespace hone
