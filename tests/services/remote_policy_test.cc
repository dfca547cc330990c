// SPDX-License-Identifier: Apache-2.0
#include "services/clients/remote_policy.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "hone/v1/policy_service.grpc.pb.h"
#include "policy/hash.h"
#include "services/convert/learning.h"
#include "services/convert/limits.h"
#include "services/convert/policy.h"
#include "services/rpc/status.h"
#include "services/servers/policy_server.h"
#include "tests/policy/fake_policy.h"
#include "tests/policy/generator_contract.h"
#include "tests/policy/learner_contract.h"
#include "tests/policy/local_policies.h"
#include "tests/services/raw_call.h"
#include "tests/services/serving.h"

namespace hone {
namespace {

std::unique_ptr<RemotePolicy> Connect(const std::string& address,
                                      RemotePolicyOptions options = {}) {
  auto client = RemotePolicy::Connect(address, options);
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

// A policy, its server, and a client of it.
template <typename Policy>
struct Remote {
  explicit Remote(std::unique_ptr<Policy> one, PolicyServerOptions options = {})
      : policy(std::move(one)),
        server(BorrowPolicy(policy.get(), policy.get()), std::move(options)),
        serving({server.service()}),
        client(Connect(serving.address())) {}
  Generator& generator() { return *client; }
  Learner& learner() { return *client; }

  std::unique_ptr<Policy> policy;
  PolicyServer server;
  Serving serving;
  std::unique_ptr<RemotePolicy> client;
};

struct RemoteFake : Remote<FakePolicy> {
  explicit RemoteFake(PolicyServerOptions options = {})
      : Remote(std::make_unique<FakePolicy>(), std::move(options)) {}
};
struct RemoteLocal : Remote<LocalPolicy> {
  RemoteLocal() : Remote(MakePolicy(TinyOptions())) {}
};

INSTANTIATE_TYPED_TEST_SUITE_P(RemoteFake, GeneratorContract, RemoteFake);
INSTANTIATE_TYPED_TEST_SUITE_P(RemoteFake, LearnerContract, RemoteFake);
INSTANTIATE_TYPED_TEST_SUITE_P(RemoteLocal, GeneratorContract, RemoteLocal);
INSTANTIATE_TYPED_TEST_SUITE_P(RemoteLocal, LearnerContract, RemoteLocal);

std::vector<GenerateRequest> ContractRequests(int count) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < count; ++i) requests.push_back(ContractRequest(i));
  return requests;
}

TEST(RemotePolicy, GivesTheBitsOfThePolicyBehindItToFourClientsAtOnce) {
  RemoteLocal remote;
  const auto requests = ContractRequests(6);
  const auto local = GenerateAll(*remote.policy, requests);
  ASSERT_TRUE(local.ok());
  std::vector<std::thread> threads;
  std::atomic<int> same{0};
  for (int c = 0; c < 4; ++c) {
    threads.emplace_back([&] {
      const auto client = Connect(remote.serving.address());
      for (int round = 0; round < 3; ++round) {
        const auto got = GenerateAll(*client, requests);
        if (!got.ok()) continue;
        bool equal = true;
        for (size_t i = 0; i < requests.size(); ++i) {
          for (size_t j = 0; j < (*local)[i].size(); ++j) {
            equal = equal && (*got)[i][j].tokens == (*local)[i][j].tokens &&
                    (*got)[i][j].logprobs == (*local)[i][j].logprobs &&
                    (*got)[i][j].entropy == (*local)[i][j].entropy;
          }
        }
        same += equal;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same.load(), 12);
}

TEST(RemotePolicy, RoutesCrossTheWireAsTheyWere) {
  RemoteLocal remote;
  GenerateRequest request = ContractRequest();
  request.return_routes = true;
  const auto local = GenerateAll(*remote.policy, {&request, 1});
  const auto got = GenerateAll(*remote.client, {&request, 1});
  ASSERT_TRUE(local.ok() && got.ok()) << got.status();
  for (size_t j = 0; j < (*local)[0].size(); ++j) {
    EXPECT_EQ((*got)[0][j].routes.moe_layers, (*local)[0][j].routes.moe_layers);
    EXPECT_EQ((*got)[0][j].routes.experts, (*local)[0][j].routes.experts);
    EXPECT_FALSE((*got)[0][j].routes.experts.empty());
  }
  ScoreRequest score;
  score.sequences = {{1, 2, 3}, {4, 5}};
  score.return_routes = true;
  const auto free = remote.client->Score(score);
  ASSERT_TRUE(free.ok()) << free.status();
  score.route_override = free->routes;
  const auto forced = remote.client->Score(score);
  ASSERT_TRUE(forced.ok()) << forced.status();
  EXPECT_EQ(forced->logprobs[0][2], free->logprobs[0][2]);
}

TEST(RemotePolicy, ThatNobodyServesIsUnavailableAfterItsRetries) {
  TestDirectory directory;
  RemotePolicyOptions options;
  options.retry = {3, absl::Milliseconds(5), absl::Milliseconds(5)};
  const auto client = Connect("unix:" + (directory / "nobody"), options);
  EXPECT_EQ(client->Info().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GenerateAll(*client, ContractRequests(1)).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(client->ResetGradients().code(), absl::StatusCode::kUnavailable);
}

TEST(RemotePolicy, IsThereAgainWhenItsServerIs) {
  RemoteFake remote;
  ASSERT_TRUE(remote.client->Info().ok());
  remote.serving.Kill();
  std::thread later([&] {
    absl::SleepFor(absl::Milliseconds(250));
    remote.serving.Start();
  });
  EXPECT_TRUE(remote.client->Info().ok());
  later.join();
  EXPECT_TRUE(GenerateAll(*remote.client, ContractRequests(2)).ok());
}

TEST(RemotePolicy, AStepForGradientsOfARestartedServerIsRefused) {
  RemoteFake remote;
  const ForwardBackwardRequest pass = ContractPass(*remote.policy);
  ASSERT_TRUE(remote.client->ForwardBackward(pass).ok());
  // The same weights and version again, with somebody else's gradients pending.
  ASSERT_TRUE(remote.policy->ResetGradients().ok());
  remote.serving.Kill();
  PolicyServer restarted(BorrowPolicy(remote.policy.get(), remote.policy.get()), {});
  auto server = rpc::Server::Start({remote.serving.address()}, {restarted.service()});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto other = Connect(remote.serving.address());
  ASSERT_TRUE(other->ForwardBackward(pass).ok());
  const auto stepped = remote.client->OptimStep(ContractStep(0, "one"));
  EXPECT_EQ(stepped.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(stepped.status().message(), "restarted")) << stepped.status();
  EXPECT_TRUE(other->OptimStep(ContractStep(0, "one")).ok());
}

// The whole conversation of one ForwardBackward, with an id of the caller's choice.
absl::Status PassWithId(v1::PolicyService::Stub& stub, const ForwardBackwardRequest& pass,
                        const std::string& id, int64_t announced) {
  grpc::ClientContext context;
  auto stream = stub.ForwardBackward(&context);
  v1::ForwardBackwardRequest message;
  convert::SettingsToProto(pass, &message);
  message.set_request_id(id);
  message.set_sequences_in_call(announced);
  for (const TrainSequence& sequence : pass.sequences) {
    convert::ToProto(sequence, message.add_sequences());
  }
  stream->Write(message);
  stream->WritesDone();
  v1::ForwardBackwardResponse reply;
  while (stream->Read(&reply)) {
  }
  return rpc::FromGrpc(stream->Finish());
}

TEST(RemotePolicy, APassSentAgainWithTheSameIdIsAnsweredAndNotAddedAgain) {
  RemoteFake remote, once;
  const ForwardBackwardRequest pass = ContractPass(*remote.policy);
  const auto stub = v1::PolicyService::NewStub(*rpc::MakeChannel(remote.serving.address()));
  const int64_t count = static_cast<int64_t>(pass.sequences.size());
  ASSERT_TRUE(PassWithId(*stub, pass, "a", count).ok());
  ASSERT_TRUE(PassWithId(*stub, pass, "a", count).ok());
  EXPECT_EQ(PassWithId(*stub, pass, "b", count).code(), absl::StatusCode::kFailedPrecondition)
      << "another id at the same place is a hole";
  const auto twice = remote.client->OptimStep(ContractStep(0, "one"));
  ASSERT_TRUE(twice.ok()) << twice.status();
  const auto expected = once.client->Update(pass, ContractStep(0, "one"));
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_EQ(twice->hash_after, expected->step.hash_after);
}

TEST(RemotePolicy, APassThatWasCutShortIsNeverTakenForAWholeOne) {
  RemoteFake remote;
  ForwardBackwardRequest pass = ContractPass(*remote.policy);
  const auto stub = v1::PolicyService::NewStub(*rpc::MakeChannel(remote.serving.address()));
  const int64_t count = static_cast<int64_t>(pass.sequences.size());
  EXPECT_EQ(PassWithId(*stub, pass, "a", count + 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(remote.client->OptimStep(ContractStep(0, "one")).status().code(),
            absl::StatusCode::kFailedPrecondition)
      << "nothing was added";
}

TEST(RemotePolicy, AnUpdateSentAgainIsAnsweredAndNotDoneAgain) {
  RemoteFake remote;
  const ForwardBackwardRequest pass = ContractPass(*remote.policy);
  const auto first = remote.client->Update(pass, ContractStep(0, "one"));
  ASSERT_TRUE(first.ok()) << first.status();
  const auto again = remote.client->Update(pass, ContractStep(0, "one"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->step.version, 1);
  EXPECT_EQ(again->step.hash_after, first->step.hash_after);
  EXPECT_EQ(again->pass.metrics, first->pass.metrics);
  EXPECT_EQ(remote.policy->Info()->version, 1);
  remote.policy->SetStopTokens({3, 5});
  EXPECT_EQ(remote.client->Info()->stop_tokens, (std::vector<TokenId>{3, 5}));
  EXPECT_EQ(remote.client->Update(pass, ContractStep(1, "")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(RemotePolicy, APeerThatDoesNotReadDoesNotHoldTheWeights) {
  RemoteFake remote;
  const auto stub = v1::PolicyService::NewStub(*rpc::MakeChannel(remote.serving.address()));
  v1::GenerateRequest request;
  GenerateRequest item = ContractRequest();
  item.n = 3000;
  item.stop_tokens.clear();
  item.sampling.max_tokens = 60;
  convert::ToProto(item, absl::Now(), request.add_items());
  grpc::ClientContext context;
  auto reader = stub->Generate(&context, request);
  v1::GenerateResponse first;
  ASSERT_TRUE(reader->Read(&first));  // and nothing more
  RemotePolicyOptions options;
  options.call_timeout = absl::Seconds(30);
  const auto other = Connect(remote.serving.address(), options);
  const auto updated = other->Update(ContractPass(*remote.policy), ContractStep(0, "one"));
  EXPECT_TRUE(updated.ok()) << updated.status();
  context.TryCancel();
  reader->Finish();
}

// Holds every Generate until it is let go.
struct Gate {
  absl::Status Wait() {
    std::unique_lock<std::mutex> lock(mutex);
    arrived = true;
    wake.notify_all();
    wake.wait_for(lock, std::chrono::seconds(20), [this] { return open; });
    return absl::OkStatus();
  }
  void AwaitArrival() {
    std::unique_lock<std::mutex> lock(mutex);
    wake.wait_for(lock, std::chrono::seconds(20), [this] { return arrived; });
  }
  void Open() {
    std::lock_guard<std::mutex> lock(mutex);
    open = true;
    wake.notify_all();
  }
  std::mutex mutex;
  std::condition_variable wake;
  bool arrived = false;
  bool open = false;
};

TEST(RemotePolicy, CancelEndsACallAtOnceAndAllLaterOnes) {
  RemoteFake remote;
  Gate gate;
  remote.policy->OnGenerate([&](int) { return gate.Wait(); });
  std::thread canceller([&] {
    gate.AwaitArrival();
    remote.client->Cancel();
  });
  const absl::Time start = absl::Now();
  const absl::Status status = GenerateAll(*remote.client, ContractRequests(1)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  EXPECT_EQ(remote.client->Info().status().code(), absl::StatusCode::kCancelled);
  canceller.join();
  gate.Open();
}

TEST(RemotePolicy, AHungPolicyIsLeftAtTheDeadline) {
  RemoteFake remote;
  Gate gate;
  remote.policy->OnGenerate([&](int) { return gate.Wait(); });
  RemotePolicyOptions options;
  options.call_timeout = absl::Milliseconds(200);
  const auto client = Connect(remote.serving.address(), options);
  EXPECT_EQ(GenerateAll(*client, ContractRequests(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  gate.Open();
}

TEST(RemotePolicy, AnErrorOfThePolicyKeepsItsCodeAndIsNotRetried) {
  RemoteFake remote;
  remote.policy->OnGenerate([](int) { return absl::OutOfRangeError("no room at all"); });
  const absl::Status status = GenerateAll(*remote.client, ContractRequests(1)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(absl::StrContains(status.message(), "no room at all"));
  EXPECT_EQ(remote.policy->generate_calls(), 1);
}

TEST(RemotePolicy, AnUnavailablePolicyIsAskedAgain) {
  RemoteFake remote;
  remote.policy->OnGenerate([](int call) {
    return call < 2 ? absl::UnavailableError("busy starting") : absl::OkStatus();
  });
  EXPECT_TRUE(GenerateAll(*remote.client, ContractRequests(1)).ok());
  EXPECT_EQ(remote.policy->generate_calls(), 3);
}

TEST(PolicyServer, StartedEmptyWaitsForLoadState) {
  TestDirectory state;
  {
    FakePolicy source({.seed = 9});
    ASSERT_TRUE(source.Update(ContractPass(source), ContractStep(0, "one")).ok());
    ASSERT_TRUE(source.SaveState(state.path()).ok());
  }
  PolicyServerOptions options;
  options.create = [](const std::string& directory,
                      bool weights_only) -> absl::StatusOr<ServedPolicy> {
    auto policy = std::make_shared<FakePolicy>();
    const absl::Status loaded = policy->LoadState(directory, weights_only);
    if (!loaded.ok()) return loaded;
    return ServedPolicy{policy, policy};
  };
  PolicyServer server({}, options);
  Serving serving({server.service()});
  const auto client = Connect(serving.address());
  const absl::StatusCode code = absl::StatusCode::kFailedPrecondition;
  EXPECT_EQ(client->Info().status().code(), code);
  EXPECT_EQ(GenerateAll(*client, ContractRequests(1)).status().code(), code);
  EXPECT_EQ(client->Score({}).status().code(), code);
  EXPECT_EQ(client->ResetReference().code(), code);
  TestDirectory empty;
  EXPECT_EQ(client->LoadState(empty.path(), false).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(client->Info().status().code(), code);
  ASSERT_TRUE(client->LoadState(state.path(), false).ok());
  EXPECT_EQ(client->Info()->version, 1);
  EXPECT_TRUE(GenerateAll(*client, ContractRequests(1)).ok());
}

TEST(PolicyServer, ForGenerationOnlyRefusesToLearn) {
  FakePolicy policy;
  PolicyServer server(BorrowPolicy(&policy, nullptr), {});
  Serving serving({server.service()});
  const auto client = Connect(serving.address());
  EXPECT_TRUE(GenerateAll(*client, ContractRequests(1)).ok());
  EXPECT_EQ(client->ForwardBackward(ContractPass(policy)).status().code(),
            absl::StatusCode::kUnimplemented);
  EXPECT_EQ(client->ResetGradients().code(), absl::StatusCode::kUnimplemented);
}

TEST(PolicyServer, RefusesCallsOverItsTokenLimit) {
  PolicyServerOptions options;
  options.max_call_tokens = 10;
  RemoteFake remote(options);
  ScoreRequest score;
  score.sequences = {{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}};
  EXPECT_TRUE(remote.client->Score(score).ok());
  score.sequences.push_back({1});
  EXPECT_EQ(remote.client->Score(score).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(PolicyServer, RefusesAlteredAndUnfinishedStatesAndKeepsTheOldOne) {
  RemoteFake remote;
  const std::string before = remote.policy->Info()->weights_hash;
  const auto stub = v1::PolicyService::NewStub(*rpc::MakeChannel(remote.serving.address()));
  const auto load = [&](const std::vector<v1::LoadStateRequest>& messages) {
    grpc::ClientContext context;
    v1::LoadStateResponse response;
    auto writer = stub->LoadState(&context, &response);
    for (const v1::LoadStateRequest& message : messages) writer->Write(message);
    writer->WritesDone();
    return rpc::FromGrpc(writer->Finish()).code();
  };
  v1::LoadStateRequest start, chunk, end;
  start.mutable_start();
  chunk.mutable_chunk()->set_name("fake_policy.txt");
  chunk.mutable_chunk()->set_data("fake_policy 3");
  chunk.mutable_chunk()->set_total_bytes(13);
  chunk.mutable_chunk()->set_crc32c(Crc32c("fake_policy 3", 13));
  end.mutable_end()->set_files(1);
  end.mutable_end()->set_total_bytes(13);
  EXPECT_EQ(load({}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(load({chunk, end}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(load({start, start}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(load({start, chunk}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(load({start, end}), absl::StatusCode::kDataLoss);
  v1::LoadStateRequest altered = chunk;
  altered.mutable_chunk()->set_crc32c(1);
  EXPECT_EQ(load({start, altered, end}), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(remote.client->LoadState("/no/such/directory", false).ok());
  EXPECT_EQ(remote.policy->Info()->weights_hash, before);
}

TEST(PolicyServer, SaveStateNeedsADirectoryThatIsThereAndEmpty) {
  RemoteFake remote;
  TestDirectory directory;
  EXPECT_EQ(remote.client->SaveState(directory / "nothing").code(), absl::StatusCode::kNotFound);
  std::ofstream(directory / "mine") << "x";
  EXPECT_EQ(remote.client->SaveState(directory.path()).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(PolicyServer, RefusesOversizedMessagesAndBytesThatAreNoMessage) {
  RemoteFake remote;
  const std::string method = "/hone.v1.PolicyService/OptimStep";
  EXPECT_EQ(CallRaw(remote.serving.address(), method,
                    std::string(static_cast<size_t>(convert::kMaxMessageBytes) + 1, '\n'))
                .status.code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(CallRaw(remote.serving.address(), method, "\xFF\xFF\xFF\xFF nonsense").status.ok());
  EXPECT_EQ(CallRaw(remote.serving.address(), "/hone.v1.PolicyService/Nothing", "").status.code(),
            absl::StatusCode::kUnimplemented);
  GenerateRequest huge = ContractRequest();
  huge.prefix_handle.assign(static_cast<size_t>(convert::kMaxMessageBytes), 'x');
  EXPECT_EQ(GenerateAll(*remote.client, {&huge, 1}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(remote.client->Info().ok()) << "and goes on serving";
}

// Answers by formula, so that large calls cost nothing but their transport.
class Echo : public FakePolicy {
 public:
  absl::StatusOr<ScoreResult> Score(const ScoreRequest& request) override {
    ScoreResult result;
    for (const std::vector<TokenId>& tokens : request.sequences) {
      std::vector<float> values(tokens.size());
      for (size_t t = 0; t < tokens.size(); ++t) values[t] = -1.0f / static_cast<float>(tokens[t]);
      result.logprobs.push_back(values);
      result.entropy.push_back(std::move(values));
      result.argmax.push_back(tokens);
    }
    return result;
  }
};

TEST(PolicyServer, CallsLargerThanAMessageArriveWholeAndInOrder) {
  Remote<Echo> remote(std::make_unique<Echo>());
  ScoreRequest score;
  for (int i = 0; i < 300; ++i) {
    score.sequences.emplace_back(static_cast<size_t>(i % 7 == 0 ? 1 : 9000), 100000 + i);
  }
  const auto result = remote.client->Score(score);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->argmax.size(), score.sequences.size());
  EXPECT_TRUE(result->argmax == score.sequences);
  EXPECT_EQ(result->logprobs[299][8999], -1.0f / 100299);
}

// Says whatever the test wants.
class Liar final : public v1::PolicyService::Service {
 public:
  grpc::Status Generate(grpc::ServerContext*, const v1::GenerateRequest*,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    for (const v1::GenerateResponse& chunk : chunks) writer->Write(chunk);
    return end;
  }
  grpc::Status Score(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::ScoreResponse, v1::ScoreRequest>* stream) override {
    v1::ScoreRequest request;
    while (stream->Read(&request)) {
    }
    stream->Write(scores);
    return end;
  }
  grpc::Status Info(grpc::ServerContext*, const v1::InfoRequest*, v1::InfoResponse*) override {
    return end;
  }
  grpc::Status SaveState(grpc::ServerContext*, const v1::SaveStateRequest*,
                         grpc::ServerWriter<v1::SaveStateResponse>* writer) override {
    v1::SaveStateResponse message;
    message.mutable_chunk()->set_name("../evil");
    message.mutable_chunk()->set_data("x");
    message.mutable_chunk()->set_total_bytes(1);
    message.mutable_chunk()->set_crc32c(Crc32c("x", 1));
    if (!unfinished) writer->Write(message);
    return end;
  }
  std::vector<v1::GenerateResponse> chunks;
  v1::ScoreResponse scores;
  grpc::Status end;
  bool unfinished = false;
};

TEST(RemotePolicy, NonsenseIsAnInternalErrorAndNeverACompletion) {
  Liar liar;
  Serving serving({{"hone.v1.PolicyService", &liar}});
  const auto client = Connect(serving.address());
  GenerateRequest request = ContractRequest();
  request.n = 1;
  const auto told = [&](const std::function<void(v1::GenerateResponse&)>& change) {
    v1::GenerateResponse chunk;
    chunk.set_request_id(request.request_id);
    chunk.add_tokens(3);
    chunk.add_logprobs(-1);
    chunk.add_entropy(1);
    chunk.set_stop_reason(v1::STOP_REASON_LENGTH);
    change(chunk);
    liar.chunks = {chunk};
    return GenerateAll(*client, {&request, 1}).status().code();
  };
  const absl::StatusCode internal = absl::StatusCode::kInternal;
  EXPECT_EQ(told([](auto&) {}), absl::StatusCode::kOk);
  EXPECT_EQ(told([](auto& c) { c.set_logprobs(0, std::nanf("")); }), internal);
  EXPECT_EQ(told([](auto& c) { c.set_logprobs(0, 2); }), internal);
  EXPECT_EQ(told([](auto& c) { c.add_logprobs(-1); }), internal);
  EXPECT_EQ(told([](auto& c) { c.clear_entropy(); }), internal);
  EXPECT_EQ(told([](auto& c) { c.set_tokens(0, -1); }), internal);
  EXPECT_EQ(told([](auto& c) { c.set_sequence(1); }), internal);
  EXPECT_EQ(told([](auto& c) { c.set_request_id("who?"); }), internal);
  EXPECT_EQ(told([](auto& c) { c.set_stop_reason(static_cast<v1::StopReason>(77)); }), internal);
  EXPECT_EQ(told([](auto& c) { c.clear_stop_reason(); }), internal);
  EXPECT_EQ(client->Info().status().code(), internal) << "no vocabulary at all";
  ScoreRequest score;
  score.sequences = {{1, 2}};
  EXPECT_EQ(client->Score(score).status().code(), internal) << "no sequence for one";
  TestDirectory directory;
  EXPECT_EQ(client->SaveState(directory.path()).code(), internal);
  liar.unfinished = true;
  EXPECT_EQ(client->SaveState(directory.path()).code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(RemotePolicy, AGenerateThatBreaksAfterAChunkIsNotStartedAgain) {
  Liar liar;
  Serving serving({{"hone.v1.PolicyService", &liar}});
  const auto client = Connect(serving.address());
  v1::GenerateResponse chunk;
  chunk.set_request_id("request 0");
  liar.chunks = {chunk};
  liar.end = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone in the middle");
  int chunks = 0;
  const GenerateRequest request = ContractRequest();
  const absl::Status status = client->Generate({&request, 1}, [&](GenerateChunk) {
    ++chunks;
    return true;
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(chunks, 1);
}

}  // namespace
}  // namespace hone
