// SPDX-License-Identifier: Apache-2.0
#include "services/servers/policy_server.h"

#include <grpcpp/grpcpp.h>

#include <random>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "hone/v1/policy_service.grpc.pb.h"
#include "services/convert/check.h"
#include "services/convert/learning.h"
#include "services/convert/limits.h"
#include "services/convert/policy.h"
#include "services/convert/state_files.h"
#include "services/rpc/pieces.h"
#include "services/rpc/status.h"
#include "services/servers/chunk_writer.h"
#include "services/servers/learner_guard.h"

namespace hone {
namespace {

std::string NewInstanceId() {
  std::random_device entropy;
  return absl::StrCat(absl::Hex(entropy(), absl::kZeroPad8), absl::Hex(entropy(), absl::kZeroPad8));
}

absl::Time DeadlineOf(const grpc::ServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

}  // namespace

ServedPolicy BorrowPolicy(Generator* generator, Learner* learner) {
  return {std::shared_ptr<Generator>(generator, [](Generator*) {}),
          std::shared_ptr<Learner>(learner, [](Learner*) {})};
}

class PolicyServer::Impl final : public v1::PolicyService::Service {
 public:
  Impl(ServedPolicy policy, PolicyServerOptions options)
      : options_(std::move(options)), policy_(std::move(policy)), instance_(NewInstanceId()) {}

  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    return rpc::ToGrpc(GenerateInto(context, *request, writer));
  }

  grpc::Status Score(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::ScoreResponse, v1::ScoreRequest>* stream) override {
    return rpc::ToGrpc(ScoreStream(stream));
  }

  grpc::Status Info(grpc::ServerContext*, const v1::InfoRequest*,
                    v1::InfoResponse* response) override {
    const ServedPolicy policy = Current();
    if (policy.generator == nullptr) return rpc::ToGrpc(Empty());
    auto info = policy.generator->Info();
    if (!info.ok()) return rpc::ToGrpc(info.status());
    convert::ToProto(*info, response);
    response->set_instance_id(Instance());
    return grpc::Status::OK;
  }

  grpc::Status Settings(grpc::ServerContext*, const v1::SettingsRequest*,
                        v1::SettingsResponse* response) override {
    if (options_.learner.has_value()) *response->mutable_learner() = *options_.learner;
    return grpc::Status::OK;
  }

  grpc::Status ForwardBackward(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::ForwardBackwardResponse, v1::ForwardBackwardRequest>* stream)
      override {
    return rpc::ToGrpc(ForwardBackwardStream(context, stream));
  }

  grpc::Status OptimStep(grpc::ServerContext* context, const v1::OptimStepRequest* request,
                         v1::OptimStepResponse* response) override {
    return rpc::ToGrpc(Step(context, *request, response));
  }

  grpc::Status Update(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::UpdateResponse, v1::UpdateRequest>* stream) override {
    return rpc::ToGrpc(UpdateStream(context, stream));
  }

  grpc::Status ResetGradients(grpc::ServerContext* context, const v1::ResetGradientsRequest*,
                              v1::ResetGradientsResponse*) override {
    return rpc::ToGrpc(
        WithLearner(context, [](Learner& learner) { return learner.ResetGradients(); }));
  }

  grpc::Status ResetReference(grpc::ServerContext* context, const v1::ResetReferenceRequest*,
                              v1::ResetReferenceResponse*) override {
    return rpc::ToGrpc(
        WithLearner(context, [](Learner& learner) { return learner.ResetReference(); }));
  }

  grpc::Status SaveState(grpc::ServerContext* context, const v1::SaveStateRequest*,
                         grpc::ServerWriter<v1::SaveStateResponse>* writer) override {
    return rpc::ToGrpc(Save(context, writer));
  }

  grpc::Status LoadState(grpc::ServerContext* context,
                         grpc::ServerReader<v1::LoadStateRequest>* reader,
                         v1::LoadStateResponse*) override {
    return rpc::ToGrpc(Load(context, reader));
  }

 private:
  static absl::Status Empty() {
    return absl::FailedPreconditionError(
        "the policy holds no weights yet: it was started without a model; call LoadState first");
  }

