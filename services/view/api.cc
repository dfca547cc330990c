// SPDX-License-Identifier: Apache-2.0
#include "services/view/api.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "rollout/store/browse.h"
#include "services/trainer/resources.h"
#include "services/view/api_parts.h"

namespace hone::view {
namespace {

constexpr int64_t kMaxEvents = 1000;

// "finished", "interrupted", "failed: ...", "running", "killed"; empty: no attempt yet.
std::string StateOf(const std::vector<AttemptRecord>& attempts) {
  if (attempts.empty()) return "";
  const AttemptRecord& last = attempts.back();
  if (!last.end_reason.empty()) return last.end_reason;
  if (last.host != HostName()) return "running or killed";
  const bool alive = kill(static_cast<pid_t>(last.pid), 0) == 0 || errno == EPERM;
  return alive ? "running" : "killed";
}

Json TimeOf(absl::Time time) {
  if (time == absl::Time()) return nullptr;
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

absl::StatusOr<Json> EvaluationsOf(Store& store) {
  const absl::StatusOr<std::vector<EvaluationOutcome>> summaries = ReadEvaluationOutcomes(store);
  if (!summaries.ok()) return summaries.status();
  Json rows = Json::array();
  for (const EvaluationOutcome& summary : *summaries) {
    rows.push_back({{"iteration", summary.iteration},
                    {"version", summary.version},
                    {"name", summary.name},
                    {"n", summary.n},
                    {"k", summary.k},
                    {"accuracy", Figure(summary.accuracy)},
                    {"ci_low", Figure(summary.ci_low)},
                    {"ci_high", Figure(summary.ci_high)},
                    {"truncated", summary.truncated},
                    {"outages", summary.outages}});
  }
  return rows;
}

// What a list says of a run.
absl::StatusOr<Json> Describe(ViewedRun& run) {
  const absl::StatusOr<bool> fresh = run.Refresh();
  if (!fresh.ok()) return fresh.status();
  absl::StatusOr<Json> json = DescribeProgress(run);
  if (!json.ok()) return json;
  (*json)["path"] = run.path;
  const absl::StatusOr<RunRecord> record = run.store().GetRun();
  if (!record.ok()) return record.status();
  (*json)["id"] = record->id;
  (*json)["parent_run"] = record->parent_run;
  (*json)["code_version"] = record->code_version;
  const absl::StatusOr<std::vector<AttemptRecord>> attempts = run.store().Attempts();
  if (!attempts.ok()) return attempts.status();
  if (!attempts->empty()) (*json)["started"] = TimeOf(attempts->front().started);
  absl::StatusOr<Json> evaluations = EvaluationsOf(run.store());
  if (!evaluations.ok()) return evaluations.status();
  (*json)["evaluations"] = *std::move(evaluations);
  Json& last = (*json)["last"] = Json::object();
  for (const auto& [name, points] : run.index().metrics()) {
    if (points.back().iteration == run.index().last_iteration()) {
      last[name] = Figure(points.back().value);
    }
  }
  return json;
}

absl::StatusOr<Json> GetRuns(RunSet& runs, const HttpRequest&) {
  runs.Scan();
  Json rows = Json::array();
  for (const std::shared_ptr<ViewedRun>& run : runs.All()) {
    std::lock_guard<std::mutex> lock(run->mutex);
    absl::StatusOr<Json> row = Describe(*run);
    rows.push_back(row.ok() ? *std::move(row)
                            : Json{{"key", run->key},
                                   {"path", run->path},
                                   {"error", std::string(row.status().message())}});
  }
  return Json{{"runs", std::move(rows)}};
}

absl::StatusOr<Json> GetRun(RunSet& runs, const HttpRequest& request) {
  absl::StatusOr<OpenRun> open = OpenNamed(runs, request);
  if (!open.ok()) return open.status();
  absl::StatusOr<Json> json = Describe(*open->run);
  if (!json.ok()) return json;
  const absl::StatusOr<RunRecord> record = open->store().GetRun();
  if (!record.ok()) return record.status();
  (*json)["config"] = record->config;
  const absl::StatusOr<std::vector<AttemptRecord>> attempts = open->store().Attempts();
  if (!attempts.ok()) return attempts.status();
  for (const AttemptRecord& attempt : *attempts) {
    (*json)["attempts"].push_back({{"n", attempt.n},
                                   {"started", TimeOf(attempt.started)},
                                   {"ended", TimeOf(attempt.ended)},
                                   {"end_reason", attempt.end_reason},
                                   {"host", attempt.host},
                                   {"environment", attempt.environment_json}});
  }
  const absl::StatusOr<std::vector<RunEvent>> events = ReadEvents(open->store(), kMaxEvents);
  if (!events.ok()) return events.status();
  (*json)["events"] = Json::array();
  for (const RunEvent& event : *events) {
    (*json)["events"].push_back(
        {{"at", event.at_us == 0 ? Json() : TimeOf(absl::FromUnixMicros(event.at_us))},
         {"iteration", event.iteration},
         {"kind", event.kind},
         {"text", event.text}});
  }
  return json;
}

// Named figures of a run from after an iteration on; without names, what names there are.
// The curve of an evaluation has those before and after training as well, which are of more tasks
// and no metric of an iteration.
using Points = std::vector<MetricPoint>;
absl::StatusOr<std::map<std::string, Points>> MetricsOf(const OpenRun& open) {
  std::map<std::string, Points> metrics = open.index().metrics();
  const absl::StatusOr<std::vector<EvaluationOutcome>> summaries =
      ReadEvaluationOutcomes(open.store());
  if (!summaries.ok()) return summaries.status();
  for (const EvaluationOutcome& summary : *summaries) {
    Points& points =
        metrics[absl::StrCat("eval/", absl::StripSuffix(summary.name, "/full"), "/accuracy")];
    const auto at = std::lower_bound(
        points.begin(), points.end(), summary.iteration,
        [](const MetricPoint& point, int64_t iteration) { return point.iteration < iteration; });
    if (at == points.end() || at->iteration != summary.iteration) {
      points.insert(at, {summary.iteration, summary.accuracy});
    } else if (absl::EndsWith(summary.name, "/full")) {
      at->value = summary.accuracy;
    }
  }
  return metrics;
}

absl::StatusOr<Json> GetMetrics(RunSet& runs, const HttpRequest& request) {
  const absl::StatusOr<OpenRun> open = OpenNamed(runs, request);
  if (!open.ok()) return open.status();
  const absl::StatusOr<int64_t> after =
      NumberOf(request, "after", 0, 0, std::numeric_limits<int64_t>::max());
  if (!after.ok()) return after.status();
  const absl::StatusOr<std::map<std::string, Points>> metrics = MetricsOf(*open);
  if (!metrics.ok()) return metrics.status();
  Json json{{"run", open->run->key}, {"iteration", open->index().last_iteration()}};
  if (request.query.count("names") == 0) {
    json["names"] = Json::array();
    for (const auto& [name, points] : *metrics) json["names"].push_back(name);
    return json;
  }
  Json& series = json["series"] = Json::object();
  for (const absl::string_view name :
       absl::StrSplit(TextOf(request, "names"), ',', absl::SkipEmpty())) {
    Json& points = series[std::string(name)] = Json::array();
    const auto found = metrics->find(std::string(name));
    if (found == metrics->end()) continue;
    for (const MetricPoint& point : found->second) {
      if (point.iteration > *after || *after == 0) {
        points.push_back(Json::array({point.iteration, Figure(point.value)}));
      }
    }
  }
  return json;
}

using Route = absl::StatusOr<Json> (*)(RunSet&, const HttpRequest&);
constexpr std::pair<const char*, Route> kRoutes[] = {
    {"/api/runs", GetRuns},           {"/api/run", GetRun},
    {"/api/metrics", GetMetrics},     {"/api/groups", GetGroups},
    {"/api/group", GetGroup},         {"/api/trajectory", GetTrajectory},
    {"/api/rows", GetRows},           {"/api/compare", GetComparison},
    {"/api/evaluated", GetEvaluated},
};

}  // namespace

HttpResponse JsonResponse(const Json& document) {
  HttpResponse response;
  response.content_type = "application/json";
  response.body = document.dump(-1, ' ', false, Json::error_handler_t::replace);
  return response;
}

Json Figure(double value) {
  double rounded = 0;
  if (!absl::SimpleAtod(absl::StrCat(value), &rounded)) return nullptr;
  return rounded;  // dumped as null where it is not a number
}

std::string TextOf(const HttpRequest& request, const std::string& name) {
  const auto found = request.query.find(name);
  return found == request.query.end() ? "" : found->second;
}

absl::StatusOr<int64_t> NumberOf(const HttpRequest& request, const std::string& name,
                                 int64_t otherwise, int64_t low, int64_t high) {
  const std::string text = TextOf(request, name);
  if (text.empty()) return otherwise;
  int64_t number = 0;
  if (absl::SimpleAtoi(text, &number) && number >= low && number <= high) return number;
  return absl::InvalidArgumentError(
      absl::StrCat(name, "=", text, ": expected a whole number from ", low, " to ", high));
}

absl::StatusOr<OpenRun> OpenNamed(RunSet& runs, const HttpRequest& request,
                                  const std::string& name) {
  const std::string key = TextOf(request, name);
  if (key.empty()) return absl::InvalidArgumentError(absl::StrCat(name, "= is missing"));
  absl::StatusOr<std::shared_ptr<ViewedRun>> run = runs.Find(key);
  if (!run.ok()) return run.status();
  std::unique_lock<std::mutex> lock((*run)->mutex);
  const absl::StatusOr<bool> fresh = (*run)->Refresh();
  if (!fresh.ok()) return fresh.status();
  return OpenRun{*std::move(run), std::move(lock)};
}

absl::StatusOr<Json> DescribeProgress(ViewedRun& run) {
  const absl::StatusOr<std::vector<AttemptRecord>> attempts = run.store().Attempts();
  if (!attempts.ok()) return attempts.status();
  return Json{{"key", run.key},
              {"state", StateOf(*attempts)},
              {"iterations", run.index().last_iteration()},
              {"groups", run.index().groups().size()},
              {"trajectories", run.index().trajectories().size()}};
}

HttpResponse HandleApi(RunSet& runs, const HttpRequest& request) {
  std::optional<HttpResponse> file = Download(runs, request);
  if (file) return *std::move(file);
  for (const auto& [path, route] : kRoutes) {
    if (request.path != path) continue;
    const absl::StatusOr<Json> document = route(runs, request);
    return document.ok() ? JsonResponse(*document) : ErrorResponse(document.status());
  }
  return ErrorResponse(absl::NotFoundError(absl::StrCat("nothing is at ", request.path)));
}

}  // namespace hone::view
