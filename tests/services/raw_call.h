// SPDX-License-Identifier: Apache-2.0
//
// One unary exchange of bytes with a server, whatever they mean.
#ifndef HONE_TESTS_SERVICES_RAW_CALL_H_
#define HONE_TESTS_SERVICES_RAW_CALL_H_

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "services/rpc/channel.h"
#include "services/rpc/status.h"

namespace hone {

struct RawReply {
  absl::Status status;
  std::string body;
};

inline RawReply CallRaw(const std::string& address, const std::string& method,
                        const std::string& body) {
  auto channel = rpc::MakeChannel(address);
  EXPECT_TRUE(channel.ok()) << channel.status();
  grpc::GenericStub stub(*channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  const grpc::Slice slice(body);
  const grpc::ByteBuffer request(&slice, 1);
  auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  grpc::ByteBuffer reply;
  grpc::Status status;
  call->Finish(&reply, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  RawReply out = {rpc::FromGrpc(status), ""};
  std::vector<grpc::Slice> slices;
  if (status.ok() && reply.Dump(&slices).ok()) {
    for (const grpc::Slice& piece : slices) {
      out.body.append(reinterpret_cast<const char*>(piece.begin()), piece.size());
    }
  }
  return out;
}

}  // namespace hone

#endif  // HONE_TESTS_SERVICES_RAW_CALL_H_
