// SPDX-License-Identifier: Apache-2.0
//
// What one kind of procedural task is made of, and its division into train and held-out tasks.
// A new generator is one small file: a Problems class, a Make function, a row in registry.cc.
#ifndef HONE_ROLLOUT_TASKS_PROBLEMS_H_
#define HONE_ROLLOUT_TASKS_PROBLEMS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/sampling/rng.h"
#include "rollout/tasks/options.h"

namespace hone {

struct Problem {
  std::string prompt;
  std::string answer;
  std::string tests_json;        // of programs; the answer is one that passes
  std::string content;           // what must be unseen for the task to be new: decides its split
  double difficulty = 0;         // the generator's own scale
  std::vector<int64_t> numbers;  // the operands
  bool has_target = false;       // then numbers and target are the task's metadata
  int64_t target = 0;
};

// Immutable, thread-safe.
class Problems {
 public:
  virtual ~Problems() = default;
  // How many there are, when they are few enough to list; < 0: endless.
  virtual int64_t count() const { return -1; }
  // REQUIRES: count() >= 0 and 0 <= index < count().
  virtual Problem Nth(int64_t index) const;
  // REQUIRES: count() < 0. A problem as the generator finds it, of whatever split.
  virtual Problem Draw(KeyedRandom& random) const;
};

enum class Split { kTrain, kHeldout, kAll };

// Whether problems of this content are held out: by a hash of generator and content alone, so
// that no seed, length or order of anything moves a problem across.
bool IsHeldout(absl::string_view generator, absl::string_view content, double heldout_share);

// The problems of one split. Immutable, thread-safe.
class SplitProblems {
 public:
  SplitProblems(std::string generator, std::unique_ptr<Problems> problems, Split split,
                double heldout_share);

  int64_t count() const;  // < 0: endless
  Problem Nth(int64_t index) const;
  // For finite kinds uniform over the split. INTERNAL when the split cannot be hit.
  absl::StatusOr<Problem> Draw(KeyedRandom& random) const;
  bool IsHeldout(const Problem& problem) const;

 private:
  std::string generator_;
  std::unique_ptr<Problems> problems_;
  Split split_;
  double heldout_share_;
  std::vector<int64_t> kept_;  // of a finite kind: indices in the split
};

struct SplitOptions {
  Split split = Split::kTrain;
  double heldout_share = 0.2;
};
// Reads "split" (unless train_only, which refuses it) and "heldout_share".
SplitOptions ReadSplitOptions(OptionReader& options, bool train_only);

// The key of item `index` of a stream of draws ("gcd/tasks").
SampleKey DrawKey(absl::string_view stream, uint64_t seed, uint64_t index);

}  // namespace hone

#endif  // HONE_ROLLOUT_TASKS_PROBLEMS_H_
