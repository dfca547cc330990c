// SPDX-License-Identifier: Apache-2.0
//
// hone export: iterations of a run as one file, to replay elsewhere or to read with other tools.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "services/cli/cmd_traces.h"
#include "services/cli/replay_flags.h"
#include "services/replay/bundle.h"
#include "services/replay/chrome_trace.h"
#include "services/replay/trace_export.h"

namespace hone::cli {
namespace {

struct Flags {
  std::string run;
  std::string iterations;
  std::string out;
  std::string jsonl;
  std::string chrome_trace;
  bool html = false;
  bool redact = false;
};

absl::Status WriteTrace(const RecordedRun& run, const IterationRange& range, std::ostream& out) {
  TrajectoryIndex index;
  const absl::StatusOr<bool> read = index.Refresh(run.store());
  return read.ok() ? WriteChromeTrace(run.store(), index, range.first, range.last, out)
                   : read.status();
}

absl::Status WriteText(const RecordedRun& run, const IterationRange& range, const Flags& flags) {
  std::error_code error;
  if (std::filesystem::exists(flags.out, error)) {
    return absl::AlreadyExistsError(absl::StrCat(flags.out, " exists"));
  }
  std::ofstream out(flags.out, std::ios::binary);
  TraceExport traces(run, range.first, range.last, flags.redact);
  const absl::Status written = !flags.chrome_trace.empty() ? WriteTrace(run, range, out)
                               : flags.html                ? traces.WriteHtml(out)
                               : flags.jsonl == "inspect"  ? traces.WriteInspectLog(out)
                                                           : traces.WriteVerlRows(out);
  out.close();
  if (written.ok() && out) return absl::OkStatus();
  std::filesystem::remove(flags.out, error);
  return written.ok() ? absl::ResourceExhaustedError("cannot write all of " + flags.out) : written;
}

int Exported(Flags flags, const Globals& globals) {
  const int forms =
      (flags.html ? 1 : 0) + (flags.jsonl.empty() ? 0 : 1) + (flags.chrome_trace.empty() ? 0 : 1);
  const bool text = forms > 0;
  if (forms > 1) {
    return Fail(absl::InvalidArgumentError("export: one of --html, --jsonl, --chrome-trace"),
                globals);
  }
  if (flags.out.empty() == flags.chrome_trace.empty()) {
    return Fail(absl::InvalidArgumentError(
                    "export: --out FILE says where to; --chrome-trace FILE does by itself"),
                globals);
  }
  if (flags.redact && !text) {
    return Fail(absl::InvalidArgumentError(
                    "export: a file without its texts cannot be replayed; --redact goes with "
                    "--jsonl or --html"),
                globals);
  }
  if (!flags.chrome_trace.empty()) flags.out = flags.chrome_trace;
  auto run = text ? RecordedRun::OpenTraces(flags.run) : RecordedRun::Open(flags.run);
  if (!run.ok()) return Fail(run.status(), globals);
  absl::StatusOr<IterationRange> range =
      IterationRange{(*run)->first_iteration(), (*run)->last_iteration()};
  if (!flags.iterations.empty()) range = ParseIterations(flags.iterations, **run);
  if (range.ok() && range->first < 1) {
    range = absl::NotFoundError(flags.run + " has no finished iteration");
  }
  if (!range.ok()) return Fail(range.status(), globals);
  const absl::Status written = text ? WriteText(**run, *range, flags)
                                    : WriteBundle(**run, range->first, range->last, flags.out);
  if (!written.ok()) return Fail(written, globals);
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(flags.out, error);
  if (globals.json) {
    WriteRow({{"path", flags.out}, {"iterations", {range->first, range->last}}, {"bytes", bytes}});
  } else {
    std::cout << Sanitise(flags.out) << "  iterations " << range->first << " to " << range->last
              << ", " << bytes << " bytes\n";
  }
  return kDone;
}

}  // namespace

Action SetUpExport(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<Flags>();
  app.add_option("RUN", flags->run, "a run's directory, or a file of `hone export`")->required();
  app.add_option("--iterations", flags->iterations, "N or A..B; default: all");
  app.add_option("-o,--out", flags->out, "the new file");
  app.add_option(
         "--jsonl", flags->jsonl,
         "verl: a JSON line a completion, as verl dumps rollouts; inspect: a log of Inspect")
      ->check(CLI::IsMember({"verl", "inspect"}));
  app.add_flag("--html", flags->html, "one page that needs nothing else and runs no script");
  app.add_option("--chrome-trace", flags->chrome_trace,
                 "the new file: where the time went, for Perfetto or chrome://tracing");
  app.add_flag("--redact", flags->redact, "of --jsonl and --html: without the texts");
  app.footer(
      "Without --jsonl, --html and --chrome-trace: a file that `hone replay FILE` makes again "
      "elsewhere.");
  return [flags, &globals] { return Exported(*flags, globals); };
}

}  // namespace hone::cli
