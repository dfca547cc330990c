// SPDX-License-Identifier: Apache-2.0
//
// Which step failed and why; step kNone is success. The spawner's error type.
#ifndef HONE_VERIFIER_SANDBOX_SPAWNER_FAILURE_H_
#define HONE_VERIFIER_SANDBOX_SPAWNER_FAILURE_H_

#include <cerrno>
#include <string>

#include "verifier/sandbox/wire.h"

namespace hone {

struct Failure {
  JailStep step = JailStep::kNone;
  int error = 0;
  std::string detail;
  bool failed() const { return step != JailStep::kNone; }
};

inline Failure Failed(JailStep step, std::string detail = {}) {
  return Failure{step, errno, std::move(detail)};
}

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_SPAWNER_FAILURE_H_
