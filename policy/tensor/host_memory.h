// SPDX-License-Identifier: Apache-2.0
//
// What the host's memory can do beyond the Device interface.
#ifndef HONE_POLICY_TENSOR_HOST_MEMORY_H_
#define HONE_POLICY_TENSOR_HOST_MEMORY_H_

#include <cstddef>

#include "policy/tensor/device.h"

namespace hone {

// The bytes will not be read before they are written again: on the host their memory goes back to
// the system, on other devices nothing happens. Their contents become unspecified.
void DiscardMemory(Device& device, void* pointer, size_t bytes);

}  // namespace hone

#endif  // HONE_POLICY_TENSOR_HOST_MEMORY_H_
