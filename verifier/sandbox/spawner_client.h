// SPDX-License-Identifier: Apache-2.0
//
// The service's end of one hone-sandbox process.
#ifndef HONE_VERIFIER_SANDBOX_SPAWNER_CLIENT_H_
#define HONE_VERIFIER_SANDBOX_SPAWNER_CLIENT_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "verifier/sandbox/descriptor.h"
#include "verifier/sandbox/wire.h"

namespace hone {

// "hone-sandbox" beside the running executable or in the folder above it. FAILED_PRECONDITION.
absl::StatusOr<std::string> FindSpawnerExecutable();

// Thread-safe. The process and all its jails die with the object.
class SpawnerClient {
 public:
  // `sweep`: folders it removes if this process dies. FAILED_PRECONDITION with step and cure.
  static absl::StatusOr<std::shared_ptr<SpawnerClient>> Start(
      const std::string& executable, const std::vector<std::string>& warm_modules,
      const std::vector<std::string>& sweep);
  ~SpawnerClient();

  // Starts one jail and returns the pidfd of its PID 1, readable when all of it is gone.
  // UNAVAILABLE.
  absl::StatusOr<Descriptor> Launch(const RunMessage& message, const std::vector<int>& descriptors);

  // False once it is dead, or was found to misbehave.
  bool usable() const;
  void Distrust() { trusted_ = false; }
  int64_t launched() const { return launched_; }
  pid_t pid() const { return pid_; }

 private:
  SpawnerClient() = default;

  pid_t pid_ = -1;
  Descriptor socket_;
  std::mutex mutex_;  // one request and its reply at a time
  std::atomic<bool> trusted_{true};
  std::atomic<int64_t> launched_{0};
};

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_SPAWNER_CLIENT_H_
