// SPDX-License-Identifier: Apache-2.0
#include "verifier/code/code_options.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "verifier/pure_verifier.h"

namespace hone {
namespace {

absl::Status BadValue(absl::string_view name, absl::string_view value, absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("verifier code: ", name, " is ", wanted, ", not \"", value, "\""));
}

absl::Status ReadWhole(const VerifierOptions& values, const std::string& name, int64_t low,
                       int64_t high, int64_t* number) {
  const std::string& text = values.at(name);
  if (absl::SimpleAtoi(text, number) && *number >= low && *number <= high) return absl::OkStatus();
  return BadValue(name, text, absl::StrCat("a whole number from ", low, " to ", high));
}

absl::Status ReadBool(const VerifierOptions& values, const std::string& name, bool* truth) {
  const std::string& text = values.at(name);
  *truth = text == "true";
  return text == "true" || text == "false" ? absl::OkStatus()
                                           : BadValue(name, text, "true or false");
}

absl::Status ReadPreamble(const std::string& text, PreambleUse* use) {
  *use = text == "always" ? PreambleUse::kAlways
         : text == "auto" ? PreambleUse::kAuto
                          : PreambleUse::kNever;
  if (text == "always" || text == "auto" || text == "never") return absl::OkStatus();
  return BadValue("preamble", text, "auto, always or never");
}

absl::Status ReadTolerance(const std::string& text, double* tolerance) {
  if (absl::SimpleAtod(text, tolerance) && *tolerance >= 0 && *tolerance < 1) {
    return absl::OkStatus();
  }
  return BadValue("float_tolerance", text, "a number from 0 to below 1");
}

}  // namespace

VerifierOptions CodeVerifierOptions() {
  return {{"cpu_ms", "10000"},
          {"wall_ms", "0"},
          {"total_cpu_ms", "0"},
          {"memory_mb", "512"},
          {"output_bytes", "1048576"},
          {"max_tests", "1000"},
          {"stop_at_first_failure", "false"},
          {"float_tolerance", "0"},
          {"tuple_is_list", "false"},
          {"unwrap_single_outputs", "false"},
          {"preamble", "auto"},
          {"measurements", "false"},
          {"sandbox", ""},
          {"slots", "0"}};
}

absl::StatusOr<CodeOptions> ReadCodeOptions(const VerifierOptions& given, VerifierOptions* values) {
  const absl::Status known = ReadOptions("code", given, CodeVerifierOptions(), values);
  if (!known.ok()) return known;
  CodeOptions options;
  options.sandbox = values->at("sandbox");
  for (const absl::Status& status : {
           ReadWhole(*values, "cpu_ms", 1, 600000, &options.cpu_ms),
           ReadWhole(*values, "wall_ms", 0, 3600000, &options.wall_ms),
           ReadWhole(*values, "total_cpu_ms", 0, 3600000, &options.total_cpu_ms),
           ReadWhole(*values, "memory_mb", 16, 65536, &options.memory_mb),
           ReadWhole(*values, "output_bytes", 1, int64_t{1} << 30, &options.output_bytes),
           ReadWhole(*values, "max_tests", 1, 100000, &options.max_tests),
           ReadWhole(*values, "slots", 0, 1024, &options.slots),
           ReadBool(*values, "stop_at_first_failure", &options.stop_at_first_failure),
           ReadBool(*values, "tuple_is_list", &options.tuple_is_list),
           ReadBool(*values, "unwrap_single_outputs", &options.unwrap_single_outputs),
           ReadBool(*values, "measurements", &options.measurements),
           ReadPreamble(values->at("preamble"), &options.preamble),
           ReadTolerance(values->at("float_tolerance"), &options.float_tolerance),
       }) {
    if (!status.ok()) return status;
  }
  if (options.slots == 1)
    return BadValue("slots", "1", "0 or at least 2: a pair of jails takes two");
  return options;
}

}  // namespace hone
