// SPDX-License-Identifier: Apache-2.0
//
// The JSON that the pages are made of. docs/view.md lists the addresses.
#ifndef HONE_SERVICES_VIEW_API_H_
#define HONE_SERVICES_VIEW_API_H_

#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "services/http/http.h"
#include "services/view/run_set.h"

namespace hone::view {

using Json = nlohmann::ordered_json;

// One document; bytes that are not UTF-8 become U+FFFD, figures that are not numbers null.
HttpResponse JsonResponse(const Json& document);

// Any path under /api/. Thread-safe; requests about one run take turns.
HttpResponse HandleApi(RunSet& runs, const HttpRequest& request);

// What an event stream says of a run that grew: key, iteration, groups, trajectories, state.
// REQUIRES: run.mutex is held and Refresh was OK.
absl::StatusOr<Json> DescribeProgress(ViewedRun& run);

}  // namespace hone::view

#endif  // HONE_SERVICES_VIEW_API_H_
