// SPDX-License-Identifier: Apache-2.0
//
// What a browser may send: addresses, filters, and everything the guard reads of headers.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "rollout/store/row_filter.h"
#include "rollout/store/sqlite.h"
#include "services/http/http_guard.h"
#include "services/http/http.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  hone::HttpRequest request;
  if (hone::ParseTarget(text, &request).ok()) {
    assert(hone::IsPlainText(request.path) && request.path[0] == '/');
    for (const auto& [name, value] : request.query) {
      assert(hone::IsPlainText(name) && hone::IsPlainText(value));
    }
  }
  const auto filter = hone::RowFilter::Parse(text);
  assert(filter.ok() || !filter.status().message().empty());
  hone::HttpGuardOptions options;
  options.token = "0123456789abcdef";
  options.host = size % 2 == 0 ? "127.0.0.1" : "0.0.0.0";
  options.port = 7860;
  const size_t half = size / 2;
  request.headers["host"] = std::string(text.substr(0, half));
  request.headers["cookie"] = std::string(text.substr(half));
  request.query.clear();
  // Nobody gets in without the token.
  const bool has_token = text.find(options.token) != absl::string_view::npos;
  assert(hone::HttpGuard(options).Check(request).has_value() || has_token);
  return 0;
}
