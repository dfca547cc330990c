// SPDX-License-Identifier: Apache-2.0
#include "policy/tensor/host_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace hone {

void DiscardMemory(Device& device, void* pointer, size_t bytes) {
  if (&device != &HostDevice()) return;
  // Whole pages alone: their edges may belong to a neighbour.
  static const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(pointer) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(pointer) + bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace hone
