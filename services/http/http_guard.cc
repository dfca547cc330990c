// SPDX-License-Identifier: Apache-2.0
#include "services/http/http_guard.h"

#include <arpa/inet.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace hone {
namespace {

constexpr size_t kMinTokenBytes = 16;
constexpr size_t kMaxTokenBytes = 256;

// As long whatever the first difference is.
bool IsSame(absl::string_view a, absl::string_view b) {
  if (a.size() != b.size()) return false;
  uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<uint8_t>(a[i] ^ b[i]);
  return difference == 0;
}

bool IsAddress(const std::string& host) {
  in_addr four;
  in6_addr six;
  return inet_pton(AF_INET, host.c_str(), &four) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &six) == 1;
}

HttpResponse Refuse(absl::string_view why) {
  return ErrorResponse(absl::PermissionDeniedError(why));
}

std::string CookieNamed(const std::string& cookies, absl::string_view name) {
  for (const absl::string_view field : absl::StrSplit(cookies, ';')) {
    const absl::string_view cookie = absl::StripAsciiWhitespace(field);
    if (absl::StartsWith(cookie, name) && cookie.size() > name.size() &&
        cookie[name.size()] == '=') {
      return std::string(cookie.substr(name.size() + 1));
    }
  }
  return "";
}

}  // namespace

bool HttpGuard::IsOurHost(const std::string& host_header) const {
  std::string host = absl::AsciiStrToLower(host_header);
  int port = 80;
  const size_t colon = host.rfind(':');
  if (colon != std::string::npos && host.find(']', colon) == std::string::npos) {
    if (!absl::SimpleAtoi(host.substr(colon + 1), &port)) return false;
    host.resize(colon);
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (port != options_.port) return false;
  if (std::find(options_.names.begin(), options_.names.end(), host) != options_.names.end()) {
    return true;
  }
  if (IsLoopback(options_.host)) return IsLoopback(host);
  // An address cannot be rebound: only names can.
  return IsAddress(host) || host == options_.host;
}

std::optional<HttpResponse> HttpGuard::Check(const HttpRequest& request) const {
  const std::string host = request.Header("host");
  if (!IsOurHost(host)) {
    return Refuse(absl::StrCat("this server is not called '", host,
                               "': use the address it printed, or start it with ",
                               options_.allow_host_flag));
  }
  const std::string origin = request.Header("origin");
  if (!origin.empty() && origin != absl::StrCat("http://", host)) {
    return Refuse(absl::StrCat("requests from pages of ", origin, " are refused"));
  }
  const std::string site = request.Header("sec-fetch-site");
  const bool opened = request.path == "/" && request.Header("sec-fetch-mode") == "navigate" &&
                      request.Header("sec-fetch-dest") == "document";
  if (!site.empty() && site != "same-origin" && site != "none" && !opened) {
    return Refuse("requests that another site's page makes are refused");
  }
  if (options_.token.empty()) return std::nullopt;
  const std::string name = absl::StrCat("hone-view-", options_.port);
  const auto given = request.query.find("token");
  if (given != request.query.end() && request.path == "/" &&
      IsSame(given->second, options_.token)) {
    HttpResponse moved;
    moved.status = 303;
    moved.headers.emplace_back("Location", "/");
    moved.headers.emplace_back("Set-Cookie", absl::StrCat(name, "=", options_.token,
                                                          "; Path=/; HttpOnly; SameSite=Strict"));
    return moved;
  }
  const std::string bearer = request.Header("authorization");
  if (absl::StartsWith(bearer, "Bearer ") && IsSame(bearer.substr(7), options_.token)) {
    return std::nullopt;
  }
  if (IsSame(CookieNamed(request.Header("cookie"), name), options_.token)) return std::nullopt;
  return ErrorResponse(absl::UnauthenticatedError(
      "a token is needed: open the address that was printed, which ends in ?token=..., or send "
      "'Authorization: Bearer TOKEN'"));
}

bool IsLoopback(const std::string& host) {
  in_addr four;
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  return host == "::1" || host == "localhost";
}

std::string MakeToken() {
  std::string bytes(32, '\0');
  const ssize_t got = getrandom(bytes.data(), bytes.size(), 0);
  assert(got == static_cast<ssize_t>(bytes.size()));
  std::string hex;
  for (const char c : bytes) {
    absl::StrAppend(&hex, absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
  }
  return hex;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return absl::NotFoundError(absl::StrCat("no token file ", path));
  }
  if ((info.st_mode & 077) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("others may read the token file ", path, ": chmod 600 it"));
  }
  std::string line(kMaxTokenBytes + 2, '\0');  // a longer one is refused below
  std::ifstream file(path, std::ios::binary);
  file.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<size_t>(file.gcount()));
  const std::string token(absl::StripAsciiWhitespace(line.substr(0, line.find('\n'))));
  const bool plain = std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  });
  if (token.size() < kMinTokenBytes || token.size() > kMaxTokenBytes || !plain) {
    return absl::InvalidArgumentError(
        absl::StrCat("the first line of ", path, " is to be a token of ", kMinTokenBytes, " to ",
                     kMaxTokenBytes, " letters, digits, '-', '_' or '.'"));
  }
  return token;
}

}  // namespace hone
