// SPDX-License-Identifier: Apache-2.0
//
// The jail's file tree, built once: the spawner moves into a mount namespace whose root is a small
// read-only tmpfs with /usr bound into it, so that neither it nor any of its children can name a
// file of the host. A run then only adds its own /proc, /tmp and /box.
#ifndef HONE_VERIFIER_SANDBOX_SPAWNER_TREE_H_
#define HONE_VERIFIER_SANDBOX_SPAWNER_TREE_H_

#include "verifier/sandbox/spawner/failure.h"

namespace hone {

Failure EnterTree();

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_SPAWNER_TREE_H_
