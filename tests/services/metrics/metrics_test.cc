// SPDX-License-Identifier: Apache-2.0
//
// What services count, read as Prometheus reads it.
#include <thread>

#include "gtest/gtest.h"
#include "services/clients/remote_policy.h"
#include "services/http/http.h"
#include "services/metrics/metrics_server.h"
#include "services/metrics/policy_metrics.h"
#include "services/metrics/process_metrics.h"
#include "services/metrics/registry.h"
#include "services/metrics/verdict_metrics.h"
#include "services/rpc/server.h"
#include "services/servers/policy_server.h"
#include "tests/policy/fake_policy.h"
#include "tests/services/metrics/exposition.h"
#include "tests/services/serving.h"
#include "tests/verifier/fake_verifier.h"
#include "verifier/code/tally.h"

namespace hone {
namespace {

Exposition Read(MetricRegistry& registry) {
  const std::string text = registry.Write();
  absl::StatusOr<Exposition> parsed = Exposition::Parse(text);
  EXPECT_TRUE(parsed.ok()) << parsed.status() << "\n" << text;
  return parsed.ok() ? *std::move(parsed) : Exposition();
}

TEST(Exposition, TheParserOfTheseTestsRefusesWhatTheGrammarDoes) {
  const std::string head = "# HELP a_total b\n# TYPE a_total counter\n";
  EXPECT_TRUE(Exposition::Parse(head + "a_total{x=\"\\\\ \\\" \\n\"} 1e3\n").ok());
  for (const char* line :
       {"a_total 1", "a_total{x=\"1\n\"} 1\n", "a_total{x=\"\\q\"} 1\n", "a_total{x=1} 1\n",
        "a_total  1\n", "a_total one\n", "a_total inf\n", "a_total -1\n", "b_total 1\n",
        "a_total{x=\"1\",x=\"2\"} 1\n", "a_total 1\na_total 2\n", "a_total{x=\"1\" 1\n", "# hm\n",
        "# TYPE a_total counter\n", "a_total{x=\"\xff\"} 1\n", "1a 1\n"}) {
    EXPECT_FALSE(Exposition::Parse(head + line).ok()) << line;
  }
  const std::string bars = "# HELP h b\n# TYPE h histogram\n";
  const std::string good = "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 5\nh_count 2\n";
  EXPECT_TRUE(Exposition::Parse(bars + good).ok());
  for (const char* lines :
       {"h_bucket{le=\"1\"} 1\nh_sum 5\nh_count 1\n",
        "h_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_sum 5\nh_count 2\n",
        "h_bucket{le=\"+Inf\"} 2\nh_count 2\n", "h_bucket{le=\"+Inf\"} 2\nh_sum 5\nh_count 3\n",
        "h_bucket 2\nh_sum 5\nh_count 2\n", "h 1\n"}) {
    EXPECT_FALSE(Exposition::Parse(bars + lines).ok()) << lines;
  }
}

TEST(Registry, WritesEveryKindAsTheFormatWants) {
  MetricRegistry registry;
  registry.AddCounter("hone_a_total", "back\\slash and\nline end")->Add(2.5);
  registry.AddGauge("hone_b", "b", {"x", "y"}).With({"quote \" back \\ end \n", "ü"}).Set(-1e-300);
  Histogram& histogram = *registry.AddHistogram("hone_c_seconds", "c", {0.1, 1}, {});
  histogram.Observe(0.1);  // the bound is inside its bucket
  histogram.Observe(0.5, 3);
  histogram.Observe(100);
  const Exposition read = Read(registry);
  EXPECT_EQ(read.Value("hone_a_total"), 2.5);
  EXPECT_EQ(read.helps().at("hone_a_total"), "back\\\\slash and\\nline end");
  EXPECT_EQ(read.Value("hone_b", {{"x", "quote \" back \\ end \n"}, {"y", "ü"}}), -1e-300);
  EXPECT_EQ(read.TypeOf("hone_c_seconds"), "histogram");
  EXPECT_EQ(read.Value("hone_c_seconds_bucket", {{"le", "0.1"}}), 1);
  EXPECT_EQ(read.Value("hone_c_seconds_bucket", {{"le", "1"}}), 4);
  EXPECT_EQ(read.Value("hone_c_seconds_bucket", {{"le", "+Inf"}}), 5);
  EXPECT_DOUBLE_EQ(read.Value("hone_c_seconds_sum"), 101.6);
}

TEST(Registry, CountersOnlyGrow) {
  Counter counter;
  counter.Add(3);
  counter.Add(-2);
  counter.Add(std::nan(""));
  counter.RaiseTo(2);
  EXPECT_EQ(counter.value(), 3);
  counter.RaiseTo(7);
  EXPECT_EQ(counter.value(), 7);
}

TEST(Registry, LabelsFromOutsideAreBoundedAndBytesThatAreNoTextAreReplaced) {
  MetricRegistry registry;
  MetricFamily<Counter>& family = registry.AddCounter("hone_a_total", "a", {"x"});
  for (int i = 0; i < 1000; ++i) family.With({absl::StrCat("x\xff", i)}).Add();
  EXPECT_EQ(family.All().size(), MetricFamily<Counter>::kMaxSeries);
  const Exposition read = Read(registry);
  EXPECT_EQ(read.Value("hone_a_total", {{"x", "x?0"}}), 1);
  EXPECT_EQ(read.Value("hone_a_total", {{"x", "other"}}), 937);
}

TEST(Registry, AFamilyIsFoundAgainUnderItsName) {
  MetricRegistry registry;
  registry.AddCounter("hone_a_total", "a")->Add(1);
  registry.AddCounter("hone_a_total", "a")->Add(1);
  EXPECT_EQ(Read(registry).Value("hone_a_total"), 2);
}

TEST(Registry, LosesNothingWhenManyCount) {
  MetricRegistry registry;
  Counter& counter = *registry.AddCounter("hone_a_total", "a");
  Histogram& histogram = *registry.AddHistogram("hone_b_seconds", "b", SecondsBuckets());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) {
        counter.Add();
        histogram.Observe(0.25);
        if (i % 1000 == 0) (void)registry.Write();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Exposition read = Read(registry);
  EXPECT_EQ(read.Value("hone_a_total"), 40000);
  EXPECT_EQ(read.Value("hone_b_seconds_count"), 40000);
  EXPECT_EQ(read.Value("hone_b_seconds_sum"), 10000);
}

TEST(Registry, AHookLooksAtEveryWritingUntilItGoes) {
  MetricRegistry registry;
  int looked = 0;
  MetricRegistry::Hook hook = registry.BeforeWriting([&] { ++looked; });
  (void)registry.Write();
  (void)registry.Write();
  hook.reset();
  (void)registry.Write();
  EXPECT_EQ(looked, 2);
}

TEST(ProcessMetrics, SayWhatTheProcessIsAndUses) {
  MetricRegistry registry;
  const MetricRegistry::Hook hook = AddProcessMetrics(registry, "test");
  const Exposition first = Read(registry);
  EXPECT_GT(first.Value("process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(first.Value("process_open_fds"), 2);
  EXPECT_LT(first.Value("process_open_fds"), first.Value("process_max_fds"));
  EXPECT_GE(first.Value("process_threads"), 1);
  EXPECT_NEAR(first.Value("process_start_time_seconds"), absl::ToUnixSeconds(absl::Now()), 600);
  EXPECT_EQ(first.Value("hone_build_info",
                        {{"version", "0.1.0"}, {"compiler", __VERSION__}, {"service", "test"}}),
            1);
  const double cpu = first.Value("process_cpu_seconds_total");
  volatile double work = 1;
  while (Read(registry).Value("process_cpu_seconds_total") < cpu + 0.02) work = work * 1.0000001;
  EXPECT_GT(cpu, 0);
}

TEST(MetricsServer, AnswersAtItsPathAloneAndCountsGoOnBetweenTwoLooks) {
  MetricRegistry registry;
  Counter& counter = *registry.AddCounter("hone_a_total", "a");
  HttpRequest request;
  request.path = "/metrics";
  counter.Add();
  const HttpResponse one = AnswerMetrics(registry, request);
  EXPECT_EQ(one.status, 200);
  EXPECT_EQ(one.content_type, "text/plain; version=0.0.4; charset=utf-8");
  counter.Add();
  const HttpResponse two = AnswerMetrics(registry, request);
  EXPECT_EQ(Exposition::Parse(one.body)->Value("hone_a_total"), 1);
  EXPECT_EQ(Exposition::Parse(two.body)->Value("hone_a_total"), 2);
  request.path = "/";
  EXPECT_EQ(AnswerMetrics(registry, request).status, 404);
}

TEST(MetricsServer, DoesNotListenWhereOthersReachItWithoutAToken) {
  MetricRegistry registry;
  HttpServerOptions options;
  options.host = "0.0.0.0";
  const absl::Status status = MetricsServer::Start(options, registry).status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "--metrics-token-file")) << status;
}

GenerateRequest Ask(const std::string& id, int32_t n) {
  GenerateRequest request;
  request.request_id = id;
  request.prompt = {1, 2, 3};
  request.n = n;
  request.sampling.max_tokens = 5;
  return request;
}

TEST(PolicyMetrics, CountTokensCompletionsAndWhatIsOnItsWay) {
  MetricRegistry registry;
  FakePolicy fake;
  MeasuredPolicy policy(fake, &fake, registry);
  const auto completions = GenerateAll(policy, {Ask("a", 2), Ask("b", 1)});
  ASSERT_TRUE(completions.ok()) << completions.status();
  Exposition read = Read(registry);
  EXPECT_EQ(read.Value("hone_prompt_tokens_total"), 6);
  EXPECT_EQ(read.Value("hone_generation_tokens_total"), 15);
  EXPECT_EQ(read.Value("hone_completions_total", {{"stop_reason", "length"}}), 3);
  EXPECT_EQ(read.Value("hone_e2e_request_latency_seconds_count"), 3);
  EXPECT_EQ(read.Value("hone_time_to_first_token_seconds_count"), 3);
  EXPECT_EQ(read.Value("hone_policy_version"), 0);
  // What a call leaves behind is nothing, also when its caller or the policy breaks off.
  double running = -1, waiting = -1;
  (void)policy.Generate({Ask("a", 2), Ask("b", 2)}, [&](GenerateChunk chunk) {
    if (chunk.request_id == "a") return true;
    waiting = registry.AddGauge("hone_num_requests_waiting", "")->value();
    running = registry.AddGauge("hone_num_requests_running", "")->value();
    return false;
  });
  EXPECT_EQ(waiting, 1);
  EXPECT_EQ(running, 0);  // the fake's completions come whole
  fake.OnGenerate([](int) { return absl::UnavailableError("gone"); });
  EXPECT_TRUE(
      absl::IsUnavailable(policy.Generate({Ask("a", 4)}, [](GenerateChunk) { return true; })));
  read = Read(registry);
  EXPECT_EQ(read.Value("hone_num_requests_waiting"), 0);
  EXPECT_EQ(read.Value("hone_num_requests_running"), 0);
}

TEST(PolicyMetrics, FollowTheVersionThroughUpdates) {
  MetricRegistry registry;
  FakePolicy fake;
  MeasuredPolicy policy(fake, &fake, registry);
  ForwardBackwardRequest pass;
  pass.sequences.resize(1);
  pass.sequences[0].tokens = {1, 2, 3};
  pass.sequences[0].loss_mask = {0, 1, 1};
  pass.loss.name = "cross_entropy";
  ASSERT_TRUE(policy.ForwardBackward(pass).ok()) << policy.ForwardBackward(pass).status();
  const auto stepped = policy.OptimStep({0, "u", {0.1}});
  ASSERT_TRUE(stepped.ok()) << stepped.status();
  const Exposition read = Read(registry);
  EXPECT_EQ(read.Value("hone_policy_version"), static_cast<double>(stepped->version));
  EXPECT_EQ(read.Value("hone_learner_seconds_count", {{"call", "optim_step"}}), 1);
}

TEST(VerdictMetrics, CountVerdictsByOutcomeAndOutagesApart) {
  MetricRegistry registry;
  VerdictMetrics metrics(registry);
  const auto fake = std::make_shared<FakeVerifier>();
  fake->Script({FakeAct::Answer(), FakeAct::Outage(), FakeAct::Fail(absl::UnavailableError("x")),
                FakeAct::Skip()});
  const std::shared_ptr<Verifier> verifier = MeasureVerifier(fake, metrics);
  const std::vector<Question> questions = {MakeQuestion("a", "a"), MakeQuestion("b", "a")};
  for (int call = 0; call < 4; ++call) (void)verifier->Verify(questions);
  const Exposition read = Read(registry);
  EXPECT_EQ(read.Value("hone_verifier_verdicts_total", {{"outcome", "correct"}}), 1);
  EXPECT_EQ(read.Value("hone_verifier_verdicts_total", {{"outcome", "wrong"}}), 1);
  EXPECT_EQ(read.Value("hone_verifier_verdicts_total", {{"outcome", "skipped"}}), 2);
  EXPECT_EQ(read.Value("hone_verifier_verdicts_total", {{"outcome", "violation"}}), 0);
  EXPECT_EQ(read.Value("hone_verifier_outages_total"), 4);
}

TEST(VerdictMetrics, TellWhichLimitEndedAProgram) {
  MetricRegistry registry;
  VerdictMetrics metrics(registry);
  const std::vector<std::pair<SandboxEnding, std::string>> endings = {
      {SandboxEnding::kCpuLimit, "cpu_time"},
      {SandboxEnding::kWallLimit, "wall_time"},
      {SandboxEnding::kMemoryLimit, "memory"},
      {SandboxEnding::kOutputLimit, "output"},
      {SandboxEnding::kProcessLimit, "processes"}};
  for (const auto& [ending, name] : endings) {
    SandboxReport report;
    report.ending = ending;
    Tally tally;
    tally.Add(FailureOf(report, SandboxLimits()));
    Verdict verdict;
    ConcludeTally(tally, &verdict);
    verdict.verifier = "code/1/abc";
    metrics.Count(verdict);
    EXPECT_EQ(Read(registry).Value("hone_sandbox_kills_total", {{"limit", name}}), 1)
        << verdict.detail;
  }
}

TEST(RpcMetrics, CountCallsByMethodAndCodeAndNotWhatNobodyServes) {
  MetricRegistry registry;
  FakePolicy fake;
  PolicyServer server(BorrowPolicy(&fake, &fake), PolicyServerOptions());
  TestDirectory directory;
  rpc::ServerOptions options;
  options.listen = absl::StrCat("unix:", directory / "s");
  options.metrics = &registry;
  auto serving = rpc::Server::Start(options, {server.service()});
  ASSERT_TRUE(serving.ok()) << serving.status();
  auto remote = RemotePolicy::Connect(options.listen);
  ASSERT_TRUE(remote.ok()) << remote.status();
  ASSERT_TRUE((*remote)->Info().ok());
  EXPECT_FALSE(GenerateAll(**remote, {GenerateRequest{}}).ok());
  (*serving)->Shutdown(absl::Seconds(5));  // every call has left
  const Exposition read = Read(registry);
  const std::string info = "PolicyService/Info";
  EXPECT_GE(read.Value("hone_rpc_requests_total", {{"method", info}, {"code", "OK"}}), 1);
  EXPECT_EQ(read.Value("hone_rpc_requests_total",
                       {{"method", "PolicyService/Generate"}, {"code", "INVALID_ARGUMENT"}}),
            1);
  EXPECT_GE(read.Value("hone_rpc_request_seconds_count", {{"method", info}}), 1);
  EXPECT_EQ(read.Value("hone_rpc_requests_running", {{"method", info}}), 0);
}

}  // namespace
}  // namespace hone
