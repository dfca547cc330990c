// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/later_verdicts.h"

#include <mutex>
#include <optional>

#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

absl::Status AddVerdict(Store::State& state, absl::string_view origin, const Trajectory& judged) {
  const absl::StatusOr<std::optional<TrajectoryPlace>> place = FindTrajectory(state, judged.id);
  if (!place.ok()) return place.status();
  if (!place->has_value()) {
    return absl::NotFoundError(
        absl::StrCat("store ", state.path, " has no trajectory ", judged.id));
  }
  const int64_t n = (*place)->n;
  int64_t position = 0;
  {
    Statement last = state.db->Prepare("SELECT max(position) FROM verdict WHERE n >= ? AND n < ?");
    last.Int(n * kRowsPerTrajectory).Int((n + 1) * kRowsPerTrajectory);
    const absl::StatusOr<bool> found = last.Next();
    if (!found.ok()) return found.status();
    position = last.GetInt(0) + 1;
  }
  if (position >= kRowsPerTrajectory) {
    return absl::ResourceExhaustedError(absl::StrCat("store ", state.path, ": trajectory ",
                                                     judged.id, " has ", position,
                                                     " judgements and takes no more"));
  }
  return WriteVerdict(state, judged, n, position, origin, /*used_for_training=*/false);
}

}  // namespace

absl::Status AddVerdicts(Store& store, absl::string_view origin,
                         absl::Span<const Trajectory> judged) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  WriteTimer timer(&state.write_time);
  absl::Status status = state.CheckWritable();
  if (!status.ok()) return status;
  Transaction transaction(*state.db);
  status = transaction.Begin();
  for (const Trajectory& one : judged) {
    if (status.ok()) status = AddVerdict(state, origin, one);
  }
  if (status.ok()) status = transaction.Commit();
  if (!status.ok()) state.ForgetRows();
  return status;
}

}  // namespace hone
