// SPDX-License-Identifier: Apache-2.0
#include "services/servers/trainer_server.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "hone/v1/trainer_service.grpc.pb.h"
#include "services/convert/check.h"
#include "services/convert/limits.h"
#include "services/convert/trajectory.h"
#include "services/rpc/status.h"

namespace hone {
namespace {

constexpr absl::Duration kLongestWait = absl::Seconds(10);
constexpr absl::Duration kSlice = absl::Milliseconds(200);  // between looks at the caller

}  // namespace

absl::Status CheckWorkerSetup(const WorkerSetup& setup) {
  v1::WorkerConfig config;
  convert::ToProto(setup, &config);
  return convert::FromProto(config).status();
}

class TrainerServer::Impl final : public v1::TrainerService::Service {
 public:
  Impl(Scheduler& scheduler, WorkerSetup setup, std::function<RunStatus()> status)
      : scheduler_(scheduler), setup_(std::move(setup)), status_(std::move(status)) {}

  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    if (finished()) {
      response->set_finished(true);
      return grpc::Status::OK;
    }
    convert::Checker check;
    check.Name("description", request->description());
    if (!check.ok()) return rpc::ToGrpc(check.status());
    auto worker = scheduler_.Register(request->description());
    if (!worker.ok()) return rpc::ToGrpc(worker.status());
    {
      std::lock_guard<std::mutex> lock(mutex_);
      workers_.insert(*worker);
    }
    response->set_worker_id(*worker);
    convert::ToProto(setup_, response->mutable_config());
    return grpc::Status::OK;
  }

  grpc::Status Lease(grpc::ServerContext* context, const v1::LeaseRequest* request,
                     grpc::ServerWriter<v1::LeaseResponse>* writer) override {
    return rpc::ToGrpc(LeaseInto(context, *request, writer));
  }

  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override {
    response->set_finished(finished());
    const absl::Status status = scheduler_.Heartbeat(request->worker_id());
    if (absl::IsNotFound(status)) Forget(request->worker_id());
    return rpc::ToGrpc(status);
  }

  grpc::Status Submit(grpc::ServerContext* context, grpc::ServerReader<v1::SubmitRequest>* reader,
                      v1::SubmitResponse*) override {
    return rpc::ToGrpc(Receive(context, reader));
  }

  grpc::Status Fail(grpc::ServerContext*, const v1::FailRequest* request,
                    v1::FailResponse*) override {
    convert::Checker check;
    check.Range("code", request->code(), 1, 16);
    check.Bytes("reason", request->reason(), 16384);
    if (!check.ok()) return rpc::ToGrpc(check.status());
    return rpc::ToGrpc(scheduler_.Fail(
        request->worker_id(), request->lease_id(),
        absl::Status(static_cast<absl::StatusCode>(request->code()), request->reason())));
  }

  grpc::Status Deregister(grpc::ServerContext*, const v1::DeregisterRequest* request,
                          v1::DeregisterResponse*) override {
    scheduler_.Deregister(request->worker_id());
    Forget(request->worker_id());
    return grpc::Status::OK;
  }

  grpc::Status Status(grpc::ServerContext*, const v1::StatusRequest*,
                      v1::StatusResponse* response) override {
    const SchedulerCounts counts = scheduler_.counts();
    const RunStatus run = status_ ? status_() : RunStatus();
    response->set_run_id(setup_.rollout.run_id);
    response->set_iteration(run.iteration);
    response->set_version(run.version);
    response->set_finished(finished());
    response->set_leased(counts.leased);
    response->set_submitted(counts.submitted);
    response->set_duplicates(counts.duplicates);
    response->set_rejected(counts.rejected);
    response->set_expired(counts.expired);
    response->set_failed(counts.failed);
    response->set_workers(counts.workers);
    return grpc::Status::OK;
  }

  void Finish(absl::Duration patience) {
    std::unique_lock<std::mutex> lock(mutex_);
    finished_ = true;
    gone_.wait_for(lock, absl::ToChronoMicroseconds(patience), [this] { return workers_.empty(); });
  }

 private:
  bool finished() {
    std::lock_guard<std::mutex> lock(mutex_);
    return finished_;
  }

  void Forget(const std::string& worker) {
    std::lock_guard<std::mutex> lock(mutex_);
    workers_.erase(worker);
    gone_.notify_all();
  }

