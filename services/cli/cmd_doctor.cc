// SPDX-License-Identifier: Apache-2.0
//
// hone doctor: why does a run not learn? Checks are rollout/diagnosis.h.
#include <algorithm>
#include <iostream>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "rollout/diagnosis.h"
#include "rollout/store/query.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"
#include "services/trainer/run_directory.h"

namespace hone::cli {
namespace {

struct DoctorFlags {
  std::string run;
  std::string iterations;
  bool strict = false;
};

struct Range {
  int64_t first = 1, last = 0;
};

// "A..B" or "N"; empty: all there are.
absl::StatusOr<Range> ParseRange(const std::string& text, int64_t last) {
  if (text.empty()) return Range{1, last};
  const std::vector<std::string> ends = absl::StrSplit(text, absl::MaxSplits("..", 1));
  Range range;
  if (!absl::SimpleAtoi(ends.front(), &range.first) ||
      !absl::SimpleAtoi(ends.back(), &range.last) || range.first < 1 || range.first > range.last) {
    return absl::InvalidArgumentError(
        absl::StrCat("--iterations '", text, "': A..B or N, counted from 1"));
  }
  if (range.first > last) {
    return absl::NotFoundError(
        absl::StrCat("--iterations ", text, ": the run has ", last, " so far"));
  }
  range.last = std::min(range.last, last);
  return range;
}

Json FunnelJson(const SampleFunnel& f) {
  return {{"groups", f.groups}, {"asked", f.asked}, {"outages", f.outages}, {"skipped", f.skipped},
          {"judged", f.judged}, {"flat", f.flat},   {"dropped", f.dropped}, {"trained", f.trained}};
}

void PrintFunnel(const SampleFunnel& f) {
  const auto line = [&f](const char* name, int64_t count, const char* note) {
    const double share =
        f.asked > 0 ? static_cast<double>(count) / static_cast<double>(f.asked) : 0;
    std::string bar;
    for (int i = 0; i < static_cast<int>(32 * share + 0.5); ++i) bar += "█";
    std::cout << absl::StrFormat("  %-9s %9d  %5.1f %%  %s%s%s\n", name, count, 100 * share, bar,
                                 *note != '\0' && !bar.empty() ? "  " : "", note);
  };
  line("asked", f.asked, "");
  if (f.outages > 0) line("outages", f.outages, "no verdict: not trained on");
  if (f.skipped > 0) line("skipped", f.skipped, "cannot be judged");
  line("judged", f.judged, "");
  line("flat", f.flat, "all rewards of the group equal");
  if (f.dropped > 0) line("dropped", f.dropped, "groups left out");
  line("trained", f.trained, "");
}

void Print(const RunFigures& figures, const std::vector<Finding>& findings) {
  std::cout << absl::StrFormat("iterations %d to %d, %d groups\n\n", figures.first_iteration,
                               figures.last_iteration, figures.funnel.groups);
  PrintFunnel(figures.funnel);
  std::cout << "\n";
  for (const Severity severity : {Severity::kProblem, Severity::kNotice, Severity::kFine}) {
    for (const Finding& finding : findings) {
      if (finding.severity != severity) continue;
      std::cout << absl::StrFormat("  %-8s %-22s %s\n", SeverityName(severity), finding.check,
                                   Sanitise(finding.says));
      if (!finding.advice.empty()) std::cout << "           → " << finding.advice << "\n";
    }
  }
}

int Doctor(const DoctorFlags& flags, const Globals& globals) {
  auto store = OpenRunStore(flags.run);
  if (!store.ok()) return Fail(store.status(), globals);
  const auto last = (*store)->LastIteration();
  if (!last.ok()) return Fail(last.status(), globals);
  if (*last == 0) {
    return Fail(absl::NotFoundError(absl::StrCat(
                    flags.run, " has no finished iteration yet: ask again after the first")),
                globals);
  }
  const auto range = ParseRange(flags.iterations, *last);
  if (!range.ok()) return Fail(range.status(), globals);
  const auto figures = ReadRunFigures(**store, range->first, range->last);
  if (!figures.ok()) return Fail(figures.status(), globals);
  const std::vector<Finding> findings = Diagnose(*figures);
  const bool problem = std::any_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.severity == Severity::kProblem;
  });
  if (globals.json) {
    Json rows = Json::array();
    for (const Finding& finding : findings) {
      rows.push_back({{"severity", SeverityName(finding.severity)},
                      {"check", finding.check},
                      {"says", finding.says},
                      {"advice", finding.advice}});
    }
    WriteRow({{"first_iteration", figures->first_iteration},
              {"last_iteration", figures->last_iteration},
              {"funnel", FunnelJson(figures->funnel)},
              {"outcomes", figures->outcomes},
              {"stop_reasons", figures->stops},
              {"findings", rows}});
  } else {
    Print(*figures, findings);
  }
  return flags.strict && problem ? kMismatch : kDone;
}

}  // namespace

Action SetUpDoctor(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<DoctorFlags>();
  app.add_option("RUN", flags->run, "the run's directory; it may still be running")->required();
  app.add_option("--iterations", flags->iterations, "A..B or N; default: all");
  app.add_flag("--strict", flags->strict, "exit 3 when there is a problem");
  app.footer(
      "Shows where completions went, from asked to trained, then what is wrong, what to look at\n"
      "and what is fine: dead groups, headroom (pass@G against pass@1), truncation, format,\n"
      "reward parts that never vary, outages, entropy, clipping, KL, step size, exactness, "
      "experts.");
  return [flags, &globals] { return Doctor(*flags, globals); };
}

}  // namespace hone::cli
