// SPDX-License-Identifier: Apache-2.0
#include "services/http/http.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "rollout/store/sqlite.h"

namespace hone {
namespace {

constexpr size_t kMaxParameters = 64;

int HttpStatus(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kFailedPrecondition:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

absl::StatusOr<std::string> Decode(absl::string_view text, bool plus_is_blank) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_blank) {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return absl::InvalidArgumentError("the address has a bad %XX");
      out.push_back(static_cast<char>(high << 4 | low));
      i += 2;
    }
  }
  if (!IsPlainText(out)) {
    return absl::InvalidArgumentError("the address is to be valid UTF-8 without NUL");
  }
  return out;
}

}  // namespace

HttpResponse ErrorResponse(const absl::Status& status) {
  HttpResponse response;
  response.status = HttpStatus(status.code());
  response.content_type = "application/json";
  nlohmann::json error;
  error["error"]["kind"] = absl::StatusCodeToString(status.code());
  error["error"]["message"] = std::string(status.message());
  response.body = error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return response;
}

absl::Status ParseTarget(absl::string_view target, HttpRequest* request) {
  if (target.empty() || target[0] != '/') {
    return absl::InvalidArgumentError("the address is to begin with '/'");
  }
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(target, absl::MaxSplits('?', 1));
  absl::StatusOr<std::string> path = Decode(parts.first, /*plus_is_blank=*/false);
  if (!path.ok()) return path.status();
  request->path = *std::move(path);
  size_t count = 0;
  for (const absl::string_view field : absl::StrSplit(parts.second, '&', absl::SkipEmpty())) {
    if (++count > kMaxParameters) {
      return absl::InvalidArgumentError(
          absl::StrCat("the address has more than ", kMaxParameters, " parameters"));
    }
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(field, absl::MaxSplits('=', 1));
    absl::StatusOr<std::string> name = Decode(pair.first, /*plus_is_blank=*/true);
    absl::StatusOr<std::string> value = Decode(pair.second, /*plus_is_blank=*/true);
    if (!name.ok()) return name.status();
    if (!value.ok()) return value.status();
    request->query[*std::move(name)] = *std::move(value);
  }
  return absl::OkStatus();
}

}  // namespace hone