  ServedPolicy Current() {
    std::shared_lock<std::shared_mutex> lock(policy_mutex_);
    return policy_;
  }
  std::string Instance() {
    std::shared_lock<std::shared_mutex> lock(policy_mutex_);
    return instance_;
  }

  absl::StatusOr<std::shared_ptr<Learner>> CurrentLearner() {
    const ServedPolicy policy = Current();
    if (policy.generator == nullptr) return Empty();
    if (policy.learner == nullptr) {
      return absl::UnimplementedError("this policy is served for generation only");
    }
    return policy.learner;
  }

  template <typename Call>
  absl::Status WithLearner(grpc::ServerContext* context, const Call& call) {
    auto learner = CurrentLearner();
    if (!learner.ok()) return learner.status();
    std::unique_lock<std::timed_mutex> lock(learner_mutex_, std::defer_lock);
    const absl::Status locked = LockFor(context, lock);
    if (!locked.ok()) return locked;
    return call(**learner);
  }

  absl::Status GenerateInto(grpc::ServerContext* context, const v1::GenerateRequest& request,
                            grpc::ServerWriter<v1::GenerateResponse>* writer) {
    const ServedPolicy policy = Current();
    if (policy.generator == nullptr) return Empty();
    if (request.items_size() > convert::kMaxItemsPerCall) {
      return absl::InvalidArgumentError(
          absl::StrCat(request.items_size(), " items, at most ", convert::kMaxItemsPerCall));
    }
    const absl::Time now = absl::Now();
    const absl::Time call_deadline = DeadlineOf(*context);
    std::vector<GenerateRequest> requests;
    for (int i = 0; i < request.items_size(); ++i) {
      auto item = convert::FromProto(request.items(i), now);
      if (!item.ok()) {
        convert::Checker path;
        path.Within(convert::At("items", i), item.status());
        return path.status();
      }
      item->deadline = std::min(item->deadline, call_deadline);
      requests.push_back(*std::move(item));
    }
    ChunkWriter chunks(context, writer);
    const absl::Status status = policy.generator->Generate(
        requests, [&](GenerateChunk chunk) { return chunks.Push(std::move(chunk)); });
    const bool delivered = chunks.Finish();
    if (status.ok() && !delivered) return absl::CancelledError("the caller is gone");
    return status;
  }

  absl::Status CheckTotal(int64_t* total, int64_t more) const {
    *total += more;
    if (*total <= options_.max_call_tokens) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("one call carries more than ", options_.max_call_tokens, " tokens"));
  }

  absl::Status ScoreStream(grpc::ServerReaderWriter<v1::ScoreResponse, v1::ScoreRequest>* stream) {
    const ServedPolicy policy = Current();
    if (policy.generator == nullptr) return Empty();
    v1::ScoreRequest message;
    if (!stream->Read(&message)) return absl::InvalidArgumentError("the request is empty");
    auto request = convert::SettingsFromProto(message);
    if (!request.ok()) return request.status();
    const bool routes = message.override_routes();
    int64_t total = 0;
    do {
      for (const v1::TokenSequence& sequence : message.sequences()) {
        absl::Status status = CheckTotal(&total, sequence.tokens_size());
        if (status.ok()) status = convert::AppendFromProto(sequence, routes, &*request);
        if (!status.ok()) return status;
      }
    } while (stream->Read(&message));
    auto result = policy.generator->Score(*request);
    if (!result.ok()) return result.status();
    v1::ScoreResponse first;
    first.set_version(result->version);
    return rpc::WriteInPieces(
        result->logprobs.size(), std::move(first),
        [&](size_t i, v1::ScoreResponse* to) {
          to->set_version(result->version);
          convert::SequenceToProto(*result, i, to->add_sequences());
        },
        [&](const v1::ScoreResponse& piece) { return stream->Write(piece); });
  }

  absl::Status AppendTrainSequences(const v1::ForwardBackwardRequest& message, int64_t* total,
                                    ForwardBackwardRequest* request) const {
    for (const v1::TrainSequence& from : message.sequences()) {
      const absl::Status fits = CheckTotal(total, from.tokens_size());
      if (!fits.ok()) return fits;
      convert::Checker check;
      TrainSequence sequence;
      check.Take(convert::At("sequences", static_cast<int64_t>(request->sequences.size())),
                 convert::FromProto(from), &sequence);
      if (!check.ok()) return check.status();
      request->sequences.push_back(std::move(sequence));
    }
    return absl::OkStatus();
  }

