// SPDX-License-Identifier: Apache-2.0
//
// Lists of parts: the same names and weights stand in verdict after verdict, so each list is
// written once and verdicts name it.
#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

// Equal lists have equal keys, by the weights' bits.
std::string KeyOf(absl::Span<const StoredPart> parts) {
  CanonicalWriter key;
  for (const StoredPart& part : parts) {
    key.Text(part.name);
    part.weight ? key.Real(*part.weight) : key.Null();
    key.Int(part.gated);
    part.segment ? key.Int(*part.segment) : key.Null();
  }
  return key.TakeBytes();
}

StoredPart PartOf(const Statement& row, int column) {
  StoredPart part;
  part.name = row.String(column);
  if (!row.IsNull(column + 1)) part.weight = row.GetReal(column + 1);
  part.gated = row.GetInt(column + 2) != 0;
  if (!row.IsNull(column + 3)) part.segment = static_cast<int32_t>(row.GetInt(column + 3));
  return part;
}

// Every list of the file, when a list is first asked for.
absl::Status LoadLists(Store::State& state) {
  Statement row = state.db->Prepare(
      "SELECT list, name, weight, gated, segment FROM part ORDER BY list, position");
  int64_t list = 0;
  std::vector<StoredPart> parts;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!parts.empty() && (!*more || row.GetInt(0) != list)) {
      state.part_lists[KeyOf(parts)] = list;
      parts.clear();
    }
    if (!*more) return absl::OkStatus();
    list = row.GetInt(0);
    parts.push_back(PartOf(row, 1));
  }
}

}  // namespace

absl::StatusOr<int64_t> PartListRow(Store::State& state, absl::Span<const StoredPart> parts) {
  if (state.part_lists.empty()) {
    const absl::Status loaded = LoadLists(state);
    if (!loaded.ok()) return loaded;
  }
  const std::string key = KeyOf(parts);
  const auto cached = state.part_lists.find(key);
  if (cached != state.part_lists.end()) return cached->second;
  const absl::StatusOr<int64_t> list =
      state.db->Value("SELECT coalesce(max(list), 0) + 1 FROM part");
  if (!list.ok()) return list.status();
  for (size_t i = 0; i < parts.size(); ++i) {
    const StoredPart& part = parts[i];
    Statement insert = state.db->Prepare(
        "INSERT INTO part (list, position, name, weight, gated, segment) "
        "VALUES (?, ?, ?, ?, ?, ?)");
    insert.Int(*list).Int(static_cast<int64_t>(i)).Any(part.name);
    part.weight ? insert.Real(*part.weight) : insert.Null();
    insert.Int(part.gated);
    part.segment ? insert.Int(*part.segment) : insert.Null();
    const absl::Status status = insert.Run();
    if (!status.ok()) return status;
  }
  state.part_lists[key] = *list;
  return *list;
}

absl::StatusOr<std::vector<StoredPart>> ReadPartList(SqliteDb& db, int64_t list) {
  Statement row =
      db.Prepare("SELECT name, weight, gated, segment FROM part WHERE list = ? ORDER BY position");
  row.Int(list);
  std::vector<StoredPart> parts;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return parts;
    parts.push_back(PartOf(row, 0));
  }
}

}  // namespace hone
