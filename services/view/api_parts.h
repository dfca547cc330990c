// SPDX-License-Identifier: Apache-2.0
//
// What the files of the API share.
#ifndef HONE_SERVICES_VIEW_API_PARTS_H_
#define HONE_SERVICES_VIEW_API_PARTS_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "services/view/api.h"

namespace hone::view {

// A run for the time of one request: its mutex is held, its index is up to its store.
struct OpenRun {
  std::shared_ptr<ViewedRun> run;
  std::unique_lock<std::mutex> lock;
  Store& store() const { return run->store(); }
  const TrajectoryIndex& index() const { return run->index(); }
};
// The run that the parameter `name` names.
absl::StatusOr<OpenRun> OpenNamed(RunSet& runs, const HttpRequest& request,
                                  const std::string& name = "run");

std::string TextOf(const HttpRequest& request, const std::string& name);
// INVALID_ARGUMENT for what is no number from `low` to `high`.
absl::StatusOr<int64_t> NumberOf(const HttpRequest& request, const std::string& name,
                                 int64_t otherwise, int64_t low, int64_t high);

// With six digits: for looking at, not for computing with.
Json Figure(double value);

// api_groups.cc
absl::StatusOr<Json> GetGroups(RunSet& runs, const HttpRequest& request);
absl::StatusOr<Json> GetGroup(RunSet& runs, const HttpRequest& request);
// api_trajectory.cc
absl::StatusOr<Json> GetTrajectory(RunSet& runs, const HttpRequest& request);
// api_rows.cc
absl::StatusOr<Json> GetRows(RunSet& runs, const HttpRequest& request);
HttpResponse ExportRows(RunSet& runs, const HttpRequest& request);
// api_downloads.cc. Files to keep; nothing when the address is none of theirs.
std::optional<HttpResponse> Download(RunSet& runs, const HttpRequest& request);
// api_compare.cc
absl::StatusOr<Json> GetComparison(RunSet& runs, const HttpRequest& request);
absl::StatusOr<Json> GetEvaluated(RunSet& runs, const HttpRequest& request);

}  // namespace hone::view

#endif  // HONE_SERVICES_VIEW_API_PARTS_H_
