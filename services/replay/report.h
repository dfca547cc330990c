// SPDX-License-Identifier: Apache-2.0
//
// What a replay found: for each stage how many values were compared, how many differ, and the first
// one that does.
#ifndef HONE_SERVICES_REPLAY_REPORT_H_
#define HONE_SERVICES_REPLAY_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace hone {

// The stages, in the order in which a step goes through them.
inline constexpr absl::string_view kReplayStages[] = {
    "config",  "store",      "checkpoints", "tasks",   "sampling", "verification",
    "rewards", "advantages", "batch",       "forward", "backward", "optimizer"};

struct ReplayDifference {
  int64_t iteration = 0;   // 0: of none
  std::string trajectory;  // id; empty: of none
  std::string what;        // "token", "logprob", "reward format", a tensor's name, a metric's, ...
  int64_t index = -1;      // of the token, of the tensor's element; -1: there is none
  std::string stored;      // as text; floats so that they read back to the same bits
  std::string replayed;

  // "iteration 3, trajectory 0f..., token 17: stored 5, replayed 6". Holds text from outside.
  std::string Sentence() const;
};

struct ReplayStage {
  std::string name;
  int64_t compared = 0;
  int64_t differing = 0;
  std::optional<ReplayDifference> first_difference;
};

class ReplayReport {
 public:
  ReplayReport();

  // Counts `values` compared ones that are equal.
  void Same(absl::string_view stage, int64_t values = 1);
  void Differs(absl::string_view stage, ReplayDifference difference);
  // One or the other.
  void Compare(absl::string_view stage, const ReplayDifference& about, absl::string_view stored,
               absl::string_view replayed);
  void Compare(absl::string_view stage, const ReplayDifference& about, int64_t stored,
               int64_t replayed);
  // By bits: 0.0 is not -0.0; any NaN is any other.
  void Compare(absl::string_view stage, const ReplayDifference& about, double stored,
               double replayed);

  bool identical() const { return differing() == 0; }
  int64_t differing() const;
  const std::vector<ReplayStage>& stages() const { return stages_; }

 private:
  ReplayStage& At(absl::string_view stage);
  std::vector<ReplayStage> stages_;
};

// Figures so that they read back to the same bits.
std::string ExactText(double value);
std::string ExactText(float value);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_REPORT_H_
