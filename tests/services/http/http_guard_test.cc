// SPDX-License-Identifier: Apache-2.0
#include "services/http/http_guard.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "services/http/http.h"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

HttpGuard Local() {
  HttpGuardOptions options;
  options.host = "127.0.0.1";
  options.port = 7860;
  return HttpGuard(options);
}

HttpRequest Ask(const std::string& host, std::map<std::string, std::string> headers = {}) {
  HttpRequest request;
  request.method = "GET";
  request.path = "/api/runs";
  request.headers = std::move(headers);
  request.headers["host"] = host;
  return request;
}

int StatusOf(const HttpGuard& guard, const HttpRequest& request) {
  const std::optional<HttpResponse> answer = guard.Check(request);
  return answer ? answer->status : 200;
}

TEST(HttpGuard, LetsThroughWhoCallsItByItsName) {
  for (const char* host : {"127.0.0.1:7860", "localhost:7860", "LOCALHOST:7860", "[::1]:7860"}) {
    EXPECT_EQ(StatusOf(Local(), Ask(host)), 200) << host;
  }
}

TEST(HttpGuard, RefusesNamesThatWereReboundToIt) {
  for (const char* host : {"evil.example:7860", "127.0.0.1.evil.example:7860", "127.0.0.1",
                           "127.0.0.1:80", "", "localhost:7860:7860", "localhost:x",
                           "10.0.0.1:7860", "localhost.:7860", "127.0.0.1:7860@evil.example"}) {
    EXPECT_EQ(StatusOf(Local(), Ask(host)), 403) << host;
  }
}

TEST(HttpGuard, RefusesOtherPagesByTheirOriginAndByWhatTheBrowserSays) {
  const std::string host = "127.0.0.1:7860";
  EXPECT_EQ(StatusOf(Local(), Ask(host, {{"origin", "http://127.0.0.1:7860"}})), 200);
  for (const char* origin : {"http://evil.example", "null", "https://127.0.0.1:7860",
                             "http://127.0.0.1:8000", "http://localhost:7860"}) {
    EXPECT_EQ(StatusOf(Local(), Ask(host, {{"origin", origin}})), 403) << origin;
  }
  for (const char* site : {"cross-site", "same-site"}) {
    EXPECT_EQ(StatusOf(Local(), Ask(host, {{"sec-fetch-site", site}})), 403) << site;
  }
  EXPECT_EQ(StatusOf(Local(), Ask(host, {{"sec-fetch-site", "same-origin"}})), 200);
}

TEST(HttpGuard, LetsALinkElsewhereOpenThePageButNotFrameIt) {
  HttpRequest link = Ask("localhost:7860", {{"sec-fetch-site", "cross-site"},
                                            {"sec-fetch-mode", "navigate"},
                                            {"sec-fetch-dest", "document"}});
  link.path = "/";
  EXPECT_EQ(StatusOf(Local(), link), 200);
  link.headers["sec-fetch-dest"] = "iframe";
  EXPECT_EQ(StatusOf(Local(), link), 403);
}

TEST(HttpGuard, WantsTheTokenAndMovesItFromTheAddressIntoACookie) {
  HttpGuardOptions options;
  options.host = "0.0.0.0";
  options.port = 7860;
  options.token = "0123456789abcdef";
  options.names = {"box.example"};
  const HttpGuard guard(options);
  EXPECT_EQ(StatusOf(guard, Ask("box.example:7860")), 401);
  EXPECT_EQ(StatusOf(guard, Ask("evil.example:7860")), 403);
  HttpRequest first = Ask("10.0.0.1:7860");
  first.path = "/";
  first.query["token"] = "0123456789abcdee";
  EXPECT_EQ(StatusOf(guard, first), 401);
  first.query["token"] = options.token;
  const std::optional<HttpResponse> moved = guard.Check(first);
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->status, 303);
  EXPECT_EQ(moved->headers[0].second, "/");
  EXPECT_EQ(moved->headers[1].second,
            "hone-view-7860=0123456789abcdef; Path=/; HttpOnly; SameSite=Strict");
  // Not in the address of anything else.
  first.path = "/api/runs";
  EXPECT_EQ(StatusOf(guard, first), 401);
  const auto with = [&](const char* name, const char* value) {
    return StatusOf(guard, Ask("10.0.0.1:7860", {{name, value}}));
  };
  EXPECT_EQ(with("cookie", "a=b; hone-view-7860=0123456789abcdef"), 200);
  EXPECT_EQ(with("cookie", "hone-view-7861=0123456789abcdef"), 401);
  EXPECT_EQ(with("cookie", "xhone-view-7860=0123456789abcdef"), 401);
  EXPECT_EQ(with("cookie", "hone-view-7860="), 401);
  EXPECT_EQ(with("authorization", "Bearer 0123456789abcdef"), 200);
  EXPECT_EQ(with("authorization", "Bearer "), 401);
}

TEST(HttpGuard, TokensAreLongAndNeverTheSame) {
  EXPECT_EQ(MakeToken().size(), 64u);
  EXPECT_NE(MakeToken(), MakeToken());
}

TEST(HttpGuard, ATokenFileIsForItsOwnerAloneAndHoldsARealToken) {
  Folder folder;
  const std::string path = folder.File("token");
  const auto read = [&](const std::string& text, mode_t mode) {
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    return ReadToken(path);
  };
  EXPECT_TRUE(absl::IsNotFound(ReadToken(path).status()));
  EXPECT_EQ(*read("0123456789abcdef\nmore\n", 0600), "0123456789abcdef");
  EXPECT_TRUE(absl::IsPermissionDenied(read("0123456789abcdef\n", 0644).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(read("short\n", 0600).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(read("0123456789abcdef; Path=/x\n", 0600).status()));
}

TEST(HttpGuard, KnowsWhatStaysOnThisMachine) {
  for (const char* host : {"127.0.0.1", "127.9.9.9", "::1", "localhost"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host : {"0.0.0.0", "10.0.0.1", "::", "localhost.example", "127.0.0.1.x", ""}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

TEST(Address, IsDecodedOnceAndCheckedAfter) {
  HttpRequest request;
  ASSERT_TRUE(ParseTarget("/api/rows?run=a%26b+c&filter=x%3D1&empty&x=%2525", &request).ok());
  EXPECT_EQ(request.path, "/api/rows");
  EXPECT_EQ(request.query.at("run"), "a&b c");
  EXPECT_EQ(request.query.at("filter"), "x=1");
  EXPECT_EQ(request.query.at("empty"), "");
  EXPECT_EQ(request.query.at("x"), "%25");
  std::string many = "/?";
  for (int i = 0; i < 65; ++i) absl::StrAppend(&many, "a", i, "=1&");
  for (const std::string& bad : {std::string(""), std::string("x"), std::string("/%"),
                                 std::string("/%4"), std::string("/%zz"), std::string("/?a=%00"),
                                 std::string("/?a=%ff"), std::string("/%c0%80"), many}) {
    HttpRequest other;
    EXPECT_TRUE(absl::IsInvalidArgument(ParseTarget(bad, &other))) << bad;
  }
}

}  // namespace
}  // namespace hone
