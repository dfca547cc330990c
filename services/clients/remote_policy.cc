// SPDX-License-Identifier: Apache-2.0
#include "services/clients/remote_policy.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <limits>
#include <mutex>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "hone/v1/policy_service.grpc.pb.h"
#include "services/convert/learning.h"
#include "services/convert/limits.h"
#include "services/convert/policy.h"
#include "services/convert/state_files.h"
#include "services/rpc/pieces.h"
#include "services/rpc/status.h"

namespace hone {

struct RemotePolicy::State {
  std::string peer;
  RemotePolicyOptions options;
  std::unique_ptr<v1::PolicyService::Stub> stub;
  rpc::CallSet calls;
  std::string id_prefix;
  std::atomic<uint64_t> next_id{0};
  std::mutex mutex;
  std::string gradients_at;  // instance that holds the pending gradients; empty: unknown

  std::string NewId() { return absl::StrCat(id_prefix, "/", next_id.fetch_add(1)); }
  absl::Status Retry(const std::function<absl::Status()>& attempt) {
    return rpc::WithRetries(options.retry, calls, attempt);
  }
  void RememberInstance(const std::string& instance) {
    std::lock_guard<std::mutex> lock(mutex);
    gradients_at = instance;
  }
};

namespace {

// Sends the pieces and hands every reply to `on_reply` until the call ends. What goes wrong here
// wins over what the server then says about the cancelled call.
template <typename Message, typename Reply, typename Add, typename OnReply>
absl::Status Exchange(rpc::ScopedCall& call, grpc::ClientReaderWriter<Message, Reply>* stream,
                      size_t sequences, Message first, const Add& add, const OnReply& on_reply) {
  bool open = true;
  absl::Status status =
      rpc::WriteInPieces(sequences, std::move(first), add, [&](const Message& piece) {
        open = stream->Write(piece);
        return open;
      });
  if (!open) status = absl::OkStatus();  // the server closed the stream: Finish tells why
  if (status.ok() && open) stream->WritesDone();
  Reply reply;
  while (status.ok() && stream->Read(&reply)) status = on_reply(reply);
  if (!status.ok()) call.context()->TryCancel();
  const absl::Status finished = call.Ended(stream->Finish());
  return status.ok() ? finished : status;
}

absl::Status CountError(size_t got, size_t asked) {
  return absl::InvalidArgumentError(absl::StrCat(got, " sequences for ", asked));
}

}  // namespace

RemotePolicy::RemotePolicy(std::unique_ptr<State> state) : state_(std::move(state)) {}
RemotePolicy::~RemotePolicy() {
  Cancel();
}
void RemotePolicy::Cancel() {
  state_->calls.Cancel();
}

absl::StatusOr<std::unique_ptr<RemotePolicy>> RemotePolicy::Connect(const std::string& address,
                                                                    RemotePolicyOptions options) {
  auto channel = rpc::MakeChannel(address);
  if (!channel.ok()) return channel.status();
  auto state = std::make_unique<State>();
  state->peer = absl::StrCat("the policy at ", address);
  state->options = options;
  state->stub = v1::PolicyService::NewStub(*channel);
  std::random_device entropy;
  state->id_prefix = absl::StrCat(absl::Hex(entropy()), absl::Hex(entropy()));
  return std::unique_ptr<RemotePolicy>(new RemotePolicy(std::move(state)));
}

absl::Status RemotePolicy::Generate(absl::Span<const GenerateRequest> requests,
                                    const ChunkSink& sink) {
  bool delivered = false;
  const auto attempt = [&]() -> absl::Status {
    const absl::Time now = absl::Now();
    v1::GenerateRequest request;
    absl::Time last = requests.empty() ? now : absl::InfinitePast();
    for (const GenerateRequest& item : requests) {
      convert::ToProto(item, now, request.add_items());
      last = std::max(last, item.deadline);
    }
    const absl::Status fits = rpc::CheckSize(request, "a batch of prompts");
    if (!fits.ok()) return fits;
    const absl::Duration own = std::max(last - now, absl::ZeroDuration());
    rpc::ScopedCall call(state_->calls, std::min(own + state_->options.generate_grace,
                                                 state_->options.call_timeout));
    auto reader = state_->stub->Generate(call.context(), request);
    v1::GenerateResponse message;
    absl::Status status;
    while (status.ok() && reader->Read(&message)) {
      auto chunk = convert::FromProto(message);
      if (!chunk.ok()) {
        status = rpc::Nonsense(state_->peer, chunk.status());
        continue;
      }
      delivered = true;
      if (!sink(*std::move(chunk))) status = absl::CancelledError("the caller stopped it");
    }
    if (!status.ok()) call.context()->TryCancel();
    const absl::Status finished = call.Ended(reader->Finish());
    return status.ok() ? finished : status;
  };
  return rpc::WithRetries(state_->options.retry, state_->calls, attempt,
                          [&] { return !delivered; });
}

absl::StatusOr<ScoreResult> RemotePolicy::Score(const ScoreRequest& request) {
  if (!request.route_override.empty() &&
      request.route_override.size() != request.sequences.size()) {
    return absl::InvalidArgumentError("route_override: not one per sequence");
  }
  ScoreResult result;
  const absl::Status status = state_->Retry([&]() -> absl::Status {
    result = ScoreResult();
    v1::ScoreRequest first;
    convert::SettingsToProto(request, &first);
    rpc::ScopedCall call(state_->calls, state_->options.call_timeout);
    auto stream = state_->stub->Score(call.context());
    const auto add = [&](size_t i, v1::ScoreRequest* to) {
      convert::SequenceToProto(request, i, to->add_sequences());
    };
    const auto on_reply = [&](const v1::ScoreResponse& reply) -> absl::Status {
      result.version = reply.version();
      for (const auto& sequence : reply.sequences()) {
        const size_t i = result.logprobs.size();
        if (i >= request.sequences.size()) {
          return rpc::Nonsense(state_->peer, CountError(i + 1, request.sequences.size()));
        }
        const absl::Status good = convert::AppendFromProto(sequence, request.sequences[i].size(),
                                                           request.return_routes, &result);
        if (!good.ok()) return rpc::Nonsense(state_->peer, good);
      }
      return absl::OkStatus();
    };
    return Exchange(call, stream.get(), request.sequences.size(), std::move(first), add, on_reply);
  });
  if (!status.ok()) return status;
  if (result.logprobs.size() != request.sequences.size()) {
    return rpc::Nonsense(state_->peer,
                         CountError(result.logprobs.size(), request.sequences.size()));
  }
  return result;
}

absl::StatusOr<PolicyInfo> RemotePolicy::Info() {
  v1::InfoResponse response;
  const absl::Status status = state_->Retry([&] {
    rpc::ScopedCall call(state_->calls, state_->options.info_timeout);
    return call.Ended(state_->stub->Info(call.context(), v1::InfoRequest(), &response));
  });
  if (!status.ok()) return status;
  auto info = convert::FromProto(response);
  if (!info.ok()) return rpc::Nonsense(state_->peer, info.status());
  return info;
}

absl::StatusOr<v1::SettingsResponse> RemotePolicy::Settings() {
  v1::SettingsResponse response;
  const absl::Status status = state_->Retry([&] {
    rpc::ScopedCall call(state_->calls, state_->options.info_timeout);
    return call.Ended(state_->stub->Settings(call.context(), v1::SettingsRequest(), &response));
  });
  if (!status.ok()) return status;
  return response;
}

namespace {

// Takes one reply's sequences, checking each against what was sent.
absl::Status TakePass(const v1::ForwardBackwardResponse& reply,
                      const ForwardBackwardRequest& request, ForwardBackwardResult* result) {
  absl::Status status = convert::MetricsFromProto(reply, result);
  for (const auto& sequence : reply.sequences()) {
    const size_t i = result->logprobs.size();
    if (!status.ok()) break;
    if (i >= request.sequences.size()) return CountError(i + 1, request.sequences.size());
    status = convert::AppendFromProto(sequence, request.sequences[i].tokens.size(), result);
  }
  return status;
}

void FirstPass(const ForwardBackwardRequest& request, v1::ForwardBackwardRequest* to) {
  convert::SettingsToProto(request, to);
  to->set_sequences_in_call(static_cast<int64_t>(request.sequences.size()));
}

}  // namespace

absl::StatusOr<ForwardBackwardResult> RemotePolicy::ForwardBackward(
    const ForwardBackwardRequest& request) {
  ForwardBackwardResult result;
  std::string instance;
  const std::string id = state_->NewId();
  const absl::Status status = state_->Retry([&]() -> absl::Status {
    result = ForwardBackwardResult();
    v1::ForwardBackwardRequest first;
    FirstPass(request, &first);
    first.set_request_id(id);
    rpc::ScopedCall call(state_->calls, state_->options.call_timeout);
    auto stream = state_->stub->ForwardBackward(call.context());
    const auto add = [&](size_t i, v1::ForwardBackwardRequest* to) {
      convert::ToProto(request.sequences[i], to->add_sequences());
    };
    const auto on_reply = [&](const v1::ForwardBackwardResponse& reply) -> absl::Status {
      if (!reply.instance_id().empty()) instance = reply.instance_id();
      const absl::Status good = TakePass(reply, request, &result);
      return good.ok() ? good : rpc::Nonsense(state_->peer, good);
    };
    return Exchange(call, stream.get(), request.sequences.size(), std::move(first), add, on_reply);
  });
  if (!status.ok()) return status;
  if (result.logprobs.size() != request.sequences.size()) {
    return rpc::Nonsense(state_->peer,
                         CountError(result.logprobs.size(), request.sequences.size()));
  }
  if (!request.forward_only) state_->RememberInstance(instance);
  return result;
}

absl::StatusOr<OptimStepResult> RemotePolicy::OptimStep(const OptimStepRequest& request) {
  v1::OptimStepRequest message;
  convert::ToProto(request, &message);
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    message.set_instance_id(state_->gradients_at);
  }
  v1::OptimStepResponse response;
  const absl::Status status = state_->Retry([&] {
    rpc::ScopedCall call(state_->calls, state_->options.call_timeout);
    return call.Ended(state_->stub->OptimStep(call.context(), message, &response));
  });
  if (!status.ok()) return status;
  auto result = convert::FromProto(response);
  if (!result.ok()) return rpc::Nonsense(state_->peer, result.status());
  state_->RememberInstance("");
  return result;
}

