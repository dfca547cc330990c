// SPDX-License-Identifier: Apache-2.0
//
// A verifier in another process, over hone.v1.VerifierService: Hone's own or anybody's.
#ifndef HONE_SERVICES_CLIENTS_REMOTE_VERIFIER_H_
#define HONE_SERVICES_CLIENTS_REMOTE_VERIFIER_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/rpc/channel.h"
#include "verifier/verifier.h"

namespace hone {

struct RemoteVerifierOptions {
  absl::Duration call_timeout = absl::Minutes(10);  // of one attempt without question deadlines
  absl::Duration grace = absl::Seconds(5);          // beyond the questions' own deadlines
  rpc::RetryOptions retry = {2, absl::Milliseconds(100), absl::Seconds(1)};
};

// Thread-safe. Batches are cut into calls of at most 64 questions and 4 MiB. A verifier that
// answers nonsense (a wrong number of judgements, unknown outcomes, numbers that are not finite)
// is an outage of what it was asked, never a verdict. When every call of a batch failed, so does
// Verify, with the first error; when some did, their questions are outages.
class RemoteVerifier : public Verifier {
 public:
  // Asks the service who it is. Errors: INVALID_ARGUMENT (address, options), NOT_FOUND (no such
  // verifier), UNAVAILABLE.
  static absl::StatusOr<std::unique_ptr<RemoteVerifier>> Connect(
      const std::string& address, const std::string& name, const VerifierOptions& verifier_options,
      RemoteVerifierOptions options = {});
  ~RemoteVerifier() override;

  VerifierInfo Describe() const override;
  absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) override;

  // Ends running calls with CANCELLED, and all later ones.
  void Cancel();

 private:
  struct State;
  explicit RemoteVerifier(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// What the service at `address` offers.
absl::StatusOr<std::vector<VerifierInfo>> ListRemoteVerifiers(const std::string& address);

// What it has done, by the names of StatsResponse; "outcomes/NAME" for each outcome. UNIMPLEMENTED
// by services that keep no count.
absl::StatusOr<std::map<std::string, int64_t>> RemoteVerifierStats(const std::string& address);

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_REMOTE_VERIFIER_H_
