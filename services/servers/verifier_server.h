// SPDX-License-Identifier: Apache-2.0
//
// hone.v1.VerifierService over a pool of verifiers of this process, and over the registry for
// callers that bring options of their own.
#ifndef HONE_SERVICES_SERVERS_VERIFIER_SERVER_H_
#define HONE_SERVICES_SERVERS_VERIFIER_SERVER_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "rollout/rollout_worker.h"
#include "services/rpc/server.h"
#include "services/servers/call_gate.h"
#include "verifier/verifier.h"

namespace hone {

// Makes a verifier from a name and options: MakeVerifier, or a test's own.
using VerifierFactory = std::function<absl::StatusOr<std::shared_ptr<Verifier>>(
    absl::string_view name, const VerifierOptions& options)>;

struct VerifierServerOptions {
  // Calls judged at once, 1..128, and calls that may wait for a slot, 0..120: more are
  // RESOURCE_EXHAUSTED at once. Below rpc::Server's own limit of 256, so that the caller is told by
  // us. A call leaves the queue at its deadline, or when its caller leaves.
  int slots = 16;
  int queue_limit = 112;
};

// Thread-safe. Outlives the rpc::Server that serves it, whose Shutdown lets accepted calls end;
// the pool outlives both.
class VerifierServer {
 public:
  // A question without options goes to the pool's verifiers of that name, tried in turn. One with
  // options, or whose name the pool does not have, goes to `factory`, whose verifiers are kept
  // (the last 64). Without a factory the pool is all there is.
  VerifierServer(const VerifierPool& pool, VerifierFactory factory,
                 VerifierServerOptions options = {});
  ~VerifierServer();
  rpc::ServedService service();
  CallGateStats queue() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone

#endif  // HONE_SERVICES_SERVERS_VERIFIER_SERVER_H_
