// SPDX-License-Identifier: Apache-2.0
//
// Many sources as one endless schedule: ordinal to task, a pure function of the config. Sources
// keep their shares in every block of 1,024 ordinals; a finite source is shuffled anew for every
// epoch; what is held out or out of band never appears.
#ifndef HONE_ROLLOUT_TASKS_MIXTURE_H_
#define HONE_ROLLOUT_TASKS_MIXTURE_H_

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "rollout/task_source.h"

namespace hone {

struct MixtureSource {
  std::string name;       // label, unique in the mixture; default: generator or path
  std::string generator;  // one of these two
  std::string path;       //   a task file
  uint64_t seed = 0;      // of a generator
  TaskOptions options;    // of a generator; a file takes "split" alone
  TaskOptions key_map;    // of a file: {"prompt", "question"}
  double weight = 1;      // > 0; shares are rounded to 1/1,024
  std::string verifier;   // of every task; empty: the task's own
  double difficulty_min = -std::numeric_limits<double>::infinity();
  double difficulty_max = std::numeric_limits<double>::infinity();
};

struct MixtureConfig {
  std::vector<MixtureSource> sources;
  uint64_t seed = 0;            // of shuffles and of the draw between sources
  std::string split = "train";  // train | heldout | all, where a source's options name none
  // Of file sources, by a hash of the prompt. Generators divide by content (their own
  // heldout_share). Held-out tasks are never in "train".
  double heldout_share = 0;
  // Measured pass rates by Task::Hash(), of tasks as their source has them or with the verifier
  // given to it. Where there are any, tasks stay whose rate lies in the band, and no others.
  std::map<std::string, double> pass_rates;
  double pass_rate_min = 0;
  double pass_rate_max = 1;
};

// JSONL rows of {"task_hash", "pass_rate"}, at most 10 million. INVALID_ARGUMENT naming file and
// line: another form, a rate outside 0 to 1, a hash twice.
absl::StatusOr<std::map<std::string, double>> ReadPassRates(const std::string& path);

// One source, filtered and with its verifier. Filters (difficulty, pass rate, a file's split) read
// every task once and want a finite source: INVALID_ARGUMENT for an endless one, or when nothing
// is left. config.sources is not read.
absl::StatusOr<std::unique_ptr<TaskSource>> OpenTasks(const MixtureSource& source,
                                                      const MixtureConfig& config);

// Immutable, thread-safe.
class TaskSchedule {
 public:
  static absl::StatusOr<std::unique_ptr<TaskSchedule>> Make(const MixtureConfig& config);

  // Pure and cheap: nothing is kept between calls.
  absl::StatusOr<Task> At(uint64_t ordinal) const;

  // Where an ordinal's task comes from: sources()[source], its epoch (0 for endless ones) and
  // index.
  struct Place {
    size_t source = 0;
    uint64_t epoch = 0;
    int64_t index = 0;
  };
  Place PlaceOf(uint64_t ordinal) const;

  const std::vector<std::unique_ptr<TaskSource>>& sources() const { return sources_; }
  // Ordinals of each 1,024 that go to each source.
  const std::vector<uint64_t>& quotas() const { return quotas_; }

 private:
  TaskSchedule() = default;
  uint64_t seed_ = 0;
  std::vector<std::unique_ptr<TaskSource>> sources_;
  std::vector<uint64_t> quotas_;
};

// Position i of a keyed shuffle of 0 .. n-1, without the list. REQUIRES: i < n.
uint64_t ShuffledIndex(uint64_t i, uint64_t n, uint64_t seed, uint64_t stream, uint64_t epoch);

}  // namespace hone

#endif  // HONE_ROLLOUT_TASKS_MIXTURE_H_
