// SPDX-License-Identifier: Apache-2.0
#include "services/servers/verifier_server.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "hone/v1/verifier_service.grpc.pb.h"
#include "services/convert/check.h"
#include "services/convert/limits.h"
#include "services/convert/verdict.h"
#include "services/rpc/status.h"

namespace hone {
namespace {

using Verifiers = std::vector<std::shared_ptr<Verifier>>;
constexpr size_t kMaxMade = 64;
// Room for everything but the judgements.
constexpr int64_t kMaxReplyBytes = convert::kMaxMessageBytes - 65536;

absl::Status CheckReply(const absl::StatusOr<std::vector<Verdict>>& verdicts, size_t asked) {
  if (!verdicts.ok()) return verdicts.status();
  if (verdicts->size() == asked) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("the verifier gave ", verdicts->size(), " verdicts for ", asked, " questions"));
}

}  // namespace

class VerifierServer::Impl final : public v1::VerifierService::Service {
 public:
  Impl(const VerifierPool& pool, VerifierFactory factory, VerifierServerOptions options)
      : pool_(pool),
        factory_(std::move(factory)),
        gate_(std::clamp(options.slots, 1, 128), std::clamp(options.queue_limit, 0, 120)) {}

  grpc::Status Describe(grpc::ServerContext*, const v1::DescribeRequest* request,
                        v1::DescribeResponse* response) override {
    auto verifiers =
        Find(request->verifier(), {request->options().begin(), request->options().end()});
    if (!verifiers.ok()) return rpc::ToGrpc(verifiers.status());
    convert::ToProto(verifiers->front()->Describe(), response->mutable_info());
    return grpc::Status::OK;
  }

  grpc::Status List(grpc::ServerContext*, const v1::ListRequest*,
                    v1::ListResponse* response) override {
    for (const std::string& name : pool_.names()) {
      auto verifiers = pool_.Find(name);
      if (!verifiers.ok() || verifiers->empty()) continue;
      v1::VerifierInfo* info = response->add_verifiers();
      convert::ToProto(verifiers->front()->Describe(), info);
      info->set_name(name);
    }
    return grpc::Status::OK;
  }

  grpc::Status Verify(grpc::ServerContext* context, const v1::VerifyRequest* request,
                      v1::VerifyResponse* response) override {
    return rpc::ToGrpc(Judge(context, *request, response));
  }

  grpc::Status Stats(grpc::ServerContext*, const v1::StatsRequest*,
                     v1::StatsResponse* response) override {
    const CallGateStats stats = gate_.stats();
    response->set_calls(stats.entered);
    response->set_calls_refused(stats.refused);
    response->set_calls_expired(stats.expired);
    response->set_running(stats.running);
    response->set_queued(stats.queued);
    response->set_slots(gate_.slots());
    response->set_queue_limit(gate_.queue_limit());
    response->set_wait_p50_us(stats.wait_p50_us);
    response->set_wait_p99_us(stats.wait_p99_us);
    response->set_call_p50_us(stats.call_p50_us);
    response->set_call_p99_us(stats.call_p99_us);
    std::lock_guard<std::mutex> lock(mutex_);
    response->set_questions(questions_);
    response->mutable_outcomes()->insert(outcomes_.begin(), outcomes_.end());
    return grpc::Status::OK;
  }

  CallGateStats queue() const { return gate_.stats(); }

 private:
  absl::StatusOr<Verifiers> Find(const std::string& name, const VerifierOptions& options) {
    if (options.empty()) {
      auto found = pool_.Find(name);
      if (found.ok() && !found->empty()) return found;
      if (!factory_) {
        return found.ok() ? absl::NotFoundError(absl::StrCat("no verifier '", name, "'"))
                          : found.status();
      }
    } else if (!factory_) {
      return absl::InvalidArgumentError("this server takes no verifier options");
    }
    std::lock_guard<std::mutex> lock(mutex_);
    const auto key = std::make_pair(name, options);
    for (const auto& [known, verifier] : made_) {
      if (known == key) return Verifiers{verifier};
    }
    auto verifier = factory_(name, options);
    if (!verifier.ok()) return verifier.status();
    made_.emplace_back(key, *std::move(verifier));
    if (made_.size() > kMaxMade) made_.pop_front();
    return Verifiers{made_.back().second};
  }

