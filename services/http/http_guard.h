// SPDX-License-Identifier: Apache-2.0
//
// Who may ask: the checks that stand before every handler.
#ifndef HONE_SERVICES_HTTP_HTTP_GUARD_H_
#define HONE_SERVICES_HTTP_HTTP_GUARD_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/http/http.h"

namespace hone {

struct HttpGuardOptions {
  std::string token;               // empty: none is asked for (loopback alone)
  std::string host;                // the address listened on, without port
  std::vector<std::string> names;  // further names that this server may be called by
  int port = 0;
  std::string allow_host_flag = "--allow-host";  // which adds to `names`
};

// Pure: the same request always gets the same answer.
class HttpGuard {
 public:
  explicit HttpGuard(HttpGuardOptions options) : options_(std::move(options)) {}

  // nullopt: go on. Otherwise the answer:
  //   403  a Host that is not ours (DNS rebinding), an Origin that is not the page's own, a request
  //        that another site's page made
  //   401  no token, or a wrong one
  //   303  the right token in the address: it moves into a cookie, and out of the address
  std::optional<HttpResponse> Check(const HttpRequest& request) const;

 private:
  bool IsOurHost(const std::string& host_header) const;
  HttpGuardOptions options_;
};

// 127.0.0.0/8, ::1 or localhost.
bool IsLoopback(const std::string& host);
// 32 random bytes as hex digits.
std::string MakeToken();
// The first line of a file that nobody else may read. INVALID_ARGUMENT: shorter than 16 or longer
// than 256 characters, or others than letters, digits, '-', '_', '.'; PERMISSION_DENIED: others may
// read it.
absl::StatusOr<std::string> ReadToken(const std::string& path);

}  // namespace hone

#endif  // HONE_SERVICES_HTTP_HTTP_GUARD_H_
