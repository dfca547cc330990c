// SPDX-License-Identifier: Apache-2.0
//
// HTTP/1.1 over TCP, GET and HEAD alone, bounded in every direction, behind the guard of
// http_guard.h. Boost.Beast stays in http_server.cc.
#ifndef HONE_SERVICES_HTTP_HTTP_SERVER_H_
#define HONE_SERVICES_HTTP_HTTP_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/http/http.h"

namespace hone {

struct HttpServerOptions {
  std::string host = "127.0.0.1";      // an IPv4 or IPv6 address
  int port = 0;                        // 0: any free one
  std::string token;                   // REQUIRED where others can reach `host`
  std::vector<std::string> names;      // further host names that it may be called by
  std::string flag_prefix = "--";      // of the flags that errors name: --listen, --allow-host
  size_t max_header_bytes = 16 << 10;  // request line and headers: 431 beyond
  size_t max_connections = 128;        // more are closed at once
  int handler_threads = 2;
  absl::Duration read_timeout = absl::Seconds(15);   // a request, from its first wait on
  absl::Duration write_timeout = absl::Seconds(60);  // a response, or a piece of one
  absl::Duration ping_every = absl::Seconds(10);     // on event streams
};

class HttpServer {
 public:
  // Listens and serves until it goes away; what the guard refuses never reaches the handler. Every
  // response carries the headers that keep hostile text inert (docs/view.md). UNAVAILABLE: the
  // address is in use; INVALID_ARGUMENT: it is none; PERMISSION_DENIED: no token for an address
  // that others reach.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options,
                                                           HttpHandler handler);
  ~HttpServer();  // breaks connections off; waits for handlers

  int port() const;
  // http://HOST:PORT/PATH, with the token where there is one; `path` without the slash.
  std::string Address(const std::string& path, bool with_token) const;
  // To every event stream: `event` and `data` are one line each. A stream that does not read is
  // closed; its browser connects again.
  void Broadcast(const std::string& event, const std::string& data);
  size_t event_streams() const;

  struct Impl;  // http_server.cc

 private:
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone

#endif  // HONE_SERVICES_HTTP_HTTP_SERVER_H_
