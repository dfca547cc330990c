// SPDX-License-Identifier: Apache-2.0
#include "policy/train/schedule.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

constexpr double kPi = 3.14159265358979323846;

// cos(pi x) for x in [0, 1] by its series: no libm decides a bit of a weight.
double CosPi(double x) {
  if (x > 0.5) return -CosPi(1.0 - x);
  const double square = (kPi * x) * (kPi * x);
  double sum = 1.0;
  for (int i = 22; i >= 2; i -= 2) sum = 1.0 - sum * square / (i * (i - 1));
  return sum;
}

}  // namespace

absl::StatusOr<ScheduleKind> ScheduleKindFromName(absl::string_view name) {
  if (name == "constant") return ScheduleKind::kConstant;
  if (name == "linear") return ScheduleKind::kLinear;
  if (name == "cosine") return ScheduleKind::kCosine;
  return absl::InvalidArgumentError(
      absl::StrCat("there is no schedule '", name, "'; known: constant, linear, cosine"));
}

absl::Status CheckSchedule(const ScheduleOptions& options) {
  const auto refuse = [](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("learning rate schedule: ", why));
  };
  if (!(options.peak >= 0) || !std::isfinite(options.peak)) {
    return refuse("peak must be a finite number, at least 0");
  }
  if (options.warmup_updates < 0) return refuse("warmup_updates must be at least 0");
  if (!(options.min_ratio >= 0 && options.min_ratio <= 1)) {
    return refuse("min_ratio must be in [0, 1]");
  }
  if (options.kind == ScheduleKind::kConstant) {
    if (options.total_updates != 0 || options.min_ratio != 0) {
      return refuse("total_updates and min_ratio do not apply to a constant schedule");
    }
  } else if (options.total_updates <= options.warmup_updates) {
    return refuse("total_updates must be greater than warmup_updates");
  }
  return absl::OkStatus();
}

double LearningRate(const ScheduleOptions& options, int64_t update) {
  assert(update >= 0);
  if (update < options.warmup_updates) {
    return options.peak * static_cast<double>(update + 1) /
           static_cast<double>(options.warmup_updates);
  }
  if (options.kind == ScheduleKind::kConstant) return options.peak;
  const double done = static_cast<double>(update - options.warmup_updates) /
                      static_cast<double>(options.total_updates - options.warmup_updates);
  const double progress = std::min(done, 1.0);
  const double fall =
      options.kind == ScheduleKind::kLinear ? 1.0 - progress : 0.5 * (1.0 + CosPi(progress));
  return options.peak * (options.min_ratio + (1.0 - options.min_ratio) * fall);
}

}  // namespace hone
