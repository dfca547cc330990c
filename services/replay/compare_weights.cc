// SPDX-License-Identifier: Apache-2.0
#include "services/replay/compare_weights.h"

#include <cstring>
#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "policy/checkpoint/file_system.h"
#include "policy/checkpoint/weights.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

constexpr char kStage[] = "checkpoints";

// A float with its bits, which tell neighbours apart.
std::string BitsText(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return absl::StrFormat("%.9g (0x%08x)", value, bits);
}

class Comparison {
 public:
  Comparison(std::string stored, std::string made, int64_t iteration, ReplayReport& report)
      : stored_(std::move(stored)),
        made_(std::move(made)),
        iteration_(iteration),
        report_(report) {}

  // The files that the policy saved, each under its name; shards are one. Number of differences.
  int64_t Files() {
    int64_t found = 0;
    if (fs::exists(made_ + "/model.safetensors") ||
        fs::exists(absl::StrCat(made_, "/", kIndexName))) {
      found += All(std::string(kWeightsName), WeightFiles::Open(RealFileSystem(), made_, nullptr),
                   WeightFiles::Open(RealFileSystem(), stored_, nullptr));
    }
    for (const char* name :
         {"adapter_model.safetensors", "optimizer.safetensors", "reference.safetensors"}) {
      if (!fs::exists(absl::StrCat(made_, "/", name))) continue;
      found += All(name, WeightFiles::OpenOne(RealFileSystem(), absl::StrCat(made_, "/", name)),
                   WeightFiles::OpenOne(RealFileSystem(), absl::StrCat(stored_, "/", name)));
    }
    return found;
  }

  int64_t Unreadable(const std::string& what, const absl::Status& why) {
    ReplayDifference difference = About(what, -1);
    difference.stored = absl::StrCat("damaged (", why.message(), ")");
    difference.replayed = "whole";
    report_.Differs(kStage, std::move(difference));
    return 1;
  }

 private:
  ReplayDifference About(const std::string& what, int64_t index) const {
    ReplayDifference about;
    about.iteration = iteration_;
    about.what = absl::StrCat(fs::path(stored_).filename().string(), ", ", what);
    about.index = index;
    return about;
  }

  int64_t All(const std::string& file, const absl::StatusOr<WeightFiles>& made,
              const absl::StatusOr<WeightFiles>& stored) {
    if (!made.ok()) return Unreadable(file + " as it was made again", made.status());
    if (!stored.ok()) return Unreadable(file, stored.status());
    std::set<std::string> names;
    for (const auto& [name, place] : made->all()) names.insert(name);
    int64_t found = 0;
    for (const std::string& name : names) {
      found += Tensor(name, made->Find(name), stored->Find(name));
    }
    return found;
  }

  int64_t Tensor(const std::string& name, const WeightFiles::Place& made,
                 const WeightFiles::Place& stored) {
    const int64_t elements = made.tensor->elements;
    if (stored.tensor == nullptr || stored.tensor->elements != elements) {
      return Unreadable("tensor " + name, absl::DataLossError("it is absent, or of another shape"));
    }
    std::vector<float> ours(static_cast<size_t>(elements));
    std::vector<float> theirs(static_cast<size_t>(elements));
    absl::Status read = made.file->ReadFloats(*made.tensor, 0, elements, ours.data());
    if (read.ok()) read = stored.file->ReadFloats(*stored.tensor, 0, elements, theirs.data());
    if (!read.ok()) return Unreadable("tensor " + name, read);
    int64_t found = 0;
    for (size_t i = 0; i < ours.size(); ++i) {
      if (std::memcmp(&ours[i], &theirs[i], sizeof(float)) == 0) continue;
      ++found;
      ReplayDifference difference = About("tensor " + name + ", element", static_cast<int64_t>(i));
      difference.stored = BitsText(theirs[i]);
      difference.replayed = BitsText(ours[i]);
      report_.Differs(kStage, std::move(difference));
    }
    report_.Same(kStage, elements - found);
    return found;
  }

  const std::string stored_;
  const std::string made_;
  const int64_t iteration_;
  ReplayReport& report_;
};

}  // namespace

void CompareCheckpoints(const std::string& stored, const std::string& made, int64_t iteration,
                        const absl::Status& why, ReplayReport& report) {
  Comparison comparison(stored, made, iteration, report);
  if (comparison.Files() == 0 && !why.ok()) comparison.Unreadable("its files", why);
}

}  // namespace hone
