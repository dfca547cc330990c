// SPDX-License-Identifier: Apache-2.0
//
// Why is nothing learning? Checks over the figures of a run's iterations, each with the figure it
// looked at and what to do. Thresholds stand beside their checks in diagnosis.cc.
#ifndef HONE_ROLLOUT_DIAGNOSIS_H_
#define HONE_ROLLOUT_DIAGNOSIS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace hone {

// Where completions went, from asked to trained. Each line is counted in completions.
struct SampleFunnel {
  int64_t groups = 0;
  int64_t asked = 0;
  int64_t outages = 0;  // the verifier failed
  int64_t skipped = 0;  // cannot be judged
  int64_t judged = 0;
  int64_t flat = 0;     // judged, in groups where all rewards are equal: no gradient
  int64_t dropped = 0;  // judged, in groups left out for another reason
  int64_t trained = 0;  // judged, in groups that went into an update
};

// A reward part over all judged completions.
struct PartFigures {
  std::string name;
  int64_t count = 0;    // raw figures there are
  int64_t missing = 0;  // not computed
  int64_t gated = 0;    // its gate was closed
  double min = 0, max = 0, mean = 0;
};

struct GroupFigures {
  int64_t judged = 0;     // groups with a judged completion
  int64_t solved = 0;     // of these: one right completion or more (pass@G)
  int64_t all_right = 0;  // of these: all right
};

// An evaluation's first and last time, with their 95 % intervals.
struct EvaluationFigures {
  std::string name;
  int64_t first_iteration = 0, last_iteration = 0;  // two, or it is not here
  double first = 0, first_low = 0, first_high = 0;
  double last = 0, last_low = 0, last_high = 0;
};

// What happened from first_iteration to last_iteration.
struct RunFigures {
  int64_t first_iteration = 0, last_iteration = 0;
  SampleFunnel funnel;
  GroupFigures groups;
  std::map<std::string, int64_t> outcomes;  // completions by outcome
  std::map<std::string, int64_t> stops;     // completions by stop reason
  std::vector<PartFigures> parts;
  int64_t right_without_format = 0;  // correct, and the part named format is 0
  // Metrics by name, values in the order of iterations.
  std::map<std::string, std::vector<double>> metrics;
  std::vector<EvaluationFigures> evaluations;  // of the whole run up to last_iteration
};

// The metrics that Diagnose looks at; kl ones are found by their prefix policy/kl_.
const std::vector<std::string>& DiagnosedMetrics();

enum class Severity { kFine, kNotice, kProblem };
const char* SeverityName(Severity severity);

struct Finding {
  Severity severity = Severity::kFine;
  std::string check;   // dead_groups, truncation, ...: stable names
  std::string says;    // the figure, in a sentence
  std::string advice;  // what to do; empty when fine
};

// Every check, in a fixed order; those without a figure to look at are left out.
std::vector<Finding> Diagnose(const RunFigures& figures);

}  // namespace hone

#endif  // HONE_ROLLOUT_DIAGNOSIS_H_
