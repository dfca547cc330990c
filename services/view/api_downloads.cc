// SPDX-License-Identifier: Apache-2.0
//
// What pages offer to keep: where the time went, metrics as a table, an iteration as a page.
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "services/replay/chrome_trace.h"
#include "services/replay/recorded_run.h"
#include "services/replay/trace_export.h"
#include "services/view/api_parts.h"

namespace hone::view {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
// A page is made in memory.
constexpr int64_t kMaxReportTokens = 4 << 20;

// Always a file, never a page of this server's: what it shows is not ours.
HttpResponse File(const char* type, const char* name, std::string body) {
  HttpResponse response;
  response.content_type = type;
  response.headers.emplace_back("Content-Disposition",
                                absl::StrCat("attachment; filename=\"", name, "\""));
  response.body = std::move(body);
  return response;
}

// A text of a table; what a spreadsheet would compute with becomes a text to it too.
std::string Cell(const std::string& text) {
  const bool computed = !text.empty() && absl::StrContains("=+-@\t\r", text[0]);
  return absl::StrCat("\"", computed ? "'" : "", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string Number(double value) {
  return std::isfinite(value) ? Json(value).dump() : "";
}

// Rows of one run, by iteration.
std::string MetricRows(const OpenRun& open, const std::vector<std::string>& names) {
  std::map<int64_t, std::vector<std::string>> rows;
  for (size_t i = 0; i < names.size(); ++i) {
    const auto found = open.index().metrics().find(names[i]);
    if (found == open.index().metrics().end()) continue;
    for (const MetricPoint& point : found->second) {
      std::vector<std::string>& row = rows[point.iteration];
      row.resize(names.size());
      row[i] = Number(point.value);
    }
  }
  std::string text;
  for (const auto& [iteration, row] : rows) {
    absl::StrAppend(&text, Cell(open.run->key), ",", iteration, ",", absl::StrJoin(row, ","),
                    "\r\n");
  }
  return text;
}

absl::StatusOr<HttpResponse> MetricTable(RunSet& runs, const HttpRequest& request) {
  std::vector<std::string> names = absl::StrSplit(TextOf(request, "names"), ',', absl::SkipEmpty());
  const std::vector<std::string> keys =
      absl::StrSplit(TextOf(request, "runs"), ',', absl::SkipEmpty());
  if (keys.empty()) return absl::InvalidArgumentError("runs= is missing");
  HttpRequest one = request;
  if (names.empty()) {
    std::set<std::string> all;
    for (const std::string& key : keys) {
      one.query["run"] = key;
      const absl::StatusOr<OpenRun> open = OpenNamed(runs, one);
      if (!open.ok()) return open.status();
      for (const auto& [name, points] : open->index().metrics()) all.insert(name);
    }
    names.assign(all.begin(), all.end());
  }
  std::string text = "run,iteration";
  for (const std::string& name : names) absl::StrAppend(&text, ",", Cell(name));
  absl::StrAppend(&text, "\r\n");
  for (const std::string& key : keys) {
    one.query["run"] = key;
    const absl::StatusOr<OpenRun> open = OpenNamed(runs, one);
    if (!open.ok()) return open.status();
    absl::StrAppend(&text, MetricRows(*open, names));
  }
  return File("text/csv; charset=utf-8", "metrics.csv", std::move(text));
}

absl::StatusOr<HttpResponse> Trace(RunSet& runs, const HttpRequest& request) {
  const absl::StatusOr<OpenRun> open = OpenNamed(runs, request);
  if (!open.ok()) return open.status();
  std::ostringstream out;
  const absl::Status written = WriteChromeTrace(open->store(), open->index(), 0, kNoLimit, out);
  if (!written.ok()) return written;
  return File("application/json", "trace.json", std::move(out).str());
}

absl::StatusOr<HttpResponse> Report(RunSet& runs, const HttpRequest& request) {
  const absl::StatusOr<int64_t> iteration = NumberOf(request, "iteration", 0, 1, kNoLimit);
  if (!iteration.ok()) return iteration.status();
  std::string path;
  {
    const absl::StatusOr<OpenRun> open = OpenNamed(runs, request);
    if (!open.ok()) return open.status();
    path = open->run->path;
    int64_t tokens = 0;
    for (const IndexedTrajectory& row : open->index().trajectories()) {
      if (open->index().groups()[row.group].iteration == *iteration) tokens += row.tokens;
    }
    if (tokens > kMaxReportTokens) {
      return absl::OutOfRangeError(absl::StrCat(
          "iteration ", *iteration, " has ", tokens, " tokens, and a page here at most ",
          kMaxReportTokens, "; `hone export RUN --html` writes any size to a file"));
    }
  }
  const absl::StatusOr<std::unique_ptr<RecordedRun>> run = RecordedRun::OpenTraces(path);
  if (!run.ok()) return run.status();
  if (*iteration < (*run)->first_iteration() || *iteration > (*run)->last_iteration()) {
    return absl::NotFoundError(absl::StrCat("this run has iterations ", (*run)->first_iteration(),
                                            " to ", (*run)->last_iteration(), ", not ",
                                            *iteration));
  }
  std::ostringstream out;
  const absl::Status written =
      TraceExport(**run, *iteration, *iteration, /*redact=*/false).WriteHtml(out);
  if (!written.ok()) return written;
  return File("text/html; charset=utf-8", "report.html", std::move(out).str());
}

}  // namespace

std::optional<HttpResponse> Download(RunSet& runs, const HttpRequest& request) {
  absl::StatusOr<HttpResponse> made = absl::UnknownError("");
  if (request.path == "/api/export.jsonl") return ExportRows(runs, request);
  if (request.path == "/api/metrics.csv") {
    made = MetricTable(runs, request);
  } else if (request.path == "/api/trace.json") {
    made = Trace(runs, request);
  } else if (request.path == "/api/report.html") {
    made = Report(runs, request);
  } else {
    return std::nullopt;
  }
  return made.ok() ? *std::move(made) : ErrorResponse(made.status());
}

}  // namespace hone::view