absl::StatusOr<UpdateResult> RemotePolicy::Update(const ForwardBackwardRequest& pass,
                                                  const OptimStepRequest& step) {
  UpdateResult result;
  bool stepped = false;
  const absl::Status status = state_->Retry([&]() -> absl::Status {
    result = UpdateResult();
    stepped = false;
    v1::UpdateRequest first;
    FirstPass(pass, first.mutable_pass());
    convert::ToProto(step, first.mutable_step());
    rpc::ScopedCall call(state_->calls, state_->options.call_timeout);
    auto stream = state_->stub->Update(call.context());
    const auto add = [&](size_t i, v1::UpdateRequest* to) {
      convert::ToProto(pass.sequences[i], to->mutable_pass()->add_sequences());
    };
    const auto on_reply = [&](const v1::UpdateResponse& reply) -> absl::Status {
      const absl::Status good = TakePass(reply.pass(), pass, &result.pass);
      if (!good.ok()) return rpc::Nonsense(state_->peer, good);
      if (!reply.has_step()) return absl::OkStatus();
      auto taken = convert::FromProto(reply.step());
      if (!taken.ok()) return rpc::Nonsense(state_->peer, taken.status());
      result.step = *std::move(taken);
      stepped = true;
      return absl::OkStatus();
    };
    return Exchange(call, stream.get(), pass.sequences.size(), std::move(first), add, on_reply);
  });
  if (!status.ok()) return status;
  if (!stepped || result.pass.logprobs.size() != pass.sequences.size()) {
    return rpc::Nonsense(state_->peer, absl::InvalidArgumentError("the update's answer is cut"));
  }
  state_->RememberInstance("");
  return result;
}

