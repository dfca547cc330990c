// SPDX-License-Identifier: Apache-2.0
//
// One verifier behind several addresses: what dies, is full or fails is asked elsewhere.
#ifndef HONE_SERVICES_CLIENTS_VERIFIER_GROUP_H_
#define HONE_SERVICES_CLIENTS_VERIFIER_GROUP_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/clients/remote_verifier.h"
#include "verifier/verifier.h"

namespace hone {

struct VerifierGroupOptions {
  VerifierGroupOptions() { remote.retry.attempts = 1; }  // the next address is the retry
  RemoteVerifierOptions remote;
  int rounds = 3;  // over all addresses, with a wait between, while none answers
  absl::Duration first_wait = absl::Milliseconds(50);
  absl::Duration longest_wait = absl::Seconds(1);
  // As long as some address says that it is full, up to the questions' deadlines and this.
  absl::Duration patience = absl::Seconds(30);
};

// Thread-safe. Calls begin at each address in turn. Every question gets exactly one verdict, or is
// an outage after every address was asked; Verify fails when no address answered at all.
class VerifierGroup : public Verifier {
 public:
  // At least one address must answer now; the others may come later, and are left out while they
  // describe another verifier (name, version, configuration). An empty name: the only verifier
  // that the service lists. Errors as RemoteVerifier::Connect.
  static absl::StatusOr<std::unique_ptr<VerifierGroup>> Connect(
      const std::vector<std::string>& addresses, const std::string& name,
      const VerifierOptions& verifier_options, VerifierGroupOptions options = {});
  ~VerifierGroup() override;

  VerifierInfo Describe() const override;
  absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) override;

 private:
  struct State;
  explicit VerifierGroup(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_VERIFIER_GROUP_H_
