// SPDX-License-Identifier: Apache-2.0
//
// An open file descriptor that is closed once. Used on both sides of the jail: no library here.
#ifndef HONE_VERIFIER_SANDBOX_DESCRIPTOR_H_
#define HONE_VERIFIER_SANDBOX_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace hone {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Descriptor() { Close(); }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_DESCRIPTOR_H_
