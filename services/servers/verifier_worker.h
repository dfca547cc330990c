// SPDX-License-Identifier: Apache-2.0
//
// Any verifier of ours as a worker in JSON Lines: the other side of ProcessVerifier.
#ifndef HONE_SERVICES_SERVERS_VERIFIER_WORKER_H_
#define HONE_SERVICES_SERVERS_VERIFIER_WORKER_H_

#include "absl/status/status.h"
#include "verifier/verifier.h"

namespace hone {

// Says hello, then judges what comes, in order, until the input ends: OK. What has come together is
// judged together. INVALID_ARGUMENT: a line that is no item; UNAVAILABLE: nobody reads.
absl::Status ServeWorker(Verifier& verifier, int in_fd, int out_fd);

}  // namespace hone

#endif  // HONE_SERVICES_SERVERS_VERIFIER_WORKER_H_
