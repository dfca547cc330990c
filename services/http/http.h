// SPDX-License-Identifier: Apache-2.0
//
// A request and a response, as handlers see them. No sockets here.
#ifndef HONE_SERVICES_HTTP_HTTP_H_
#define HONE_SERVICES_HTTP_HTTP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hone {

struct HttpRequest {
  std::string method;                          // GET or HEAD: others never get here
  std::string path;                            // decoded once, begins with '/'
  std::map<std::string, std::string> query;    // decoded once; of a name given twice the last
  std::map<std::string, std::string> headers;  // lower-case names; of one given twice the last

  std::string Header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  // When set the body comes in pieces instead: false ends it. An error breaks the connection off,
  // so that what came before is never taken for the whole.
  std::function<absl::StatusOr<bool>(std::string* piece)> next;
  bool event_stream = false;  // stays open; HttpServer::Broadcast writes to it
};

// Must be thread-safe.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

// {"error":{"kind","message"}} with the status that belongs to it.
HttpResponse ErrorResponse(const absl::Status& status);

// "/path?a=b&c" into path and query. INVALID_ARGUMENT: no path, a bad %XX, a NUL, bytes that are
// not UTF-8, more than 64 parameters.
absl::Status ParseTarget(absl::string_view target, HttpRequest* request);

}  // namespace hone

#endif  // HONE_SERVICES_HTTP_HTTP_H_
