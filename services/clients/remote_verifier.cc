// SPDX-License-Identifier: Apache-2.0
#include "services/clients/remote_verifier.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "hone/v1/verifier_service.grpc.pb.h"
#include "services/convert/limits.h"
#include "services/convert/verdict.h"
#include "services/rpc/pieces.h"
#include "services/rpc/status.h"

namespace hone {

struct RemoteVerifier::State {
  std::string peer;
  std::string name;
  VerifierOptions verifier_options;
  RemoteVerifierOptions options;
  std::unique_ptr<v1::VerifierService::Stub> stub;
  rpc::CallSet calls;
  VerifierInfo info;

  // One call. Appends one verdict per question, or fails and appends none.
  absl::Status Ask(v1::VerifyRequest& request, absl::Span<const Question> questions,
                   std::vector<Verdict>* verdicts) {
    const absl::Status fits = rpc::CheckSize(request, "a question");
    if (!fits.ok()) return fits;
    absl::Duration left = absl::ZeroDuration();
    for (const Question& question : questions) {
      left = std::max(left, question.deadline - absl::Now());
    }
    v1::VerifyResponse response;
    const absl::Status status = rpc::WithRetries(options.retry, calls, [&] {
      rpc::ScopedCall call(calls, std::min(left + options.grace, options.call_timeout));
      return call.Ended(stub->Verify(call.context(), request, &response));
    });
    if (!status.ok()) return status;
    if (response.judgements_size() != static_cast<int>(questions.size())) {
      return rpc::Nonsense(peer, absl::InvalidArgumentError(
                                     absl::StrCat(response.judgements_size(), " judgements for ",
                                                  questions.size(), " questions")));
    }
    for (const v1::Judgement& judgement : response.judgements()) {
      auto verdict = convert::FromProto(judgement);
      verdicts->push_back(verdict.ok() ? *std::move(verdict)
                                       : Outage(rpc::Nonsense(peer, verdict.status())));
    }
    return absl::OkStatus();
  }

  Verdict Outage(const absl::Status& why) const {
    Verdict outage;
    outage.outcome = Outcome::kOutage;
    outage.detail = std::string(why.message()).substr(0, convert::kMaxDetailBytes);
    outage.verifier = absl::StrCat(info.name, "/", info.version, "/", info.config_hash);
    return outage;
  }
};

RemoteVerifier::RemoteVerifier(std::unique_ptr<State> state) : state_(std::move(state)) {}
RemoteVerifier::~RemoteVerifier() {
  Cancel();
}
void RemoteVerifier::Cancel() {
  state_->calls.Cancel();
}
VerifierInfo RemoteVerifier::Describe() const {
  return state_->info;
}

absl::StatusOr<std::unique_ptr<RemoteVerifier>> RemoteVerifier::Connect(
    const std::string& address, const std::string& name, const VerifierOptions& verifier_options,
    RemoteVerifierOptions options) {
  auto channel = rpc::MakeChannel(address);
  if (!channel.ok()) return channel.status();
  auto state = std::make_unique<State>();
  state->peer = absl::StrCat("the verifier '", name, "' at ", address);
  state->name = name;
  state->verifier_options = verifier_options;
  state->options = options;
  state->stub = v1::VerifierService::NewStub(*channel);
  v1::DescribeRequest request;
  request.set_verifier(name);
  request.mutable_options()->insert(verifier_options.begin(), verifier_options.end());
  v1::DescribeResponse response;
  const absl::Status status = rpc::WithRetries(options.retry, state->calls, [&] {
    rpc::ScopedCall call(state->calls, absl::Seconds(10));
    return call.Ended(state->stub->Describe(call.context(), request, &response));
  });
  if (!status.ok()) return status;
  auto info = convert::FromProto(response.info());
  if (!info.ok()) return rpc::Nonsense(state->peer, info.status());
  state->info = *std::move(info);
  return std::unique_ptr<RemoteVerifier>(new RemoteVerifier(std::move(state)));
}

absl::StatusOr<std::vector<Verdict>> RemoteVerifier::Verify(absl::Span<const Question> questions) {
  std::vector<Verdict> verdicts;
  absl::Status first_error;
  bool any = questions.empty();
  for (size_t begin = 0; begin < questions.size();) {
    v1::VerifyRequest request;
    request.set_verifier(state_->name);
    request.mutable_options()->insert(state_->verifier_options.begin(),
                                      state_->verifier_options.end());
    size_t end = begin;
    int64_t bytes = 0;
    const absl::Time now = absl::Now();
    for (; end < questions.size() && end - begin < convert::kMaxQuestionsPerCall; ++end) {
      v1::Question* question = request.add_questions();
      convert::ToProto(questions[end], now, question);
      bytes += static_cast<int64_t>(question->ByteSizeLong());
      if (end == begin || bytes <= convert::kTargetMessageBytes) continue;
      request.mutable_questions()->RemoveLast();
      break;
    }
    const auto batch = questions.subspan(begin, end - begin);
    const absl::Status status = state_->Ask(request, batch, &verdicts);
    any = any || status.ok();
    if (!status.ok()) {
      if (first_error.ok()) first_error = status;
      verdicts.resize(end, state_->Outage(status));
    }
    begin = end;
  }
  if (!any) return first_error;
  return verdicts;
}

absl::StatusOr<std::vector<VerifierInfo>> ListRemoteVerifiers(const std::string& address) {
  auto channel = rpc::MakeChannel(address);
  if (!channel.ok()) return channel.status();
  const auto stub = v1::VerifierService::NewStub(*channel);
  rpc::CallSet calls;
  v1::ListResponse response;
  const absl::Status status = rpc::WithRetries({}, calls, [&] {
    rpc::ScopedCall call(calls, absl::Seconds(10));
    return call.Ended(stub->List(call.context(), v1::ListRequest(), &response));
  });
  if (!status.ok()) return status;
  std::vector<VerifierInfo> verifiers;
  for (const v1::VerifierInfo& from : response.verifiers()) {
    auto info = convert::FromProto(from);
    if (!info.ok()) return rpc::Nonsense(absl::StrCat("the verifiers at ", address), info.status());
    verifiers.push_back(*std::move(info));
  }
  return verifiers;
}

absl::StatusOr<std::map<std::string, int64_t>> RemoteVerifierStats(const std::string& address) {
  auto channel = rpc::MakeChannel(address);
  if (!channel.ok()) return channel.status();
  const auto stub = v1::VerifierService::NewStub(*channel);
  rpc::CallSet calls;
  v1::StatsResponse stats;
  const absl::Status status = rpc::WithRetries({}, calls, [&] {
    rpc::ScopedCall call(calls, absl::Seconds(10));
    return call.Ended(stub->Stats(call.context(), v1::StatsRequest(), &stats));
  });
  if (!status.ok()) return status;
  std::map<std::string, int64_t> figures = {{"calls", stats.calls()},
                                            {"calls_refused", stats.calls_refused()},
                                            {"calls_expired", stats.calls_expired()},
                                            {"questions", stats.questions()},
                                            {"running", stats.running()},
                                            {"queued", stats.queued()},
                                            {"slots", stats.slots()},
                                            {"queue_limit", stats.queue_limit()},
                                            {"wait_p50_us", stats.wait_p50_us()},
                                            {"wait_p99_us", stats.wait_p99_us()},
                                            {"call_p50_us", stats.call_p50_us()},
                                            {"call_p99_us", stats.call_p99_us()}};
  for (const auto& [outcome, count] : stats.outcomes()) {
    figures[absl::StrCat("outcomes/", outcome)] = count;
  }
  return figures;
}

}  // namespace hone
