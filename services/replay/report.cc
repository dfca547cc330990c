// SPDX-License-Identifier: Apache-2.0
#include "services/replay/report.h"

#include <cassert>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hone {

std::string ReplayDifference::Sentence() const {
  std::string text;
  const auto add = [&](absl::string_view piece) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", piece);
  };
  if (iteration > 0) add(absl::StrCat("iteration ", iteration));
  if (!trajectory.empty()) add(absl::StrCat("trajectory ", trajectory));
  add(index < 0 ? what : absl::StrCat(what, " ", index));
  return absl::StrCat(text, ": stored ", stored, ", replayed ", replayed);
}

ReplayReport::ReplayReport() {
  for (const absl::string_view name : kReplayStages) {
    stages_.push_back({std::string(name), 0, 0, std::nullopt});
  }
}

ReplayStage& ReplayReport::At(absl::string_view stage) {
  for (ReplayStage& one : stages_) {
    if (one.name == stage) return one;
  }
  assert(false && "a stage of kReplayStages");
  return stages_.front();
}

void ReplayReport::Same(absl::string_view stage, int64_t values) {
  At(stage).compared += values;
}

void ReplayReport::Differs(absl::string_view stage, ReplayDifference difference) {
  ReplayStage& at = At(stage);
  ++at.compared;
  ++at.differing;
  if (!at.first_difference) at.first_difference = std::move(difference);
}

void ReplayReport::Compare(absl::string_view stage, const ReplayDifference& about,
                           absl::string_view stored, absl::string_view replayed) {
  if (stored == replayed) return Same(stage);
  ReplayDifference difference = about;
  difference.stored = absl::StrCat("\"", stored, "\"");
  difference.replayed = absl::StrCat("\"", replayed, "\"");
  Differs(stage, std::move(difference));
}

void ReplayReport::Compare(absl::string_view stage, const ReplayDifference& about, int64_t stored,
                           int64_t replayed) {
  if (stored == replayed) return Same(stage);
  ReplayDifference difference = about;
  difference.stored = absl::StrCat(stored);
  difference.replayed = absl::StrCat(replayed);
  Differs(stage, std::move(difference));
}

void ReplayReport::Compare(absl::string_view stage, const ReplayDifference& about, double stored,
                           double replayed) {
  if (std::memcmp(&stored, &replayed, sizeof(double)) == 0 ||
      (std::isnan(stored) && std::isnan(replayed))) {
    return Same(stage);
  }
  ReplayDifference difference = about;
  difference.stored = ExactText(stored);
  difference.replayed = ExactText(replayed);
  Differs(stage, std::move(difference));
}

int64_t ReplayReport::differing() const {
  int64_t differing = 0;
  for (const ReplayStage& stage : stages_) differing += stage.differing;
  return differing;
}

std::string ExactText(double value) {
  return absl::StrFormat("%.17g", value);
}

std::string ExactText(float value) {
  return absl::StrFormat("%.9g", value);
}

}  // namespace hone
