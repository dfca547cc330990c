// SPDX-License-Identifier: Apache-2.0
//
// Files of the tree that the binary carries: Python it runs, templates it writes, protos it hands
// out. services/CMakeLists.txt lists them.
#ifndef HONE_SERVICES_CLIENTS_EMBEDDED_FILES_H_
#define HONE_SERVICES_CLIENTS_EMBEDDED_FILES_H_

#include "absl/strings/string_view.h"

namespace hone {

// By its path under services/clients, or proto/hone/v1/NAME. REQUIRES: it is listed.
absl::string_view EmbeddedFile(absl::string_view path);

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_EMBEDDED_FILES_H_
