// SPDX-License-Identifier: Apache-2.0
//
// Removes the control groups of a service that died without a word. The folders are opened before
// the spawner leaves the host's tree.
#ifndef HONE_VERIFIER_SANDBOX_SPAWNER_SWEEP_H_
#define HONE_VERIFIER_SANDBOX_SPAWNER_SWEEP_H_

#include <string>
#include <vector>

#include "verifier/sandbox/descriptor.h"

namespace hone {

class Sweeper {
 public:
  explicit Sweeper(const std::vector<std::string>& directories);
  // Kills every run that is left, waits for them, then removes the folders.
  void Sweep() const;

 private:
  struct Folder {
    Descriptor parent, self;
    std::string name;
  };
  std::vector<Folder> folders_;
};

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_SPAWNER_SWEEP_H_