  // A caller that broke off in the middle has asked for nothing.
  static absl::Status CheckWhole(int64_t announced, const ForwardBackwardRequest& request) {
    if (announced == static_cast<int64_t>(request.sequences.size())) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("sequences_in_call: ", announced,
                                                   " were announced and ", request.sequences.size(),
                                                   " came"));
  }

  absl::Status ForwardBackwardStream(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::ForwardBackwardResponse, v1::ForwardBackwardRequest>* stream) {
    v1::ForwardBackwardRequest message;
    if (!stream->Read(&message)) return absl::InvalidArgumentError("the request is empty");
    auto request = convert::SettingsFromProto(message);
    if (!request.ok()) return request.status();
    const std::string id = message.request_id();
    const int64_t sequences = message.sequences_in_call();
    int64_t total = 0;
    do {
      const absl::Status status = AppendTrainSequences(message, &total, &*request);
      if (!status.ok()) return status;
    } while (stream->Read(&message));
    const absl::Status whole = CheckWhole(sequences, *request);
    if (!whole.ok()) return whole;
    std::shared_ptr<const ForwardBackwardResult> result;
    const absl::Status status = WithLearner(context, [&](Learner& learner) {
      result = passes_.Find(id);
      if (result != nullptr) return absl::OkStatus();
      auto passed = learner.ForwardBackward(*request);
      if (!passed.ok()) return passed.status();
      result = passes_.Put(id, *std::move(passed));
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    v1::ForwardBackwardResponse first;
    convert::MetricsToProto(*result, &first);
    first.set_instance_id(Instance());
    return rpc::WriteInPieces(
        result->logprobs.size(), std::move(first),
        [&](size_t i, v1::ForwardBackwardResponse* to) {
          convert::SequenceToProto(*result, i, to->add_sequences());
        },
        [&](const v1::ForwardBackwardResponse& piece) { return stream->Write(piece); });
  }

  absl::Status CheckInstance(const v1::OptimStepRequest& request) {
    if (request.instance_id().empty() || request.instance_id() == Instance()) {
      return absl::OkStatus();
    }
    return absl::FailedPreconditionError(
        "the policy was restarted or loaded a state since the gradients were computed; start the "
        "update again");
  }

  absl::Status Step(grpc::ServerContext* context, const v1::OptimStepRequest& request,
                    v1::OptimStepResponse* response) {
    auto step = convert::FromProto(request);
    if (!step.ok()) return step.status();
    return WithLearner(context, [&](Learner& learner) {
      const absl::Status same = CheckInstance(request);
      if (!same.ok()) return same;
      auto stepped = learner.OptimStep(*step);
      if (!stepped.ok()) return stepped.status();
      convert::ToProto(*stepped, response);
      return absl::OkStatus();
    });
  }

  absl::Status UpdateStream(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::UpdateResponse, v1::UpdateRequest>* stream) {
    v1::UpdateRequest message;
    if (!stream->Read(&message)) return absl::InvalidArgumentError("the request is empty");
    auto pass = convert::SettingsFromProto(message.pass());
    if (!pass.ok()) return pass.status();
    auto step = convert::FromProto(message.step());
    if (!step.ok()) return step.status();
    if (step->update_id.empty()) {
      return absl::InvalidArgumentError("step.update_id: is empty; it makes a retry harmless");
    }
    const int64_t sequences = message.pass().sequences_in_call();
    int64_t total = 0;
    do {
      const absl::Status status = AppendTrainSequences(message.pass(), &total, &*pass);
      if (!status.ok()) return status;
    } while (stream->Read(&message));
    const absl::Status whole = CheckWhole(sequences, *pass);
    if (!whole.ok()) return whole;
    std::shared_ptr<const UpdateResult> result;
    const absl::Status status = WithLearner(context, [&](Learner& learner) {
      result = updates_.Find(step->update_id);
      if (result != nullptr) return absl::OkStatus();
      auto updated = learner.Update(*pass, *step);
      if (!updated.ok()) return updated.status();
      result = updates_.Put(step->update_id, *std::move(updated));
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    v1::UpdateResponse first;
    convert::MetricsToProto(result->pass, first.mutable_pass());
    first.mutable_pass()->set_instance_id(Instance());
    convert::ToProto(result->step, first.mutable_step());
    return rpc::WriteInPieces(
        result->pass.logprobs.size(), std::move(first),
        [&](size_t i, v1::UpdateResponse* to) {
          convert::SequenceToProto(result->pass, i, to->mutable_pass()->add_sequences());
        },
        [&](const v1::UpdateResponse& piece) { return stream->Write(piece); });
  }

  absl::Status Save(grpc::ServerContext* context,
                    grpc::ServerWriter<v1::SaveStateResponse>* writer) {
    auto scratch = convert::ScratchDirectory::Make(options_.scratch_directory);
    if (!scratch.ok()) return scratch.status();
    const absl::Status saved = WithLearner(
        context, [&](Learner& learner) { return learner.SaveState((*scratch)->path()); });
    if (!saved.ok()) return saved;
    v1::SaveStateResponse end;
    const absl::Status sent = convert::ReadStateFiles((*scratch)->path(),
                                                      [&](const v1::FileChunk& chunk) {
                                                        v1::SaveStateResponse message;
                                                        *message.mutable_chunk() = chunk;
                                                        return writer->Write(message);
                                                      },
                                                      end.mutable_end());
    if (!sent.ok()) return sent;
    return writer->Write(end) ? absl::OkStatus() : absl::CancelledError("the caller is gone");
  }

  // Receives the files; OK only when the state is whole.
  absl::Status Receive(grpc::ServerReader<v1::LoadStateRequest>* reader,
                       const std::string& directory, bool* weights_only) {
    v1::LoadStateRequest message;
    if (!reader->Read(&message) || !message.has_start()) {
      return absl::InvalidArgumentError("the first message is not `start`");
    }
    *weights_only = message.start().weights_only();
    convert::StateFilesWriter files(directory, options_.max_state_bytes);
    while (reader->Read(&message)) {
      absl::Status status;
      if (message.has_chunk()) {
        status = files.Add(message.chunk());
      } else if (message.has_end()) {
        return files.Finish(message.end());
      } else {
        status = absl::InvalidArgumentError("a message is neither a chunk nor the end");
      }
      if (!status.ok()) return status;
    }
    return absl::DataLossError("the state ended in the middle");
  }

  absl::Status Load(grpc::ServerContext* context,
                    grpc::ServerReader<v1::LoadStateRequest>* reader) {
    auto scratch = convert::ScratchDirectory::Make(options_.scratch_directory);
    if (!scratch.ok()) return scratch.status();
    bool weights_only = false;
    const std::string& directory = (*scratch)->path();
    absl::Status status = Receive(reader, directory, &weights_only);
    if (!status.ok()) return status;
    std::unique_lock<std::timed_mutex> lock(learner_mutex_, std::defer_lock);
    status = LockFor(context, lock);
    if (!status.ok()) return status;
    ServedPolicy policy = Current();
    if (policy.generator == nullptr) {
      if (!options_.create) return Empty();
      auto created = options_.create(directory, weights_only);
      if (!created.ok()) return created.status();
      policy = *std::move(created);
    } else if (policy.learner == nullptr) {
      return absl::UnimplementedError("this policy is served for generation only");
    } else {
      status = policy.learner->LoadState(directory, weights_only);
      if (!status.ok()) return status;
    }
    passes_.Clear();
    updates_.Clear();
    std::unique_lock<std::shared_mutex> change(policy_mutex_);
    policy_ = std::move(policy);
    instance_ = NewInstanceId();
    return absl::OkStatus();
  }

  const PolicyServerOptions options_;
  std::shared_mutex policy_mutex_;
  ServedPolicy policy_;
  std::string instance_;
  std::timed_mutex learner_mutex_;  // guards the learner and the two below
  Remembered<ForwardBackwardResult> passes_;
  Remembered<UpdateResult> updates_;
};

PolicyServer::PolicyServer(ServedPolicy policy, PolicyServerOptions options)
    : impl_(std::make_unique<Impl>(std::move(policy), std::move(options))) {}
PolicyServer::~PolicyServer() = default;
rpc::ServedService PolicyServer::service() {
  return {"hone.v1.PolicyService", impl_.get()};
}

}  // namespace hone
