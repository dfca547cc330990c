// SPDX-License-Identifier: Apache-2.0
//
// A verifier that is somebody's program: worker processes that answer in JSON Lines
// (docs/custom_verifiers.md has the protocol).
#ifndef HONE_SERVICES_CLIENTS_PROCESS_VERIFIER_H_
#define HONE_SERVICES_CLIENTS_PROCESS_VERIFIER_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/clients/worker_process.h"
#include "verifier/verifier.h"

namespace hone {

struct ProcessVerifierOptions {
  std::vector<std::string> argv;
  std::shared_ptr<Sandbox> sandbox;  // not null: workers are jailed, argv and files are the jail's
  std::map<std::string, std::string> files;  // of the jail: name -> bytes
  SandboxLimits limits;                      // of a worker's whole life
  std::string name;                          // empty: the hello's
  std::string identity;                      // all that decides a verdict; hashed into config_hash
  int workers = 1;                           // processes, 1..64
  int in_flight = 8;                         // items a worker holds at once, 1..256
  absl::Duration item_timeout = absl::Seconds(30);   // of silence while items wait
  absl::Duration start_timeout = absl::Seconds(60);  // until the hello
  // The declared range and from where on an item is correct; unset: the hello's, else 0, 1, max.
  std::optional<double> min, max, threshold;
  WorkerLog log;  // each line of the workers' stderr; called from several threads
};

// Thread-safe. One call's questions are spread over the workers that are free. A worker that ends,
// is silent for too long or answers nonsense is killed; what it had not answered is asked one at a
// time on a fresh one, so that the item that did it is an outage and no other. Every failure is an
// outage of its item: Verify never fails as a whole.
class ProcessVerifier : public Verifier {
 public:
  // Starts one worker to hear who it is. INVALID_ARGUMENT: options out of range. NOT_FOUND: no such
  // program. FAILED_PRECONDITION: it started and gave no good hello; the message says what it did.
  static absl::StatusOr<std::unique_ptr<ProcessVerifier>> Open(ProcessVerifierOptions options);
  ~ProcessVerifier() override;

  VerifierInfo Describe() const override;
  absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) override;

  // Workers started so far, the first included.
  int64_t starts() const;

 private:
  struct State;
  explicit ProcessVerifier(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_PROCESS_VERIFIER_H_
