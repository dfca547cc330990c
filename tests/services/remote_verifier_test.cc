// SPDX-License-Identifier: Apache-2.0
#include "services/clients/remote_verifier.h"

#include <grpcpp/grpcpp.h>

#include <thread>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "hone/v1/verifier_service.grpc.pb.h"
#include "services/convert/limits.h"
#include "services/servers/verifier_server.h"
#include "tests/services/serving.h"
#include "tests/verifier/fake_verifier.h"
#include "tests/verifier/verifier_contract.h"

namespace hone {
namespace {

// Hone's own verifiers, served to whoever asks for as long as the tests run.
Serving& RegistryService() {
  static VerifierPool& pool = *new VerifierPool();
  static VerifierServer& server = *new VerifierServer(pool, MakeVerifier);
  static Serving serving({server.service()});
  return serving;
}

VerifierContract Remotely(const std::string& name, Question right, Question wrong,
                          bool needs_gold = true) {
  return {name,
          [name]() -> std::shared_ptr<Verifier> {
            auto verifier = RemoteVerifier::Connect(RegistryService().address(), name, {});
            EXPECT_TRUE(verifier.ok()) << verifier.status();
            return *std::move(verifier);
          },
          std::move(right), std::move(wrong), needs_gold};
}

std::string Answer(const std::string& text) {
  return "<think>so</think> <answer>" + text + "</answer>";
}

INSTANTIATE_TEST_SUITE_P(Remote, VerifierContractTest,
                         testing::Values(Remotely("exact", MakeQuestion(Answer("yes"), "yes"),
                                                  MakeQuestion(Answer("no"), "yes")),
                                         Remotely("numeric", MakeQuestion(Answer("42"), "42.0"),
                                                  MakeQuestion(Answer("41"), "42"))),
                         ContractName);

// One fake behind a server.
struct Faked {
  Faked() {
    fake = std::make_shared<FakeVerifier>();
    pool.Add("fake", fake);
  }
  std::unique_ptr<RemoteVerifier> Connect(RemoteVerifierOptions options = {}) {
    auto client = RemoteVerifier::Connect(serving.address(), "fake", {}, options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }
  std::shared_ptr<FakeVerifier> fake;
  VerifierPool pool;
  VerifierServer server{pool, nullptr};
  Serving serving{{server.service()}};
};

std::vector<Question> Questions(size_t count) {
  std::vector<Question> questions;
  for (size_t i = 0; i < count; ++i) {
    questions.push_back(MakeQuestion(i % 3 == 0 ? "yes" : "no", "yes"));
    questions.back().item_id = absl::StrCat("item/", i);
  }
  return questions;
}

TEST(RemoteVerifier, CutsLargeBatchesAndKeepsTheirOrder) {
  Faked faked;
  const auto client = faked.Connect();
  const auto questions = Questions(150);
  const auto verdicts = client->Verify(questions);
  ASSERT_TRUE(verdicts.ok()) << verdicts.status();
  ASSERT_EQ(verdicts->size(), 150u);
  for (size_t i = 0; i < 150; ++i) {
    EXPECT_EQ((*verdicts)[i].outcome, i % 3 == 0 ? Outcome::kCorrect : Outcome::kWrong);
  }
  EXPECT_EQ(faked.fake->calls(), 3);
  EXPECT_EQ(faked.fake->seen()[149].item_id, "item/149");
}

TEST(RemoteVerifier, ASevenMegabyteCompletionAmongOthersIsJudged) {
  Faked faked;
  const auto client = faked.Connect();
  auto questions = Questions(4);
  for (Question& question : questions)
    question = WithCompletion(question, std::string(7 << 20, 'x'));
  const auto verdicts = client->Verify(questions);
  ASSERT_TRUE(verdicts.ok()) << verdicts.status();
  for (const Verdict& verdict : *verdicts) EXPECT_EQ(verdict.outcome, Outcome::kWrong);
}

TEST(RemoteVerifier, AQuestionOverTheMessageLimitIsAnErrorThatSaysSo) {
  Faked faked;
  const auto client = faked.Connect();
  auto questions = Questions(2);
  questions[1] = WithCompletion(questions[1],
                                std::string(static_cast<size_t>(convert::kMaxMessageBytes), 'x'));
  const auto verdicts = client->Verify(questions);
  ASSERT_TRUE(verdicts.ok()) << "the other question was judged";
  EXPECT_EQ((*verdicts)[0].outcome, Outcome::kCorrect);
  EXPECT_EQ((*verdicts)[1].outcome, Outcome::kOutage);
  EXPECT_EQ(client->Verify({&questions[1], 1}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(RemoteVerifier, FailuresOfTheMachineryAreNeverVerdicts) {
  Faked faked;
  RemoteVerifierOptions options;
  options.retry.attempts = 1;
  const auto client = faked.Connect(options);
  const auto questions = Questions(2);
  for (const FakeAct& act : {FakeAct::Fail(absl::UnavailableError("gone")),
                             FakeAct::Fail(absl::ResourceExhaustedError("busy")), FakeAct::TooFew(),
                             FakeAct::TooMany()}) {
    faked.fake->Script({act});
    EXPECT_FALSE(client->Verify(questions).ok());
  }
  for (const FakeAct& act : {FakeAct::Outage(), FakeAct::NothingSaid()}) {
    faked.fake->Script({act});
    const auto verdicts = client->Verify(questions);
    ASSERT_TRUE(verdicts.ok()) << verdicts.status();
    for (const Verdict& verdict : *verdicts) EXPECT_EQ(verdict.outcome, Outcome::kOutage);
  }
  faked.fake->Script({FakeAct::Skip()});
  EXPECT_EQ(client->Verify(questions)->front().outcome, Outcome::kSkipped);
}

TEST(RemoteVerifier, OneFailedCallOfSeveralIsAnOutageOfItsQuestionsAlone) {
  Faked faked;
  RemoteVerifierOptions options;
  options.retry.attempts = 1;
  const auto client = faked.Connect(options);
  faked.fake->Script(
      {FakeAct::Answer(), FakeAct::Fail(absl::UnavailableError("gone")), FakeAct::Answer()});
  const auto verdicts = client->Verify(Questions(130));
  ASSERT_TRUE(verdicts.ok());
  for (size_t i = 0; i < 130; ++i) {
    EXPECT_EQ(IsVerdict((*verdicts)[i].outcome), i < 64 || i >= 128) << i;
  }
}

TEST(RemoteVerifier, AHungVerifierIsLeftAtTheDeadline) {
  Faked faked;
  RemoteVerifierOptions options;
  options.grace = absl::Milliseconds(100);
  const auto client = faked.Connect(options);
  faked.fake->Script({FakeAct::Hang(absl::Seconds(30))});
  auto questions = Questions(1);
  questions[0].deadline = absl::Now() + absl::Milliseconds(100);
  EXPECT_EQ(client->Verify(questions).status().code(), absl::StatusCode::kDeadlineExceeded);
  faked.fake->Release();
}

TEST(RemoteVerifier, AServerThatWasKilledIsAnOutageUntilItIsBack) {
  Faked faked;
  const auto client = faked.Connect();
  faked.serving.Kill();
  EXPECT_EQ(client->Verify(Questions(2)).status().code(), absl::StatusCode::kUnavailable);
  faked.serving.Start();
  absl::StatusOr<std::vector<Verdict>> verdicts = absl::UnavailableError("");
  for (int i = 0; i < 50 && !verdicts.ok(); ++i) {
    verdicts = client->Verify(Questions(2));
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_TRUE(verdicts.ok()) << verdicts.status();
}

TEST(RemoteVerifier, CancelEndsACallAtOnce) {
  Faked faked;
  const auto client = faked.Connect();
  faked.fake->Script({FakeAct::Hang(absl::Seconds(30))});
  std::thread canceller([&] {
    while (faked.fake->calls() == 0) absl::SleepFor(absl::Milliseconds(1));
    client->Cancel();
  });
  EXPECT_EQ(client->Verify(Questions(1)).status().code(), absl::StatusCode::kCancelled);
  canceller.join();
  faked.fake->Release();
}

TEST(VerifierServer, TriesTheNextVerifierOfANameWhenOneFails) {
  auto broken = std::make_shared<FakeVerifier>(), good = std::make_shared<FakeVerifier>();
  broken->Script({FakeAct::Fail(absl::InternalError("broken"))});
  VerifierPool pool;
  pool.Add("fake", broken);
  pool.Add("fake", good);
  VerifierServer server(pool, nullptr);
  Serving serving({server.service()});
  auto client = RemoteVerifier::Connect(serving.address(), "fake", {});
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE((*client)->Verify(Questions(1)).ok());
  EXPECT_EQ(broken->calls(), 1);
  EXPECT_EQ(good->calls(), 1);
}

TEST(VerifierServer, AnUnknownVerifierOrOptionIsRefusedByName) {
  const std::string address = RegistryService().address();
  const auto unknown = RemoteVerifier::Connect(address, "oracle", {});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(unknown.status().message(), "oracle"));
  EXPECT_EQ(RemoteVerifier::Connect(address, "exact", {{"no_such_option", "1"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  Faked faked;
  EXPECT_EQ(RemoteVerifier::Connect(faked.serving.address(), "fake", {{"a", "b"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(RemoteVerifier::Connect(faked.serving.address(), "other", {}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(VerifierServer, ListsWhatItsPoolHas) {
  Faked faked;
  const auto list = ListRemoteVerifiers(faked.serving.address());
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 1u);
  EXPECT_EQ(list->front().name, "fake");
}

TEST(VerifierServer, ABatchOverItsLimitIsRefused) {
  Faked faked;
  const auto stub = v1::VerifierService::NewStub(*rpc::MakeChannel(faked.serving.address()));
  v1::VerifyRequest request;
  request.set_verifier("fake");
  for (int i = 0; i < 65; ++i) request.add_questions();
  grpc::ClientContext context;
  v1::VerifyResponse response;
  EXPECT_EQ(stub->Verify(&context, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(faked.fake->calls(), 0);
}

// Verdicts whose evidence fills a message long before the batch ends.
class Verbose : public Verifier {
 public:
  VerifierInfo Describe() const override { return {"verbose", "1", "0", "Says much.", true}; }
  absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) override {
    Verdict verdict;
    verdict.outcome = Outcome::kWrong;
    verdict.evidence["stderr"].assign(1000000, 'x');
    return std::vector<Verdict>(questions.size(), verdict);
  }
};

TEST(VerifierServer, JudgementsThatNoLongerFitAreOutagesAndFitWhenAskedAlone) {
  VerifierPool pool;
  pool.Add("verbose", std::make_shared<Verbose>());
  VerifierServer server(pool, nullptr);
  Serving serving({server.service()});
  auto client = RemoteVerifier::Connect(serving.address(), "verbose", {});
  ASSERT_TRUE(client.ok());
  const auto questions = Questions(40);
  const auto verdicts = (*client)->Verify(questions);
  ASSERT_TRUE(verdicts.ok()) << verdicts.status();
  EXPECT_EQ((*verdicts)[0].outcome, Outcome::kWrong);
  EXPECT_EQ((*verdicts)[39].outcome, Outcome::kOutage);
  EXPECT_EQ((*client)->Verify({&questions[39], 1})->front().outcome, Outcome::kWrong);
}

}  // namespace
}  // namespace hone