absl::Status RemotePolicy::ResetGradients() {
  const absl::Status status = state_->Retry([&] {
    rpc::ScopedCall call(state_->calls, state_->options.call_timeout);
    v1::ResetGradientsResponse response;
    return call.Ended(
        state_->stub->ResetGradients(call.context(), v1::ResetGradientsRequest(), &response));
  });
  if (status.ok()) state_->RememberInstance("");
  return status;
}

absl::Status RemotePolicy::ResetReference() {
  return state_->Retry([&] {
    rpc::ScopedCall call(state_->calls, state_->options.call_timeout);
    v1::ResetReferenceResponse response;
    return call.Ended(
        state_->stub->ResetReference(call.context(), v1::ResetReferenceRequest(), &response));
  });
}

absl::Status RemotePolicy::SaveState(const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    return absl::NotFoundError(absl::StrCat("no directory ", directory, " to save the state in"));
  }
  if (!std::filesystem::is_empty(directory, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat(directory, " is not empty; save the state into a new directory"));
  }
  return state_->Retry([&]() -> absl::Status {
    convert::StateFilesWriter files(directory, std::numeric_limits<int64_t>::max());
    rpc::ScopedCall call(state_->calls, state_->options.call_timeout);
    auto reader = state_->stub->SaveState(call.context(), v1::SaveStateRequest());
    v1::SaveStateResponse message;
    absl::Status status;
    bool whole = false;
    while (status.ok() && reader->Read(&message)) {
      if (whole || (!message.has_chunk() && !message.has_end())) {
        status = absl::InvalidArgumentError("a message that is no part of a state");
      } else if (message.has_chunk()) {
        status = files.Add(message.chunk());
      } else {
        status = files.Finish(message.end());
        whole = status.ok();
      }
      if (absl::IsInvalidArgument(status)) status = rpc::Nonsense(state_->peer, status);
    }
    if (!status.ok()) call.context()->TryCancel();
    const absl::Status finished = call.Ended(reader->Finish());
    if (!status.ok() || !finished.ok()) return status.ok() ? finished : status;
    return whole ? absl::OkStatus() : absl::DataLossError("the state ended in the middle");
  });
}

absl::Status RemotePolicy::LoadState(const std::string& directory, bool weights_only) {
  return state_->Retry([&]() -> absl::Status {
    rpc::ScopedCall call(state_->calls, state_->options.call_timeout);
    v1::LoadStateResponse response;
    auto writer = state_->stub->LoadState(call.context(), &response);
    v1::LoadStateRequest message;
    message.mutable_start()->set_weights_only(weights_only);
    bool open = writer->Write(message);
    absl::Status status;
    if (open) {
      v1::LoadStateRequest end;
      status = convert::ReadStateFiles(
          directory,
          [&](const v1::FileChunk& chunk) {
            *message.mutable_chunk() = chunk;
            open = writer->Write(message);
            return open;
          },
          end.mutable_end());
      if (status.ok()) writer->Write(end);
    }
    // A stream that the server closed: its status says why.
    if (!open) status = absl::OkStatus();
    if (status.ok()) {
      writer->WritesDone();
    } else {
      call.context()->TryCancel();
    }
    const absl::Status finished = call.Ended(writer->Finish());
    return status.ok() ? finished : status;
  });
}

}  // namespace hone
