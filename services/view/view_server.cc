// SPDX-License-Identifier: Apache-2.0
#include "services/view/view_server.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "services/view/api.h"
#include "services/view/static_files.h"

namespace hone::view {

ViewServer::ViewServer(const ViewOptions& options) : options_(options), runs_(options.runs) {}

absl::StatusOr<std::unique_ptr<ViewServer>> ViewServer::Start(const ViewOptions& options) {
  if (!IsLoopback(options.http.host) && options.token.empty()) {
    return absl::PermissionDeniedError(
        absl::StrCat("others can reach ", options.http.host, ": a token is needed"));
  }
  std::unique_ptr<ViewServer> server(new ViewServer(options));
  server->runs_.Scan();
  ViewServer* raw = server.get();
  auto http = HttpServer::Start(options.http,
                                [raw](const HttpRequest& request) { return raw->Handle(request); });
  if (!http.ok()) return http.status();
  server->http_ = *std::move(http);
  GuardOptions guard;
  guard.token = options.token;
  guard.host = options.http.host;
  guard.names = options.names;
  guard.port = server->http_->port();
  server->guard_ = std::make_unique<Guard>(guard);
  server->guarded_ = true;
  server->follower_ = std::thread([raw] { raw->Follow(); });
  return server;
}

ViewServer::~ViewServer() {
  stopping_ = true;
  if (follower_.joinable()) follower_.join();
  http_.reset();
}

std::string ViewServer::address() const {
  const bool six = absl::StrContains(options_.http.host, ":");
  return absl::StrCat("http://", six ? "[" : "", options_.http.host, six ? "]" : "", ":", port(),
                      "/", options_.token.empty() ? "" : "?token=", options_.token);
}

HttpResponse ViewServer::Handle(const HttpRequest& request) {
  // The port is known only once it listens: until then nobody is let in.
  if (!guarded_) return ErrorResponse(absl::UnavailableError("starting"));
  std::optional<HttpResponse> refusal = guard_->Check(request);
  if (refusal) return *std::move(refusal);
  if (request.path == "/events") {
    HttpResponse response;
    response.content_type = "text/event-stream";
    response.event_stream = true;
    return response;
  }
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
