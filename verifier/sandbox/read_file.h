// SPDX-License-Identifier: Apache-2.0
//
// A file of /proc or of a control group: small, and its size is not known before it is read.
#ifndef HONE_VERIFIER_SANDBOX_READ_FILE_H_
#define HONE_VERIFIER_SANDBOX_READ_FILE_H_

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "verifier/sandbox/descriptor.h"

namespace hone {

// Empty where it cannot be read: a process may be gone, a controller absent.
inline std::string ReadFile(const std::string& path) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[4096];
  for (ssize_t n; file.open() && (n = read(file.get(), buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  return text;
}

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_READ_FILE_H_
