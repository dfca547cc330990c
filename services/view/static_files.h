// SPDX-License-Identifier: Apache-2.0
//
// The pages that the binary carries: a table, so that no path ever reaches a file system.
#ifndef HONE_SERVICES_VIEW_STATIC_FILES_H_
#define HONE_SERVICES_VIEW_STATIC_FILES_H_

#include <optional>
#include <string>
#include <vector>

#include "services/http/http.h"

namespace hone::view {

// nullopt: nothing is there.
std::optional<HttpResponse> StaticFile(const std::string& path);
std::vector<std::string> StaticPaths();

}  // namespace hone::view

#endif  // HONE_SERVICES_VIEW_STATIC_FILES_H_
