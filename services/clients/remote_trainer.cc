// SPDX-License-Identifier: Apache-2.0
#include "services/clients/remote_trainer.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "hone/v1/trainer_service.grpc.pb.h"
#include "services/convert/limits.h"
#include "services/convert/trajectory.h"
#include "services/rpc/channel.h"
#include "services/rpc/status.h"

namespace hone {
namespace {

constexpr absl::Duration kShort = absl::Seconds(10);
constexpr absl::Duration kGoodbye = absl::Seconds(2);
constexpr absl::Duration kSubmit = absl::Minutes(5);

}  // namespace

struct RemoteTrainer::State {
  std::string peer;
  std::unique_ptr<v1::TrainerService::Stub> stub;
  rpc::CallSet calls;
};

RemoteTrainer::RemoteTrainer(std::unique_ptr<State> state) : state_(std::move(state)) {}
RemoteTrainer::~RemoteTrainer() {
  Cancel();
}
void RemoteTrainer::Cancel() {
  state_->calls.Cancel();
}

absl::StatusOr<std::unique_ptr<RemoteTrainer>> RemoteTrainer::Connect(const std::string& address) {
  auto channel = rpc::MakeChannel(address);
  if (!channel.ok()) return channel.status();
  auto state = std::make_unique<State>();
  state->peer = absl::StrCat("the trainer at ", address);
  state->stub = v1::TrainerService::NewStub(*channel);
  return std::unique_ptr<RemoteTrainer>(new RemoteTrainer(std::move(state)));
}

absl::StatusOr<Registration> RemoteTrainer::Register(const std::string& description) {
  v1::RegisterRequest request;
  request.set_description(description);
  v1::RegisterResponse response;
  rpc::ScopedCall call(state_->calls, kShort);
  const absl::Status status =
      call.Ended(state_->stub->Register(call.context(), request, &response));
  if (!status.ok()) return status;
  Registration registration;
  registration.finished = response.finished();
  if (registration.finished) return registration;
  registration.worker = response.worker_id();
  auto setup = convert::FromProto(response.config());
  if (!setup.ok()) return rpc::Nonsense(state_->peer, setup.status());
  registration.setup = *std::move(setup);
  return registration;
}

absl::StatusOr<LeasedJobs> RemoteTrainer::LeaseJobs(const std::string& worker, int32_t limit,
                                                    absl::Duration wait) {
  v1::LeaseRequest request;
  request.set_worker_id(worker);
  request.set_limit(limit);
  request.set_wait_us(absl::ToInt64Microseconds(wait));
  rpc::ScopedCall call(state_->calls, wait + kShort);
  auto reader = state_->stub->Lease(call.context(), request);
  LeasedJobs leased;
  v1::LeaseResponse message;
  absl::Status bad;
  while (bad.ok() && reader->Read(&message)) {
    if (message.finished()) {
      leased.finished = true;
      continue;
    }
    auto job = convert::FromProto(message.job());
    if (job.ok()) {
      leased.leases.push_back({message.lease_id(), *std::move(job)});
    } else {
      bad = rpc::Nonsense(state_->peer, job.status());
    }
  }
  if (!bad.ok()) call.context()->TryCancel();
  const absl::Status status = call.Ended(reader->Finish());
  if (!bad.ok()) return bad;
  // Jobs that arrived before the call broke run out as leases; they are not worked on twice.
  if (!status.ok()) return status;
  return leased;
}

absl::StatusOr<bool> RemoteTrainer::Heartbeat(const std::string& worker) {
  v1::HeartbeatRequest request;
  request.set_worker_id(worker);
  v1::HeartbeatResponse response;
  rpc::ScopedCall call(state_->calls, kShort);
  const absl::Status status =
      call.Ended(state_->stub->Heartbeat(call.context(), request, &response));
  if (!status.ok()) return status;
  return response.finished();
}

absl::Status RemoteTrainer::Submit(const std::string& worker, uint64_t lease, const Group& group) {
  rpc::ScopedCall call(state_->calls, kSubmit);
  v1::SubmitResponse response;
  auto writer = state_->stub->Submit(call.context(), &response);
  v1::SubmitRequest message;
  message.set_worker_id(worker);
  message.set_lease_id(lease);
  message.set_trajectories_in_call(static_cast<int32_t>(group.trajectories.size()));
  convert::HeadToProto(group, message.mutable_group());
  int64_t bytes = static_cast<int64_t>(message.ByteSizeLong());
  absl::Status status;
  bool open = true;
  const auto send = [&] {
    if (bytes > convert::kMaxMessageBytes) {
      status = absl::ResourceExhaustedError(
          absl::StrCat("group ", group.id,
                       ": a trajectory, or the group without its trajectories, "
                       "is over ",
                       convert::kMaxMessageBytes, " bytes on the wire"));
    } else {
      open = writer->Write(message);
    }
    message.Clear();
    bytes = 0;
  };
  for (const Trajectory& trajectory : group.trajectories) {
    if (!open || !status.ok()) break;
    v1::Trajectory more;
    convert::ToProto(trajectory, &more);
    const int64_t size = static_cast<int64_t>(more.ByteSizeLong()) + 16;
    if (bytes > 0 && bytes + size > convert::kTargetMessageBytes) send();
    *message.add_more_trajectories() = std::move(more);
    bytes += size;
  }
  if (open && status.ok() && bytes > 0) send();
  if (status.ok()) {
    writer->WritesDone();
  } else {
    call.context()->TryCancel();
  }
  const absl::Status finished = call.Ended(writer->Finish());
  return status.ok() ? finished : status;
}

absl::Status RemoteTrainer::Fail(const std::string& worker, uint64_t lease,
                                 const absl::Status& why) {
  v1::FailRequest request;
  request.set_worker_id(worker);
  request.set_lease_id(lease);
  request.set_code(static_cast<int32_t>(why.code()));
  request.set_reason(std::string(why.message()).substr(0, 16384));
  v1::FailResponse response;
  rpc::ScopedCall call(state_->calls, kShort);
  return call.Ended(state_->stub->Fail(call.context(), request, &response));
}

absl::Status RemoteTrainer::Deregister(const std::string& worker) {
  v1::DeregisterRequest request;
  request.set_worker_id(worker);
  v1::DeregisterResponse response;
  rpc::CallSet goodbye;
  rpc::ScopedCall call(goodbye, kGoodbye);
  return call.Ended(state_->stub->Deregister(call.context(), request, &response));
}

absl::StatusOr<TrainerStatus> RemoteTrainer::GetStatus() {
  v1::StatusResponse response;
  rpc::ScopedCall call(state_->calls, kShort);
  const absl::Status status =
      call.Ended(state_->stub->Status(call.context(), v1::StatusRequest(), &response));
  if (!status.ok()) return status;
  TrainerStatus out;
  out.run_id = response.run_id();
  out.iteration = response.iteration();
  out.version = response.version();
  out.finished = response.finished();
  out.counts.leased = response.leased();
  out.counts.submitted = response.submitted();
  out.counts.duplicates = response.duplicates();
  out.counts.rejected = response.rejected();
  out.counts.expired = response.expired();
  out.counts.failed = response.failed();
  out.counts.workers = response.workers();
  return out;
}

}  // namespace hone
