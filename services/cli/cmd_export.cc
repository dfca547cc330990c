// SPDX-License-Identifier: Apache-2.0
//
// hone export: iterations of a run as one file, to replay elsewhere or to read with other tools.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
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

absl::Status WriteText(const RecordedRun& run, const IterationRange& range, const Flags& flags,
                       const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    return absl::AlreadyExistsError(absl::StrCat(path, " exists"));
  }
  std::ofstream out(path, std::ios::binary);
  TraceExport traces(run, range.first, range.last, flags.redact);
  const absl::Status written = !flags.chrome_trace.empty() ? WriteTrace(run, range, out)
                               : flags.html                ? traces.WriteHtml(out)
                               : flags.jsonl == "inspect"  ? traces.WriteInspectLog(out)
                                                           : traces.WriteVerlRows(out);
  out.close();
  if (written.ok() && out) return absl::OkStatus();
  std::filesystem::remove(path, error);
  return written.ok() ? absl::ResourceExhaustedError("cannot write all of " + path) : written;
}

bool NamesFolder(const std::string& out) {
  std::error_code error;
  return absl::EndsWith(out, "/") || std::filesystem::is_directory(out, error);
}

// The names by which other tools find logs in a folder: verl's viewer wants STEP.jsonl, Inspect
// TIME_TASK_ID.json (and an export has no time of its own).
absl::Status WriteIntoFolder(const RecordedRun& run, const IterationRange& range,
                             const Flags& flags, uint64_t* bytes) {
  std::error_code error;
  std::filesystem::create_directories(flags.out, error);
  const std::filesystem::path folder(flags.out);
  const auto write = [&](const IterationRange& some, const std::string& name) {
    const std::string path = (folder / name).string();
    const absl::Status written = WriteText(run, some, flags, path);
    if (written.ok()) *bytes += std::filesystem::file_size(path, error);
    return written;
  };
  if (flags.jsonl == "inspect") {
    std::string task = run.config().name();
    std::replace_if(
        task.begin(), task.end(),
        [](char c) { return !absl::ascii_isalnum(static_cast<unsigned char>(c)); }, '-');
    return write(range, absl::StrCat("1970-01-01T00-00-00+00-00_", task, "_",
                                     run.record().id.substr(0, 22), ".json"));
  }
  for (int64_t i = range.first; i <= range.last; ++i) {
    const absl::Status written = write({i, i}, absl::StrCat(i, ".jsonl"));
    if (!written.ok()) return written;
  }
  return absl::OkStatus();
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
  const bool folder = !flags.jsonl.empty() && NamesFolder(flags.out);
  uint64_t bytes = 0;
  const absl::Status written = folder ? WriteIntoFolder(**run, *range, flags, &bytes)
                               : text ? WriteText(**run, *range, flags, flags.out)
                                      : WriteBundle(**run, range->first, range->last, flags.out);
  if (!written.ok()) return Fail(written, globals);
  std::error_code error;
  if (!folder) bytes = std::filesystem::file_size(flags.out, error);
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
  app.add_option("-o,--out", flags->out,
                 "the new file; of --jsonl also a folder (FOLDER/), with the names that the other "
                 "tool looks for: STEP.jsonl for verl, TIME_TASK_ID.json for Inspect");
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