  absl::Status Judge(grpc::ServerContext* context, const v1::VerifyRequest& request,
                     v1::VerifyResponse* response) {
    if (request.questions_size() > convert::kMaxQuestionsPerCall) {
      return absl::InvalidArgumentError(absl::StrCat("questions: ", request.questions_size(),
                                                     ", at most ", convert::kMaxQuestionsPerCall));
    }
    auto verifiers = Find(request.verifier(), {request.options().begin(), request.options().end()});
    if (!verifiers.ok()) return verifiers.status();
    const auto deadline = context->deadline();
    const absl::Time now = absl::Now();
    std::vector<Question> questions;
    for (int i = 0; i < request.questions_size(); ++i) {
      convert::Checker check;
      questions.emplace_back();
      check.Take(convert::At("questions", i), convert::FromProto(request.questions(i), now),
                 &questions.back());
      if (!check.ok()) return check.status();
      if (deadline != std::chrono::system_clock::time_point::max()) {
        questions.back().deadline = std::min(questions.back().deadline, absl::FromChrono(deadline));
      }
    }
    absl::Time latest = absl::InfinitePast();
    for (const Question& question : questions) latest = std::max(latest, question.deadline);
    if (questions.empty()) latest = absl::InfiniteFuture();
    CallGate::Slot slot(gate_);
    absl::Status status = slot.Enter(latest, [context] { return context->IsCancelled(); });
    if (!status.ok()) return status;
    absl::StatusOr<std::vector<Verdict>> verdicts = absl::UnavailableError("no verifier");
    for (const std::shared_ptr<Verifier>& verifier : *verifiers) {
      if (context->IsCancelled()) return absl::CancelledError("the caller is gone");
      verdicts = verifier->Verify(questions);
      status = CheckReply(verdicts, questions.size());
      if (status.ok()) break;
    }
    Count(questions.size(), status.ok() ? *verdicts : std::vector<Verdict>());
    if (!status.ok()) return status;
    Fill(*verdicts, response);
    return absl::OkStatus();
  }

  void Count(size_t asked, const std::vector<Verdict>& verdicts) {
    std::lock_guard<std::mutex> lock(mutex_);
    questions_ += static_cast<int64_t>(asked);
    for (const Verdict& verdict : verdicts) ++outcomes_[OutcomeName(verdict.outcome)];
    if (verdicts.size() < asked) outcomes_["outage"] += static_cast<int64_t>(asked);
  }

  // A judgement that no longer fits the message is an outage that says so: asked again in a
  // smaller batch, it fits.
  static void Fill(const std::vector<Verdict>& verdicts, v1::VerifyResponse* response) {
    int64_t bytes = 0;
    for (const Verdict& verdict : verdicts) {
      v1::Judgement* judgement = response->add_judgements();
      convert::ToProto(verdict, judgement);
      bytes += static_cast<int64_t>(judgement->ByteSizeLong()) + 8;
      if (bytes <= kMaxReplyBytes) continue;
      bytes -= static_cast<int64_t>(judgement->ByteSizeLong());
      judgement->mutable_outage()->set_reason(
          "the batch's judgements are over 16 MiB together; ask again with fewer questions");
      bytes += static_cast<int64_t>(judgement->ByteSizeLong());
    }
  }

  const VerifierPool& pool_;
  const VerifierFactory factory_;
  CallGate gate_;
  std::mutex mutex_;
  int64_t questions_ = 0;
  std::map<std::string, int64_t> outcomes_;
  std::deque<std::pair<std::pair<std::string, VerifierOptions>, std::shared_ptr<Verifier>>> made_;
};

VerifierServer::VerifierServer(const VerifierPool& pool, VerifierFactory factory,
                               VerifierServerOptions options)
    : impl_(std::make_unique<Impl>(pool, std::move(factory), options)) {}
VerifierServer::~VerifierServer() = default;
CallGateStats VerifierServer::queue() const {
  return impl_->queue();
}
rpc::ServedService VerifierServer::service() {
  return {"hone.v1.VerifierService", impl_.get()};
}

}  // namespace hone
