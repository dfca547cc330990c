// SPDX-License-Identifier: Apache-2.0
#include "services/rpc/address.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace hone::rpc {
namespace {

absl::Status Bad(absl::string_view text, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("address '", text, "': ", what, " (say unix:PATH or HOST:PORT)"));
}

bool IsLoopback(const std::string& host) {
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace

std::string Address::ToString() const {
  if (is_unix) return absl::StrCat("unix:", path);
  if (absl::StrContains(host, ":")) return absl::StrCat("[", host, "]:", port);
  return absl::StrCat(host, ":", port);
}

std::string Address::Target() const {
  if (is_unix) return ToString();
  return absl::StrCat(absl::StrContains(host, ":") ? "ipv6:" : "ipv4:", ToString());
}

absl::StatusOr<Address> ParseAddress(absl::string_view text) {
  Address address;
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    address.is_unix = true;
    address.path = std::string(rest);
    if (rest.empty()) return Bad(text, "the path is empty");
    if (rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return Bad(text, absl::StrCat("the path is ", rest.size(), " bytes, at most ",
                                    sizeof(sockaddr_un::sun_path) - 1));
    }
    return address;
  }
  const size_t colon = rest.rfind(':');
  if (colon == absl::string_view::npos) return Bad(text, "it has no port");
  absl::string_view host = rest.substr(0, colon);
  if (!absl::SimpleAtoi(rest.substr(colon + 1), &address.port) || address.port < 0 ||
      address.port > 65535) {
    return Bad(text, "the port is not a number in [0, 65535]");
  }
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  } else if (absl::StrContains(host, ":")) {
    return Bad(text, "an IPv6 host stands in brackets");
  }
  address.host = host == "localhost" ? "127.0.0.1" : std::string(host);
  if (address.host.empty()) return Bad(text, "the host is empty");
  if (!IsLoopback(address.host)) {
    return Bad(text, absl::StrCat("'", host,
                                  "' is not a loopback address. Hone speaks plain gRPC "
                                  "on this machine only; mTLS for other machines comes later. "
                                  "Until then use 127.0.0.1, a unix socket, or an SSH tunnel"));
  }
  return address;
}

}  // namespace hone::rpc