  absl::Status LeaseInto(grpc::ServerContext* context, const v1::LeaseRequest& request,
                         grpc::ServerWriter<v1::LeaseResponse>* writer) {
    convert::Checker check;
    check.Range("limit", request.limit(), 1, 1024);
    check.Require(request.wait_us() >= 0, "wait_us", "is negative");
    if (!check.ok()) return check.status();
    const absl::Time until =
        absl::Now() + std::min(kLongestWait, absl::Microseconds(request.wait_us()));
    while (!finished()) {
      if (context->IsCancelled()) return absl::CancelledError("the worker is gone");
      const absl::Duration left = std::max(until - absl::Now(), absl::ZeroDuration());
      auto leases =
          scheduler_.LeaseJobs(request.worker_id(), request.limit(), std::min(left, kSlice));
      if (absl::IsCancelled(leases.status())) break;
      if (absl::IsNotFound(leases.status())) Forget(request.worker_id());
      if (!leases.ok()) return leases.status();
      if (!leases->empty()) return Send(request.worker_id(), *leases, writer);
      if (absl::Now() >= until) return absl::OkStatus();
    }
    v1::LeaseResponse over;
    over.set_finished(true);
    writer->Write(over);
    return absl::OkStatus();
  }

  // Leases that cannot be delivered go back at once.
  absl::Status Send(const std::string& worker, const std::vector<hone::Lease>& leases,
                    grpc::ServerWriter<v1::LeaseResponse>* writer) {
    absl::Status status;
    for (const hone::Lease& lease : leases) {
      v1::LeaseResponse message;
      message.set_lease_id(lease.id);
      convert::ToProto(lease.job, message.mutable_job());
      absl::Status sent;
      if (static_cast<int64_t>(message.ByteSizeLong()) > convert::kMaxMessageBytes) {
        sent = absl::ResourceExhaustedError(
            absl::StrCat("task '", lease.job.task.id, "' is over 16 MiB on the wire"));
      } else if (!status.ok() || !writer->Write(message)) {
        status = absl::CancelledError("the worker is gone");
        sent = absl::UnavailableError("the worker left before it had the job");
      }
      if (!sent.ok()) {
        const absl::Status failed = scheduler_.Fail(worker, lease.id, sent);
        if (!failed.ok()) return failed;
      }
    }
    return status;
  }

  absl::Status Receive(grpc::ServerContext* context,
                       grpc::ServerReader<v1::SubmitRequest>* reader) {
    v1::SubmitRequest message;
    if (!reader->Read(&message)) return absl::InvalidArgumentError("the request is empty");
    v1::SubmitRequest whole = message;
    auto* trajectories = whole.mutable_group()->mutable_trajectories();
    int64_t bytes = static_cast<int64_t>(message.ByteSizeLong());
    do {
      for (v1::Trajectory& more : *message.mutable_more_trajectories()) {
        *trajectories->Add() = std::move(more);
      }
      if (!reader->Read(&message)) break;
      bytes += static_cast<int64_t>(message.ByteSizeLong());
      if (bytes > convert::kMaxGroupBytes) {
        return absl::ResourceExhaustedError(
            absl::StrCat("a group is over ", convert::kMaxGroupBytes, " bytes"));
      }
    } while (true);
    // A worker that died in the middle has submitted nothing.
    if (context->IsCancelled()) return absl::CancelledError("the worker is gone");
    if (whole.trajectories_in_call() != trajectories->size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("trajectories_in_call: ", whole.trajectories_in_call(),
                       " were announced and ", trajectories->size(), " came"));
    }
    auto group = convert::FromProto(whole.group());
    if (!group.ok()) {
      const absl::Status failed =
          scheduler_.Fail(whole.worker_id(), whole.lease_id(), group.status());
      return failed.ok() ? group.status() : failed;
    }
    return scheduler_.Submit(whole.worker_id(), whole.lease_id(), *std::move(group));
  }

  Scheduler& scheduler_;
  const WorkerSetup setup_;
  const std::function<RunStatus()> status_;
  std::mutex mutex_;
  std::condition_variable gone_;
  bool finished_ = false;
  std::set<std::string> workers_;  // registered here, not yet gone
};

TrainerServer::TrainerServer(Scheduler& scheduler, WorkerSetup setup,
                             std::function<RunStatus()> status)
    : impl_(std::make_unique<Impl>(scheduler, std::move(setup), std::move(status))) {}
TrainerServer::~TrainerServer() = default;
rpc::ServedService TrainerServer::service() {
  return {"hone.v1.TrainerService", impl_.get()};
}
void TrainerServer::Finish(absl::Duration patience) {
  impl_->Finish(patience);
}

}  // namespace hone
