// SPDX-License-Identifier: Apache-2.0
//
// Fingerprints of every parameter of a version.
#include <bit>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "rollout/store/state.h"

namespace hone {
namespace {

absl::StatusOr<int64_t> ListRow(Store::State& state, const std::string& names) {
  const auto cached = state.tensor_lists.find(names);
  if (cached != state.tensor_lists.end()) return cached->second;
  const absl::Status status =
      state.db->Prepare("INSERT INTO tensor_list (names) VALUES (?) ON CONFLICT DO NOTHING")
          .Text(names)
          .Run();
  if (!status.ok()) return status;
  Statement row = state.db->Prepare("SELECT n FROM tensor_list WHERE names = ?");
  const absl::StatusOr<bool> found = row.Text(names).Next();
  if (!found.ok()) return found.status();
  if (!*found) return absl::InternalError("tensor_list: a row just written is not there");
  state.tensor_lists[names] = row.GetInt(0);
  return row.GetInt(0);
}

}  // namespace

absl::Status WriteTensors(Store::State& state, const VersionRecord& version) {
  if (version.tensors.empty()) return absl::OkStatus();
  nlohmann::json names = nlohmann::json::array();
  std::vector<int64_t> values;
  for (const TensorFingerprint& tensor : version.tensors) {
    if (!IsPlainText(tensor.name)) {
      return absl::InvalidArgumentError(absl::StrCat("version ", version.version, ": parameter ",
                                                     values.size(), " has no plain name"));
    }
    names.push_back(tensor.name);
    values.push_back(std::bit_cast<int64_t>(tensor.value));
  }
  const absl::StatusOr<int64_t> list = ListRow(state, names.dump());
  if (!list.ok()) return list.status();
  const std::string fingerprints = EncodeInts(values);
  return state.db->Prepare("INSERT INTO version_tensors VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
      .Int(version.version)
      .Int(*list)
      .Text(fingerprints)
      .Run();
}

absl::Status DeleteOrphanTensors(SqliteDb& db) {
  return db
      .Prepare(
          "DELETE FROM version_tensors WHERE version NOT IN (SELECT version FROM policy_version)")
      .Run();
}

absl::StatusOr<std::vector<TensorFingerprint>> Store::Tensors(int64_t version) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  std::vector<TensorFingerprint> tensors;
  if (state_->schema_version < 3) return tensors;
  Statement row = state_->db->Prepare(
      "SELECT l.names, v.fingerprints FROM version_tensors v JOIN tensor_list l ON l.n = v.list "
      "WHERE v.version = ?");
  const absl::StatusOr<bool> found = row.Int(version).Next();
  if (!found.ok()) return found.status();
  if (!*found) return tensors;
  const nlohmann::json names = nlohmann::json::parse(row.String(0), nullptr, false);
  const nlohmann::json values = nlohmann::json::parse(row.String(1), nullptr, false);
  const auto damage = [&] {
    return absl::DataLossError(absl::StrCat("store ", state_->path, ": fingerprints of version ",
                                            version, " are not a list of names and of numbers"));
  };
  if (!names.is_array() || !values.is_array() || names.size() != values.size()) return damage();
  for (size_t i = 0; i < names.size(); ++i) {
    if (!names[i].is_string() || !values[i].is_number_integer()) return damage();
    tensors.push_back(
        {names[i].get<std::string>(), std::bit_cast<uint64_t>(values[i].get<int64_t>())});
  }
  return tensors;
}

}  // namespace hone
