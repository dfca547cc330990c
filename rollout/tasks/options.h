// SPDX-License-Identifier: Apache-2.0
//
// Options by name, each read once with its default and range. Reading goes on after a mistake;
// Finish tells the first one, and options that nobody asked for.
#ifndef HONE_ROLLOUT_TASKS_OPTIONS_H_
#define HONE_ROLLOUT_TASKS_OPTIONS_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "rollout/task_source.h"

namespace hone {

class OptionReader {
 public:
  // `what` names the owner in errors ("generator 'gcd'"). `options` outlives the reader.
  OptionReader(std::string what, const TaskOptions& options);

  bool Has(const std::string& name) const { return options_.count(name) != 0; }
  int64_t Int(const std::string& name, int64_t fallback, int64_t lowest, int64_t highest);
  double Number(const std::string& name, double fallback, double lowest, double highest);
  std::string Choice(const std::string& name, const std::string& fallback,
                     const std::vector<std::string>& choices);
  std::string Text(const std::string& name, const std::string& fallback);
  // For mistakes between options.
  void Refuse(const std::string& sentence);

  // INVALID_ARGUMENT with the first mistake, or an unknown option with the known ones.
  absl::Status Finish() const;

 private:
  const std::string* Find(const std::string& name);

  std::string what_;
  const TaskOptions& options_;
  std::set<std::string> known_;
  std::string mistake_;
};

}  // namespace hone

#endif  // HONE_ROLLOUT_TASKS_OPTIONS_H_
