// SPDX-License-Identifier: Apache-2.0
//
// A verifier as a gRPC service; any language with the protos beside this file will do.
// Build: cmake -B build && cmake --build build    Run: build/{{name}} unix:/tmp/{{name}}.sock
// Spec: grpc:unix:/tmp/{{name}}.sock
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <string>

#include "hone/v1/verifier_service.grpc.pb.h"

namespace v1 = hone::v1;

// The text after the reasoning, inside the one answer tag; empty: there is none.
std::string Answer(const std::string& completion) {
  const size_t end = completion.rfind("</think>");
  const std::string region = end == std::string::npos ? completion : completion.substr(end + 8);
  const size_t begin = region.find("<answer>"), close = region.find("</answer>");
  if (region.find("<think>") != std::string::npos) return "";  // it never stopped thinking
  if (begin == std::string::npos || close == std::string::npos || close < begin) return "";
  if (region.find("<answer>", begin + 1) != std::string::npos) return "";
  return region.substr(begin + 8, close - begin - 8);
}

class Service final : public v1::VerifierService::Service {
  grpc::Status Describe(grpc::ServerContext*, const v1::DescribeRequest* request,
                        v1::DescribeResponse* response) override {
    if (request->verifier() != "{{name}}") {
      return {grpc::StatusCode::NOT_FOUND, "this server has {{name}} alone"};
    }
    Fill(response->mutable_info());
    return grpc::Status::OK;
  }

  grpc::Status List(grpc::ServerContext*, const v1::ListRequest*,
                    v1::ListResponse* response) override {
    Fill(response->add_verifiers());
    return grpc::Status::OK;
  }

  // One judgement per question, in order. A failed call is an outage of all of them.
  grpc::Status Verify(grpc::ServerContext*, const v1::VerifyRequest* request,
                      v1::VerifyResponse* response) override {
    for (const v1::Question& question : request->questions()) {
      v1::Judgement* judgement = response->add_judgements();
      if (question.has_time_left_us() && question.time_left_us() <= 0) {
        judgement->mutable_outage()->set_reason("the deadline had passed");
        continue;
      }
      std::string completion;
      for (const auto& segment : question.segments()) {
        if (segment.kind() == "model") completion = segment.text();
      }
      const std::string answer = completion.size() > (1 << 20) ? "" : Answer(completion);
      const bool right = !answer.empty() && answer == question.answer();
      v1::Verdict* verdict = judgement->mutable_verdict();
      verdict->set_outcome(right            ? v1::Verdict::OUTCOME_CORRECT
                           : answer.empty() ? v1::Verdict::OUTCOME_UNPARSABLE
                                            : v1::Verdict::OUTCOME_WRONG);
      v1::Verdict::Part* part = verdict->add_parts();
      part->set_name("accuracy");
      part->set_raw(right ? 1 : 0);
      verdict->set_detail(right ? "it is the gold" : "it is not the gold");
      verdict->set_verifier("{{name}}/1/0");
    }
    return grpc::Status::OK;
  }

  static void Fill(v1::VerifierInfo* info) {
    info->set_name("{{name}}");
    info->set_version("1");
    info->set_config_hash("0");
    info->set_description("Is the answer the gold, byte for byte?");
    info->set_deterministic(true);
  }
};

int main(int argc, char** argv) {
  const std::string address = argc > 1 ? argv[1] : "127.0.0.1:50051";
  Service service;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(16 << 20);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::cout << "listening on " << address << std::endl;
  server->Wait();
}
