// SPDX-License-Identifier: Apache-2.0
//
// Groups that an outage made short are made again on resume, not read back: the verifier may have
// been repaired since.
#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"

namespace hone {

absl::Status DeleteGroupsWithOutages(SqliteDb& db, int64_t first_iteration) {
  constexpr absl::string_view kGroups =
      "(SELECT n FROM task_group WHERE iteration >= ? AND outages > 0)";
  const std::string trajectories =
      absl::StrCat("(SELECT n FROM trajectory WHERE \"group\" IN ", kGroups, ")");
  // The index first, while the texts are still there; then children before parents.
  const std::string statements[] = {
      absl::StrCat("INSERT INTO text_index (text_index, rowid, text) SELECT 'delete', n, text FROM "
                   "segment WHERE n <= (SELECT indexed FROM text_index_state) AND trajectory IN ",
                   trajectories),
      absl::StrCat("DELETE FROM segment WHERE trajectory IN ", trajectories),
      absl::StrCat("DELETE FROM channel WHERE trajectory IN ", trajectories),
      absl::StrCat("DELETE FROM verdict WHERE trajectory IN ", trajectories),
      absl::StrCat("DELETE FROM dropped WHERE \"group\" IN ", kGroups),
      absl::StrCat("DELETE FROM trajectory WHERE \"group\" IN ", kGroups),
      "DELETE FROM task_group WHERE iteration >= ? AND outages > 0",
  };
  for (const std::string& statement : statements) {
    const absl::Status deleted = db.Prepare(statement).Int(first_iteration).Run();
    if (!deleted.ok()) return deleted;
  }
  // Row numbers are given again: what is indexed ends where the texts end.
  return db
      .Prepare(
          "UPDATE text_index_state SET indexed = min(indexed, "
          "(SELECT coalesce(max(n), 0) FROM segment))")
      .Run();
}

}  // namespace hone
