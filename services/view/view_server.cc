// SPDX-License-Identifier: Apache-2.0
#include "services/view/view_server.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "services/metrics/metrics_server.h"
#include "services/metrics/process_metrics.h"
#include "services/view/api.h"
#include "services/view/static_files.h"

namespace hone::view {

namespace {

// What a request asked for, of a list that does not grow with what is asked.
std::string PageOf(const HttpRequest& request, const HttpResponse& response) {
  if (response.status == 404) return "unknown";
  const bool own = absl::StartsWith(request.path, "/api/") || request.path == "/events" ||
                   request.path == "/metrics";
  return own ? request.path : "page";
}

}  // namespace

ViewServer::ViewServer(const ViewOptions& options)
    : options_(options),
      runs_(options.runs),
      requests_(metrics_.AddCounter("hone_http_requests_total", "requests that the guard let in",
                                    {"page", "code"})),
      seconds_(metrics_.AddHistogram("hone_http_request_seconds",
                                     "what a request took, its sending left out", SecondsBuckets(),
                                     {"page"})) {}

void ViewServer::AddMetrics() {
  process_ = AddProcessMetrics(metrics_, "view");
  Gauge& streams = *metrics_.AddGauge("hone_http_event_streams", "event streams that are open");
  Gauge& runs = *metrics_.AddGauge("hone_view_runs", "runs that are shown");
  streams_ = metrics_.BeforeWriting([this, &streams, &runs] {
    streams.Set(static_cast<double>(http_->event_streams()));
    runs.Set(static_cast<double>(runs_.All().size()));
  });
}

absl::StatusOr<std::unique_ptr<ViewServer>> ViewServer::Start(const ViewOptions& options) {
  std::unique_ptr<ViewServer> server(new ViewServer(options));
  server->runs_.Scan();
  ViewServer* raw = server.get();
  auto http = HttpServer::Start(options.http,
                                [raw](const HttpRequest& request) { return raw->Handle(request); });
  if (!http.ok()) return http.status();
  server->http_ = *std::move(http);
  server->AddMetrics();
  server->follower_ = std::thread([raw] { raw->Follow(); });
  return server;
}

ViewServer::~ViewServer() {
  stopping_ = true;
  if (follower_.joinable()) follower_.join();
  streams_.reset();
  http_.reset();
}

HttpResponse ViewServer::Handle(const HttpRequest& request) {
  const absl::Time began = absl::Now();
  HttpResponse response = Answer(request);
  const std::string page = PageOf(request, response);
  requests_.With({page, absl::StrCat(response.status)}).Add();
  seconds_.With({page}).Observe(absl::ToDoubleSeconds(absl::Now() - began));
  return response;
}

HttpResponse ViewServer::Answer(const HttpRequest& request) {
  if (request.path == "/events") {
    HttpResponse response;
    response.content_type = "text/event-stream";
    response.event_stream = true;
    return response;
  }
  if (request.path == "/metrics") return AnswerMetrics(metrics_, request);
  if (absl::StartsWith(request.path, "/api/")) return HandleApi(runs_, request);
  std::optional<HttpResponse> file = StaticFile(request.path);
  if (file) return *std::move(file);
  return ErrorResponse(absl::NotFoundError(absl::StrCat("nothing is at ", request.path)));
}

void ViewServer::Follow() {
  std::map<std::string, std::string> told;  // by run
  while (!stopping_) {
    absl::SleepFor(options_.poll_every);
    if (http_->event_streams() == 0) continue;
    runs_.Scan();
    for (const std::shared_ptr<ViewedRun>& run : runs_.All()) {
      std::unique_lock<std::mutex> lock(run->mutex);
      // A run that cannot be read says so in the list.
      if (!run->Refresh().ok()) continue;
      const absl::StatusOr<Json> progress = DescribeProgress(*run);
      lock.unlock();
      if (!progress.ok()) continue;
      const std::string text = progress->dump(-1, ' ', false, Json::error_handler_t::replace);
      if (std::exchange(told[run->key], text) != text) http_->Broadcast("run", text);
    }
  }
}

}  // namespace hone::view
