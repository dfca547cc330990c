// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/scratch.h"

#include <cassert>
#include <cstdlib>

namespace hone::kernels {
namespace {

struct Scratch {
  void* data = nullptr;
  size_t bytes = 0;
  ~Scratch() { std::free(data); }
};

thread_local Scratch scratch;

}  // namespace

void* ThreadScratch(size_t bytes) {
  if (bytes > scratch.bytes) {
    std::free(scratch.data);
    scratch.bytes = (bytes + bytes / 2 + 63) / 64 * 64;
    scratch.data = std::aligned_alloc(64, scratch.bytes);
    assert(scratch.data != nullptr && "no memory for kernel scratch");
  }
  return scratch.data;
}

}  // namespace hone::kernels
