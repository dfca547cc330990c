// SPDX-License-Identifier: Apache-2.0
//
// The server over real sockets, and the JSON it gives.
#include "services/view/view_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "rollout/store/retention.h"
#include "services/view/api.h"
#include "services/view/static_files.h"
#include "tests/rollout/store/random_group.h"
#include "tests/services/metrics/exposition.h"
#include "tests/services/view/view_run.h"

namespace hone::view {
namespace {

// A socket that says what it is told to.
class RawClient {
 public:
  explicit RawClient(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval limit{10, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    connected_ = connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawClient() { close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void Send(const std::string& bytes) {
    EXPECT_TRUE(connected_);
    send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  // Until `end` was read, or the other side closed.
  std::string ReadUntil(const std::string& end) {
    std::string text;
    char piece[65536];
    while (end.empty() || !absl::StrContains(text, end)) {
      const ssize_t got = recv(socket_, piece, sizeof piece, 0);
      if (got <= 0) break;
      text.append(piece, static_cast<size_t>(got));
    }
    return text;
  }

 private:
  int socket_;
  bool connected_ = false;
};

class ViewServerTest : public testing::Test {
 protected:
  void SetUp() override {
    run_ = std::make_unique<ViewRun>(folder_.path() + "/a", "a");
    run_->AddIteration(11, 4);
    run_->AddIteration(3, 4);
    run_->AddEvaluation(0, "held", {true, false, false, false, false, false, false, true});
    run_->AddEvaluation(2, "held", {true, true, true, true, true, true, true, false});
    ViewOptions options;
    options.runs = {folder_.path()};
    options.poll_every = absl::Milliseconds(20);
    options.http.read_timeout = absl::Milliseconds(500);
    options.http.max_connections = 16;
    auto server = ViewServer::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // The whole answer to one request line.
  std::string Raw(const std::string& request) {
    RawClient client(server_->port());
    client.Send(request);
    return client.ReadUntil("");
  }
  std::string Answer(const std::string& target, const std::string& method = "GET") {
    return Raw(absl::StrCat(method, " ", target, " HTTP/1.1\r\nHost: 127.0.0.1:", server_->port(),
                            "\r\nConnection: close\r\n\r\n"));
  }
  static int StatusOf(const std::string& answer) {
    int status = 0;
    return answer.size() > 12 && absl::SimpleAtoi(answer.substr(9, 3), &status) ? status : 0;
  }
  static std::string BodyOf(const std::string& answer) {
    const size_t end = answer.find("\r\n\r\n");
    return end == std::string::npos ? "" : answer.substr(end + 4);
  }
  Json Get(const std::string& target) {
    const std::string answer = Answer(target);
    EXPECT_EQ(StatusOf(answer), 200) << target << "\n" << answer;
    return Json::parse(BodyOf(answer), nullptr, false);
  }

  Folder folder_;
  std::unique_ptr<ViewRun> run_;
  std::unique_ptr<ViewServer> server_;
};

TEST_F(ViewServerTest, EveryPageIsThereWithTheHeadersThatKeepHostileTextInert) {
  std::vector<std::string> targets = StaticPaths();
  EXPECT_GE(targets.size(), 10u);
  targets.insert(targets.end(), {"/", "/api/runs", "/api/nothing", "/nothing"});
  for (const std::string& target : targets) {
    const std::string answer = Answer(target);
    EXPECT_EQ(StatusOf(answer), absl::StrContains(target, "nothing") ? 404 : 200) << target;
    for (const char* header :
         {"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; ",
          "require-trusted-types-for 'script'; trusted-types 'none'",
          "X-Content-Type-Options: nosniff", "X-Frame-Options: DENY",
          "Cross-Origin-Resource-Policy: same-origin", "Cache-Control: no-store"}) {
      EXPECT_TRUE(absl::StrContains(answer, header)) << target << " lacks " << header;
    }
    EXPECT_FALSE(absl::StrContains(answer, "unsafe-inline")) << target;
    EXPECT_FALSE(absl::StrContains(answer, "Access-Control-Allow")) << target;
  }
}

TEST_F(ViewServerTest, OnlyReadingIsAnswered) {
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"}) {
    EXPECT_EQ(StatusOf(Answer("/api/runs", method)), 405) << method;
  }
  const std::string head = Answer("/api/runs", "HEAD");
  EXPECT_EQ(StatusOf(head), 200);
  EXPECT_EQ(BodyOf(head), "");
}

TEST_F(ViewServerTest, WhatIsTooLargeOrNoHttpIsRefused) {
  const std::string host = absl::StrCat("Host: 127.0.0.1:", server_->port(), "\r\n");
  EXPECT_EQ(StatusOf(Answer("/?a=" + std::string(20000, 'x'))), 431);
  EXPECT_EQ(
      StatusOf(Raw("GET / HTTP/1.1\r\n" + host + "X: " + std::string(20000, 'x') + "\r\n\r\n")),
      431);
  const std::string body = Raw("GET / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello");
  EXPECT_EQ(StatusOf(body), 413) << body;
  EXPECT_EQ(Raw("hello\r\n\r\n"), "");
  EXPECT_EQ(StatusOf(Answer("/%ff")), 400);
  EXPECT_EQ(StatusOf(Raw("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")),
            403);
}

TEST_F(ViewServerTest, WhoSaysNothingIsLetGoAndOthersAreServedMeanwhile) {
  RawClient silent(server_->port());
  silent.Send("GET / HT");
  EXPECT_EQ(StatusOf(Answer("/")), 200);
  EXPECT_EQ(silent.ReadUntil(""), "");  // closed after the time limit
  // More connections than there may be: the last are closed, and room comes back.
  std::vector<std::unique_ptr<RawClient>> many;
  for (int i = 0; i < 40; ++i) many.push_back(std::make_unique<RawClient>(server_->port()));
  many.clear();
  int status = 0;
  for (int i = 0; i < 100 && status != 200; ++i) {
    status = StatusOf(Answer("/"));
    if (status != 200) usleep(20000);
  }
  EXPECT_EQ(status, 200);
}

TEST_F(ViewServerTest, NoPathReachesAFileOrARunThatWasNotGiven) {
  for (const char* target :
       {"/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
        "/static/../style.css", "/style.css/", "/./style.css", "/STYLE.CSS"}) {
    EXPECT_EQ(StatusOf(Answer(target)), 404) << target;
  }
  for (const char* run : {"..", "../a", "/etc", "a%2f..%2fa", ".", "a%00"}) {
    const int status = StatusOf(Answer(absl::StrCat("/api/run?run=", run)));
    EXPECT_TRUE(status == 404 || status == 400) << run;
  }
}

TEST_F(ViewServerTest, AnAddressThatOthersReachNeedsAToken) {
  ViewOptions options;
  options.runs = {folder_.path()};
  options.http.host = "0.0.0.0";
  EXPECT_TRUE(absl::IsPermissionDenied(ViewServer::Start(options).status()));
  options.http.host = "127.0.0.1";
  options.http.port = server_->port();
  EXPECT_TRUE(absl::IsUnavailable(ViewServer::Start(options).status()));
  options.http.host = "not an address";
  options.http.token = "0123456789abcdef";
  EXPECT_TRUE(absl::IsInvalidArgument(ViewServer::Start(options).status()));
}

TEST_F(ViewServerTest, CountsItsRequestsForPrometheusBehindTheSameGuard) {
  const auto read = [&] {
    const auto parsed = Exposition::Parse(BodyOf(Answer("/metrics")));
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    return parsed.ok() ? *parsed : Exposition();
  };
  const Exposition::Labels runs = {{"page", "/api/runs"}, {"code", "200"}};
  (void)Answer("/api/runs");
  EXPECT_EQ(read().Value("hone_http_requests_total", runs), 1);
  (void)Answer("/api/runs");
  for (int i = 0; i < 70; ++i) (void)Answer(absl::StrCat("/api/nothing", i));
  const Exposition after = read();
  EXPECT_EQ(after.Value("hone_http_requests_total", runs), 2);
  EXPECT_EQ(after.Value("hone_http_requests_total", {{"page", "unknown"}, {"code", "404"}}), 70);
  EXPECT_EQ(after.Value("hone_http_request_seconds_count", {{"page", "unknown"}}), 70);
  EXPECT_EQ(after.Value("hone_view_runs"), 1);
  EXPECT_EQ(StatusOf(Raw("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n"
                         "Connection: close\r\n\r\n")),
            403);
}

TEST_F(ViewServerTest, RunsAreListedWithWhatTheyCameTo) {
  const Json runs = Get("/api/runs");
  ASSERT_EQ(runs["runs"].size(), 1u);
  const Json& run = runs["runs"][0];
  EXPECT_EQ(run["key"], "a");
  EXPECT_EQ(run["iterations"], 2);
  EXPECT_EQ(run["groups"], 14);
  EXPECT_EQ(run["trajectories"], 56);
  EXPECT_EQ(run["last"]["reward/mean"], 0.52);
  EXPECT_EQ(run["evaluations"].size(), 2u);
  EXPECT_EQ(run["state"], "running or killed");
  // A run that appears, and one that cannot be read.
  ViewRun other(folder_.path() + "/b", "b");
  std::filesystem::create_directories(folder_.path() + "/c");
  std::ofstream(folder_.path() + "/c/store.sqlite") << "no store";
  const Json again = Get("/api/runs");
  ASSERT_EQ(again["runs"].size(), 3u);
  EXPECT_EQ(again["runs"][1]["key"], "b");
  EXPECT_TRUE(again["runs"][2].contains("error"));
}

TEST_F(ViewServerTest, MetricsComeByNameAndFromAnIterationOn) {
  const Json names = Get("/api/metrics?run=a");
  EXPECT_TRUE(absl::StrContains(names["names"].dump(), "time/rollout_s"));
  const Json all = Get("/api/metrics?run=a&names=reward/mean,nothing");
  EXPECT_EQ(all["series"]["reward/mean"].dump(), "[[1,0.51],[2,0.52]]");
  EXPECT_EQ(all["series"]["nothing"].dump(), "[]");
  EXPECT_EQ(Get("/api/metrics?run=a&names=reward/mean&after=1")["series"]["reward/mean"].dump(),
            "[[2,0.52]]");
  EXPECT_EQ(StatusOf(Answer("/api/metrics?run=a&names=x&after=-1")), 400);
}

TEST_F(ViewServerTest, TheCurveOfAnEvaluationBeginsBeforeTraining) {
  const Json points = Get("/api/metrics?run=a&names=eval/held/accuracy")["series"];
  EXPECT_EQ(points["eval/held/accuracy"].dump(), "[[0,0.25],[2,0.875]]");
}

TEST_F(ViewServerTest, AGridAGroupAndATrajectoryAgreeWithTheStore) {
  const Json grid = Get("/api/groups?run=a&iteration=2");
  ASSERT_EQ(grid["groups"].size(), 3u);
  EXPECT_EQ(grid["groups"][1]["disagreement"], 0);
  const std::string group_id = grid["groups"][1]["id"];
  const auto stored = run_->store().GetGroup(group_id);
  ASSERT_TRUE(stored.ok() && stored->has_value());
  const Json group = Get("/api/group?run=a&id=" + group_id);
  ASSERT_EQ(group["trajectories"].size(), 4u);
  EXPECT_EQ(group["answer"], "19");
  const Trajectory& t = (*stored)->trajectories[2];
  EXPECT_EQ(group["trajectories"][2]["completion"], t.completion());
  const Json one = Get("/api/trajectory?run=a&id=" + t.id.substr(0, 12));
  EXPECT_EQ(one["id"], t.id);
  EXPECT_EQ(one["token_ids"].size(), t.tokens.size());
  EXPECT_EQ(one["siblings"].size(), 4u);
  EXPECT_NEAR(one["channels"]["behaviour_logprobs"].back().get<double>(),
              t.behaviour_logprobs.back(), 1e-5);
  EXPECT_EQ(one["verdict"]["evidence"]["expected"], "<i>19</i>");
  EXPECT_EQ(one["reward_parts"].size(), 2u);
  // What the tokens say is what the segments say, and the token that ends it.
  std::string said;
  for (const Json& text : one["texts"]) said += text.get<std::string>();
  EXPECT_EQ(said, t.segments[0].text + t.segments[1].text + "<eos>");
  EXPECT_EQ(StatusOf(Answer("/api/trajectory?run=a&id=zzzz")), 404);
  EXPECT_EQ(StatusOf(Answer("/api/group?run=a&id=zzzz")), 404);
}

TEST_F(ViewServerTest, ATrajectoryWhoseTokensWereNotKeptShowsWhatIsLeftAndSaysSo) {
  ASSERT_TRUE(RemoveTraces(run_->store(), {0, false}, 2).ok());
  const Json rows = Get("/api/rows?run=a&limit=1");
  const Json one =
      Get(absl::StrCat("/api/trajectory?run=a&id=", rows["rows"][0]["id"].get<std::string>()));
  EXPECT_TRUE(absl::StrContains(one["not_kept"].get<std::string>(), "hone replay"));
  EXPECT_TRUE(one["token_ids"].empty());
  EXPECT_TRUE(one["texts"].empty());
  EXPECT_TRUE(one["segments"].empty());
  EXPECT_EQ(one["verdict"]["evidence"]["expected"], "<i>19</i>");
  EXPECT_EQ(one["reward_parts"].size(), 2u);
  EXPECT_EQ(Get("/api/groups?run=a&iteration=2")["groups"].size(), 3u);
}

TEST_F(ViewServerTest, WithoutItsTokenizerATrajectoryIsShownByIdsAndSaysSo) {
  std::filesystem::remove_all(folder_.path() + "/a/checkpoints");
  const Json rows = Get("/api/rows?run=a&limit=1");
  const Json one =
      Get(absl::StrCat("/api/trajectory?run=a&id=", rows["rows"][0]["id"].get<std::string>()));
  EXPECT_FALSE(one.contains("texts"));
  EXPECT_TRUE(absl::StrContains(one["no_texts"].get<std::string>(), "no tokenizer.json"));
}

TEST_F(ViewServerTest, RowsAreFilteredSearchedAndPaged) {
  EXPECT_EQ(Get("/api/rows?run=a&filter=iteration%3D2")["total"], 12);
  std::set<std::string> seen;
  std::string next;
  do {
    const Json page = Get("/api/rows?run=a&limit=9&sort=advantage&desc=1&after=" + next);
    EXPECT_EQ(page["total"], 56);
    for (const Json& row : page["rows"]) EXPECT_TRUE(seen.insert(row["id"]).second);
    next = page["next"];
  } while (!next.empty());
  EXPECT_EQ(seen.size(), 56u);
  EXPECT_EQ(StatusOf(Answer("/api/rows?run=a&filter=speed%3E3")), 400);
  EXPECT_EQ(StatusOf(Answer("/api/rows?run=a&limit=100000")), 400);
  EXPECT_EQ(StatusOf(Answer("/api/rows?run=nothing")), 404);
  // The index is filled when an iteration is recorded.
  const Json found = Get("/api/rows?run=a&search=zebra");
  EXPECT_EQ(found["total"], 12);
  EXPECT_EQ(found["unsearched_texts"], 0);
  // A text that stands once for a group is found with each of its completions.
  EXPECT_EQ(Get("/api/rows?run=a&search=from+3+7+12")["total"], 12);
  EXPECT_EQ(Get("/api/rows?run=a&search=zebra+OR+nothing")["total"], 0);
  EXPECT_EQ(Get("/api/rows?run=a&search=zebra+OR+nothing&syntax=query")["total"], 12);
  EXPECT_EQ(StatusOf(Answer("/api/rows?run=a&search=zebra+AND&syntax=query")), 400);
  // Whatever is typed is no syntax error.
  for (const char* text : {"%22", "*", "a%22b", "AND", "%28", "x%3Ay", "-"}) {
    EXPECT_EQ(StatusOf(Answer(absl::StrCat("/api/rows?run=a&search=", text))), 200) << text;
  }
}

TEST_F(ViewServerTest, ADownloadHasEveryRowThatMatchesWhole) {
  const std::string answer = Answer("/api/export.jsonl?run=a&filter=iteration%3D1");
  EXPECT_TRUE(absl::StrContains(answer, "Content-Disposition: attachment"));
  std::string body = BodyOf(answer), text;
  while (!body.empty()) {  // the chunks of the transfer
    const size_t end = body.find("\r\n");
    const size_t size = std::stoul(body.substr(0, end), nullptr, 16);
    if (size == 0) break;
    text += body.substr(end + 2, size);
    body = body.substr(end + 2 + size + 2);
  }
  EXPECT_EQ(body, "0\r\n\r\n");
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 44u);
  const Json row = Json::parse(lines[0]);
  const auto stored = run_->store().GetTrajectory(row["id"]);
  ASSERT_TRUE(stored.ok() && stored->has_value());
  EXPECT_EQ(row["completion"], (*stored)->completion());
  EXPECT_EQ(row["advantage"].get<double>(), (*stored)->advantage);
  EXPECT_EQ(StatusOf(Answer("/api/export.jsonl?run=a&filter=x")), 400);
}

TEST_F(ViewServerTest, FilesToKeepAreDownloadsAndNeverPages) {
  const std::string table = Answer("/api/metrics.csv?runs=a&names=reward/mean,none");
  EXPECT_EQ(StatusOf(table), 200);
  EXPECT_TRUE(absl::StrContains(table, "Content-Disposition: attachment"));
  EXPECT_EQ(BodyOf(table),
            "run,iteration,\"reward/mean\",\"none\"\r\n\"a\",1,0.51,\r\n\"a\",2,0.52,\r\n");
  EXPECT_TRUE(absl::StrContains(BodyOf(Answer("/api/metrics.csv?runs=a")), "\"time/update_s\""));
  // What a spreadsheet would compute with is a text.
  EXPECT_TRUE(
      absl::StrContains(BodyOf(Answer("/api/metrics.csv?runs=a&names=%3DHYPERLINK(%22x%22)")),
                        "\"'=HYPERLINK(\"\"x\"\")\""));
  EXPECT_EQ(StatusOf(Answer("/api/metrics.csv?runs=b")), 404);
  EXPECT_EQ(StatusOf(Answer("/api/metrics.csv")), 400);
  const std::string trace = Answer("/api/trace.json?run=a");
  EXPECT_TRUE(absl::StrContains(trace, "Content-Disposition: attachment"));
  const Json events = Json::parse(BodyOf(trace), nullptr, false)["traceEvents"];
  size_t rollouts = 0;
  for (const Json& event : events) rollouts += event["name"] == "rollout";
  EXPECT_EQ(rollouts, 2u);
  EXPECT_EQ(StatusOf(Answer("/api/report.html?run=a&iteration=0")), 400);
  const std::string report = Answer("/api/report.html?run=a&iteration=1");
  EXPECT_EQ(StatusOf(report), 200);
  EXPECT_TRUE(absl::StrContains(report, "Content-Disposition: attachment"));
  EXPECT_TRUE(absl::StrContains(BodyOf(report), "&lt;script&gt;"));
  EXPECT_FALSE(absl::StrContains(BodyOf(report), "<script"));
}

TEST_F(ViewServerTest, TwoEvaluationsAreComparedTaskByTask) {
  const Json c = Get("/api/compare?a=a&ai=0&b=a&bi=2&name=held");
  EXPECT_EQ(c["tasks"], 8);
  EXPECT_EQ(c["both"], 1);
  EXPECT_EQ(c["b_only_right"], 6);
  EXPECT_EQ(c["a_only_right"], 1);
  EXPECT_EQ(c["neither"], 0);
  EXPECT_EQ(c["p"], 0.125);  // 2 (1 + 7) / 2^7
  EXPECT_EQ(c["accuracy_a"], 0.25);
  EXPECT_EQ(c["rows"][0]["task"], "heldout/1");
  const Json one = Get("/api/evaluated?run=a&iteration=2&name=held&position=1");
  EXPECT_EQ(one["completions"].size(), 1u);
  EXPECT_TRUE(absl::StrContains(one["completions"][0]["completion"].get<std::string>(), "right "));
  EXPECT_EQ(StatusOf(Answer("/api/compare?a=a&ai=1&b=a&bi=2&name=held")), 404);
  const Json training = Get("/api/compare?a=a&ai=0&b=a&bi=0");
  EXPECT_EQ(training["tasks"], 14);
  EXPECT_EQ(training["b_only_right"], 0);
}

TEST_F(ViewServerTest, AnEventStreamTellsOfARunThatGrowsAndEndsWithIt) {
  RawClient client(server_->port());
  client.Send(
      absl::StrCat("GET /events HTTP/1.1\r\nHost: 127.0.0.1:", server_->port(), "\r\n\r\n"));
  const std::string head = client.ReadUntil("\"iterations\":2");
  EXPECT_TRUE(absl::StrContains(head, "Content-Type: text/event-stream"));
  EXPECT_TRUE(absl::StrContains(head, "event: run\ndata: {\"key\":\"a\""));
  run_->AddIteration(2, 4);
  EXPECT_TRUE(absl::StrContains(client.ReadUntil("\"iterations\":3"), "\"trajectories\":64"));
  server_.reset();  // does not wait for those who listen
  EXPECT_FALSE(absl::StrContains(client.ReadUntil(""), "\"iterations\":4"));
}

TEST_F(ViewServerTest, AStoreThatWasReplacedIsOpenedAgain) {
  EXPECT_EQ(Get("/api/runs")["runs"][0]["groups"], 14);
  run_.reset();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(folder_.path() + "/a/store.sqlite" + suffix);
  }
  EXPECT_TRUE(Get("/api/runs")["runs"][0].contains("error"));
  run_ = std::make_unique<ViewRun>(folder_.path() + "/a", "a");
  run_->AddIteration(5, 2);
  EXPECT_EQ(Get("/api/runs")["runs"][0]["groups"], 5);
}

TEST(Pages, HoldNothingThatTurnsTextIntoElementsOrCode) {
  for (const std::string& path : StaticPaths()) {
    const std::string text = StaticFile(path)->body;
    for (const char* word :
         {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function",
          "DOMParser", "createContextualFragment", "setHTML", "srcdoc", "javascript:", "style=\"",
          "onclick=\"", "http://", "https://", ".cookie", "localStorage"}) {
      if (path == "/icon.svg" || (std::string(word) == "http://" && path == "/dom.js")) continue;
      EXPECT_FALSE(absl::StrContains(text, word)) << path << " holds " << word;
    }
    EXPECT_TRUE(absl::StrContains(text, "SPDX") || path == "/icon.svg") << path;
  }
}

}  // namespace
}  // namespace hone::view
