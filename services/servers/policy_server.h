// SPDX-License-Identifier: Apache-2.0
//
// hone.v1.PolicyService over a Generator and a Learner of this process.
#ifndef HONE_SERVICES_SERVERS_POLICY_SERVER_H_
#define HONE_SERVICES_SERVERS_POLICY_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "hone/v1/policy_service.pb.h"
#include "policy/generator.h"
#include "policy/learner.h"
#include "services/rpc/server.h"

namespace hone {

// The policy behind the service. Both are thread-safe or guarded by the service: calls of the
// learner take turns, calls of the generator do not wait for each other.
struct ServedPolicy {
  std::shared_ptr<Generator> generator;  // null: nothing is loaded yet
  std::shared_ptr<Learner> learner;      // null: learning calls are UNIMPLEMENTED
};

// For a policy that somebody else owns and that outlives the server.
ServedPolicy BorrowPolicy(Generator* generator, Learner* learner);

struct PolicyServerOptions {
  int64_t max_call_tokens = int64_t{1} << 26;  // of all sequences of one score or train call
  int64_t max_state_bytes = int64_t{1} << 36;  // of one LoadState
  std::string scratch_directory;               // for states on their way; empty: TMPDIR or /tmp
  // Makes the policy of a server that was started empty from its first LoadState. Without it an
  // empty server answers FAILED_PRECONDITION for ever.
  std::function<absl::StatusOr<ServedPolicy>(const std::string& directory, bool weights_only)>
      create;
  std::optional<v1::LearnerSettings> learner;  // how it learns; none: it does not
};

// Thread-safe. Outlives the rpc::Server that serves it.
class PolicyServer {
 public:
  PolicyServer(ServedPolicy policy, PolicyServerOptions options);
  ~PolicyServer();
  rpc::ServedService service();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone

#endif  // HONE_SERVICES_SERVERS_POLICY_SERVER_H_
