// SPDX-License-Identifier: Apache-2.0
//
// Several servers as one verifier, queues, and what is left of it all while servers are killed.
#include "services/clients/verifier_group.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "hone/v1/verifier_service.grpc.pb.h"
#include "services/clients/verifier_spec.h"
#include "services/servers/call_gate.h"
#include "services/servers/verifier_server.h"
#include "tests/services/serving.h"
#include "tests/verifier/fake_verifier.h"

namespace hone {
namespace {

// One fake behind a server that can be killed and started.
struct Served {
  explicit Served(VerifierServerOptions options = {}, FakeVerifier::JudgeFunction judge = nullptr)
      : fake(std::make_shared<FakeVerifier>(std::move(judge))), server(pool, nullptr, options) {
    pool.Add("fake", fake);
  }
  std::shared_ptr<FakeVerifier> fake;
  VerifierPool pool;
  VerifierServer server;
  Serving serving{{server.service()}};
};

std::unique_ptr<VerifierGroup> Join(const std::vector<Served*>& servers,
                                    VerifierGroupOptions options = {}) {
  std::vector<std::string> addresses;
  for (Served* served : servers) addresses.push_back(served->serving.address());
  auto group = VerifierGroup::Connect(addresses, "fake", {}, options);
  EXPECT_TRUE(group.ok()) << group.status();
  return *std::move(group);
}

std::vector<Question> Questions(size_t count) {
  std::vector<Question> questions;
  for (size_t i = 0; i < count; ++i) {
    questions.push_back(MakeQuestion(i % 3 == 0 ? "yes" : "no", "yes"));
  }
  return questions;
}

TEST(VerifierGroup, AsksElsewhereWhenAnAddressIsDead) {
  Served a, b;
  const auto group = Join({&a, &b});
  a.serving.Kill();
  for (int i = 0; i < 4; ++i) {
    const auto verdicts = group->Verify(Questions(5));
    ASSERT_TRUE(verdicts.ok()) << verdicts.status();
    for (size_t j = 0; j < 5; ++j) EXPECT_TRUE(IsVerdict((*verdicts)[j].outcome));
  }
  EXPECT_EQ(a.fake->calls(), 0);
  EXPECT_EQ(b.fake->calls(), 4);
}

TEST(VerifierGroup, CallsBeginAtEachAddressInTurn) {
  Served a, b;
  const auto group = Join({&a, &b});
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(group->Verify(Questions(1)).ok());
  EXPECT_EQ(a.fake->calls(), 5);
  EXPECT_EQ(b.fake->calls(), 5);
}

TEST(VerifierGroup, AnItemThatIsAnOutageAtOneAddressIsAskedAtTheOther) {
  Served a, b;
  a.fake->Script({FakeAct::Outage()});
  const auto group = Join({&a, &b});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(group->Verify(Questions(3))->front().outcome, Outcome::kCorrect);
  }
  b.fake->Script({FakeAct::Outage()});
  EXPECT_EQ(group->Verify(Questions(3))->front().outcome, Outcome::kOutage);
}

TEST(VerifierGroup, NoAddressAtAllIsAnErrorAndNeverAVerdict) {
  Served a, b;
  VerifierGroupOptions options;
  options.rounds = 1;
  const auto group = Join({&a, &b}, options);
  a.serving.Kill();
  b.serving.Kill();
  EXPECT_EQ(group->Verify(Questions(3)).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(VerifierGroup::Connect({a.serving.address()}, "fake", {}).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(VerifierGroup, AnAddressThatComesLaterIsUsed) {
  Served a, b;
  b.serving.Kill();
  const auto group = Join({&a, &b});
  b.serving.Start();
  a.serving.Kill();
  absl::StatusOr<std::vector<Verdict>> verdicts = absl::UnavailableError("");
  for (int i = 0; i < 50 && !verdicts.ok(); ++i) verdicts = group->Verify(Questions(1));
  EXPECT_TRUE(verdicts.ok()) << verdicts.status();
}

TEST(VerifierGroup, TakesTheOnlyNameOfAServiceAndRefusesToGuess) {
  Served a;
  const auto only = OpenVerifier("grpc:" + a.serving.address(), {});
  ASSERT_TRUE(only.ok()) << only.status();
  EXPECT_EQ((*only)->Describe().name, "fake");
  a.pool.Add("other", a.fake);
  const auto two = OpenVerifier("grpc:" + a.serving.address(), {});
  EXPECT_TRUE(absl::StrContains(two.status().message(), "fake, other")) << two.status();
  EXPECT_TRUE(OpenVerifier("grpc:" + a.serving.address() + "#other", {}).ok());
}

// ---- The queue ----

struct Held {  // a fake whose every call waits until Release
  explicit Held(int slots, int queue) : served({slots, queue}) {
    served.fake->Script({FakeAct::Hang(absl::Seconds(30))});
  }
  std::map<std::string, int64_t> Stats() { return *RemoteVerifierStats(served.serving.address()); }
  void Await(const std::string& figure, int64_t value) {
    for (int i = 0; i < 500 && Stats()[figure] != value; ++i) absl::SleepFor(absl::Milliseconds(5));
    EXPECT_EQ(Stats()[figure], value) << figure;
  }
  std::thread Call(absl::StatusCode wanted, absl::Duration deadline = absl::Seconds(30)) {
    return std::thread([this, wanted, deadline] {
      RemoteVerifierOptions options;
      options.retry.attempts = 1;
      options.grace = absl::ZeroDuration();
      auto client = RemoteVerifier::Connect(served.serving.address(), "fake", {}, options);
      std::vector<Question> questions = Questions(2);
      for (Question& question : questions) question.deadline = absl::Now() + deadline;
      EXPECT_EQ((*client)->Verify(questions).status().code(), wanted);
    });
  }
  Served served;
};

TEST(VerifierServer, RefusesAtOnceWhatItsQueueCannotHoldAndCountsIt) {
  Held held(/*slots=*/1, /*queue=*/1);
  std::thread running = held.Call(absl::StatusCode::kOk);
  held.Await("running", 1);
  std::thread waiting = held.Call(absl::StatusCode::kOk);
  held.Await("queued", 1);
  const absl::Time begin = absl::Now();
  held.Call(absl::StatusCode::kResourceExhausted).join();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(5));
  held.served.fake->Release();
  running.join();
  waiting.join();
  auto stats = held.Stats();
  EXPECT_EQ(stats["calls"], 2);
  EXPECT_EQ(stats["calls_refused"], 1);
  EXPECT_EQ(stats["questions"], 4);
  EXPECT_EQ(stats["outcomes/correct"], 2);
  EXPECT_EQ(stats["outcomes/wrong"], 2);
  EXPECT_EQ(stats["slots"], 1);
  EXPECT_GT(stats["wait_p99_us"], 0);
}

TEST(VerifierServer, ACallLeavesTheQueueAtItsDeadline) {
  Held held(/*slots=*/1, /*queue=*/8);
  std::thread running = held.Call(absl::StatusCode::kOk);
  held.Await("running", 1);
  held.Call(absl::StatusCode::kDeadlineExceeded, absl::Milliseconds(200)).join();
  held.Await("calls_expired", 1);
  held.Await("queued", 0);
  held.served.fake->Release();
  running.join();
  EXPECT_EQ(held.served.fake->calls(), 1) << "it was never judged";
}

TEST(VerifierServer, FinishesWhatItAcceptedWhenItIsToldToEnd) {
  Held held(/*slots=*/1, /*queue=*/8);
  std::thread running = held.Call(absl::StatusCode::kOk);
  held.Await("running", 1);
  std::thread waiting = held.Call(absl::StatusCode::kOk);
  held.Await("queued", 1);
  std::thread release([&] {
    absl::SleepFor(absl::Milliseconds(100));
    held.served.fake->Release();
  });
  held.served.serving.Stop(absl::Seconds(20));
  running.join();
  waiting.join();
  release.join();
  EXPECT_EQ(held.served.fake->calls(), 2);
}

TEST(VerifierGroup, WaitsForASlotWhenEveryAddressIsFull) {
  Held held(/*slots=*/1, /*queue=*/0);
  const auto group = Join({&held.served});
  std::thread running = held.Call(absl::StatusCode::kOk);
  held.Await("running", 1);
  std::thread release([&] {
    absl::SleepFor(absl::Milliseconds(300));
    held.served.fake->Release();
  });
  EXPECT_TRUE(group->Verify(Questions(1)).ok());
  running.join();
  release.join();
}

TEST(CallGate, ServesInTheOrderOfArrival) {
  CallGate gate(1, 8);
  std::vector<int> order;
  std::vector<std::thread> threads;
  {
    CallGate::Slot first(gate);
    ASSERT_TRUE(first.Enter(absl::InfiniteFuture(), [] { return false; }).ok());
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&gate, &order, i] {
        CallGate::Slot slot(gate);
        if (slot.Enter(absl::InfiniteFuture(), [] { return false; }).ok()) order.push_back(i);
      });
      while (gate.stats().queued <= i) absl::SleepFor(absl::Milliseconds(1));
    }
    CallGate::Slot gone(gate);
    EXPECT_EQ(gone.Enter(absl::InfiniteFuture(), [] { return true; }).code(),
              absl::StatusCode::kCancelled);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

// ---- 64 clients, three servers, one killed every second ----

TEST(VerifierGroup, EveryItemGetsOneVerdictWhileServersAreKilled) {
  const char* wish = std::getenv("HONE_KILL_TEST_S");
  const int seconds = wish == nullptr ? 4 : std::atoi(wish);
  // A right answer takes as long as a wrong one, so that neither hides in the kills.
  const auto judge = [](const Question& question) {
    absl::SleepFor(absl::Milliseconds(2));
    if (question.answer.empty()) return Outcome::kSkipped;
    return question.completion() == question.answer ? Outcome::kCorrect : Outcome::kWrong;
  };
  std::vector<std::unique_ptr<Served>> servers;
  std::vector<Served*> all;
  for (int i = 0; i < 3; ++i) {
    servers.push_back(std::make_unique<Served>(VerifierServerOptions{8, 32}, judge));
    all.push_back(servers.back().get());
  }
  const auto group = Join(all);
  std::atomic<bool> stop{false};
  std::atomic<int64_t> items{0}, outages{0}, misjudged{0}, lost{0}, errors{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 64; ++c) {
    clients.emplace_back([&] {
      while (!stop) {
        std::vector<Question> questions = Questions(4);
        for (Question& question : questions) question.deadline = absl::Now() + absl::Seconds(20);
        const auto verdicts = group->Verify(questions);
        items += 4;
        if (!verdicts.ok()) {
          outages += 4;
          ++errors;
          continue;
        }
        lost += 4 - static_cast<int64_t>(verdicts->size());
        for (size_t i = 0; i < verdicts->size(); ++i) {
          const Outcome outcome = (*verdicts)[i].outcome;
          const Outcome right = i % 3 == 0 ? Outcome::kCorrect : Outcome::kWrong;
          if (outcome == Outcome::kOutage) {
            ++outages;
          } else if (outcome != right) {
            ++misjudged;
          }
        }
      }
    });
  }
  int kills = 0;
  for (const absl::Time end = absl::Now() + absl::Seconds(seconds); absl::Now() < end; ++kills) {
    absl::SleepFor(absl::Milliseconds(500));
    Serving& victim = all[static_cast<size_t>(kills) % 3]->serving;
    victim.Kill();
    absl::SleepFor(absl::Milliseconds(500));
    victim.Start();
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  std::cout << items << " items, " << kills << " kills, " << outages << " outages, " << errors
            << " failed calls\n";
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(misjudged, 0) << "an outage must never look like a verdict";
  EXPECT_GT(items, 64 * 4);
  EXPECT_LT(outages, items / 50) << "two of three servers are always there";
}

}  // namespace
}  // namespace hone
