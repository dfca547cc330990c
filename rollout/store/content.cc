// SPDX-License-Identifier: Apache-2.0
//
// What is content, in one place: digests of iterations and evaluations, ContentHash.
//
// Outside it, because two equal runs may differ there: the tables attempt, observed_metric,
// checkpoint, event, dropped, text_index; run.name, run.config (config_hash stands for it),
// run.code_version; policy_version.iteration; what digest.h leaves out of a group; how channels
// are compressed; verdicts that are not live; every row number n.
#include <map>
#include <tuple>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "rollout/store/digest.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

// The columns that make content, with ?1 the iteration and ?2 the evaluation's name.
constexpr absl::string_view kRunRows = "SELECT id, parent_run, fork_version, config_hash FROM run";
constexpr absl::string_view kVersionRows =
    "SELECT version, parent, weights_hash, optimizer_hash, router_bias_hash, data_cursor "
    "FROM policy_version ORDER BY version";
constexpr absl::string_view kIterationRows[] = {
    "SELECT epoch, minibatch, update_id, slots, learning_rate, loss, hash_before, hash_after "
    "FROM policy_update WHERE iteration = ?1 ORDER BY epoch, minibatch",
    "SELECT epoch, minibatch, position, trajectory_id FROM update_sequences WHERE iteration = ?1 "
    "ORDER BY epoch, minibatch, position",
    "SELECT name, value FROM metric WHERE iteration = ?1 ORDER BY name",
};
constexpr absl::string_view kEvaluationRows[] = {
    "SELECT version, n, k, accuracy, ci_low, ci_high, truncated, outages, skipped, "
    "median_completion_tokens, mean_completion_tokens, waits_per_completion, format_mean "
    "FROM evaluation WHERE iteration = ?1 AND name = ?2",
    "SELECT kind, k, value FROM evaluation_at_k WHERE iteration = ?1 AND name = ?2 "
    "ORDER BY kind, k",
    "SELECT position, task_id, task_hash, n, correct, majority, majority_correct, answers "
    "FROM evaluation_item WHERE iteration = ?1 AND name = ?2 ORDER BY position",
    "SELECT position, sample, trajectory_id, outcome, extracted, stop_reason, completion_tokens, "
    "reward, completion FROM evaluation_completion WHERE iteration = ?1 AND name = ?2 "
    "ORDER BY position, sample",
};

// Every remaining row, value by value, then how many there were.
absl::Status WriteRows(Statement& row, CanonicalWriter* out) {
  int64_t rows = 0;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) break;
    ++rows;
    for (int column = 0; column < row.columns(); ++column) {
      if (row.IsNull(column)) {
        out->Null();
      } else if (row.IsInt(column)) {
        out->Int(row.GetInt(column));
      } else if (row.IsReal(column)) {
        out->Real(row.GetReal(column));
      } else {
        out->Text(row.Bytes(column));
      }
    }
  }
  out->Int(rows);
  return absl::OkStatus();
}

// Channels that the iteration added, by their raw values, each trajectory's apart: how many share
// a row is no content.
absl::Status WriteAddedChannels(Store::State& state, int64_t iteration, CanonicalWriter* out) {
  Statement row =
      state.db->Prepare(absl::StrCat("SELECT f.name, c.chunk, ", kChannelColumns,
                                     " FROM channel c JOIN channel_kind f ON f.n = c.kind "
                                     "WHERE c.iteration > 0 AND c.iteration = ?"));
  row.Int(iteration);
  struct Content {
    std::string dtype, layout, raw;
  };
  std::map<std::tuple<std::string, std::string, int64_t>, Content> contents;  // id, name, chunk
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) break;
    const auto damage = [&](const absl::Status& why) {
      return absl::DataLossError(absl::StrCat("store ", state.path, ": trajectory row ",
                                              row.GetInt(2 + kChannelColumnCount - 2), ", channel ",
                                              row.Bytes(0), ": ", why.message()));
    };
    const absl::StatusOr<ChannelBytes> channel = ReadChannelBytes(row, 2);
    if (!channel.ok()) return damage(channel.status());
    const auto covered = ReadCovered(*state.db, *channel);
    if (!covered.ok()) return damage(covered.status());
    const auto values = DecodeApart(state.codec, *channel, *covered);
    if (!values.ok()) return damage(values.status());
    for (size_t i = 0; i < covered->size(); ++i) {
      Content& content = contents[{(*covered)[i].id, row.String(0), row.GetInt(1)}];
      content.dtype = channel->dtype;
      content.raw = state.codec.RawFloats((*values)[i], (*covered)[i].mask_T, &content.layout);
    }
  }
  for (const auto& [key, content] : contents) {
    const auto& [id, name, chunk] = key;
    out->Text(id);
    out->Text(name);
    out->Int(chunk);
    out->Text(content.dtype);
    out->Text(content.layout);
    out->Text(content.raw);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> GroupIds(SqliteDb& db) {
  Statement row = db.Prepare("SELECT id FROM task_group ORDER BY id");
  std::vector<std::string> ids;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return ids;
    ids.push_back(row.String(0));
  }
}

// Visits every group, iteration and evaluation: its name, the digest as stored, the content now. Of
// what was removed (`gone` not empty) there is the content's SHA-256 alone.
template <typename Visit>
absl::Status ForEachDigest(Store::State& state, const Visit& visit) {
  const absl::StatusOr<std::vector<std::string>> ids = GroupIds(*state.db);
  if (!ids.ok()) return ids.status();
  for (const std::string& id : *ids) {
    std::string stored;
    std::string gone;
    const absl::StatusOr<std::optional<Group>> group = ReadGroup(state, id, &stored, &gone);
    if (!group.ok()) return group.status();
    if (!group->has_value()) continue;
    CanonicalWriter content;
    WriteGroupContent(**group, &content);
    const absl::Status status = visit(absl::StrCat("group ", id), stored, gone, &content);
    if (!status.ok()) return status;
  }
  Statement iteration = state.db->Prepare(
      absl::StrCat("SELECT iteration, digest, ", state.schema_version < 3 ? "NULL" : "content",
                   " FROM iteration ORDER BY 1"));
  while (true) {
    const absl::StatusOr<bool> more = iteration.Next();
    if (!more.ok()) return more.status();
    if (!*more) break;
    CanonicalWriter content;
    absl::Status status = WriteIterationContent(state, iteration.GetInt(0), &content);
    if (!status.ok()) return status;
    status = visit(absl::StrCat("iteration ", iteration.GetInt(0)), iteration.String(1),
                   iteration.IsNull(2) ? std::string() : iteration.String(2), &content);
    if (!status.ok()) return status;
  }
  Statement evaluation =
      state.db->Prepare("SELECT iteration, name, digest FROM evaluation ORDER BY 1, 2");
  while (true) {
    const absl::StatusOr<bool> more = evaluation.Next();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    const std::string name = evaluation.String(1);
    CanonicalWriter content;
    absl::Status status = WriteEvaluationContent(state, evaluation.GetInt(0), name, &content);
    if (!status.ok()) return status;
    status = visit(absl::StrCat("evaluation ", evaluation.GetInt(0), " ", name),
                   evaluation.String(2), "", &content);
    if (!status.ok()) return status;
  }
}

}  // namespace

absl::Status WriteIterationContent(Store::State& state, int64_t iteration, CanonicalWriter* out) {
  out->Int(iteration);
  for (const absl::string_view sql : kIterationRows) {
    Statement row = state.db->Prepare(sql);
    const absl::Status status = WriteRows(row.Int(iteration), out);
    if (!status.ok()) return status;
  }
  return WriteAddedChannels(state, iteration, out);
}

absl::Status WriteEvaluationContent(Store::State& state, int64_t iteration, const std::string& name,
                                    CanonicalWriter* out) {
  out->Int(iteration);
  out->Text(name);
  for (const absl::string_view sql : kEvaluationRows) {
    Statement row = state.db->Prepare(sql);
    const absl::Status status = WriteRows(row.Int(iteration).Any(name), out);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status VerifyDigests(Store::State& state) {
  return ForEachDigest(state, [&](const std::string& what, const std::string& stored,
                                  const std::string& gone, CanonicalWriter* content) {
    if (!gone.empty() || stored == content->Fingerprint()) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("store ", state.path, ": ", what,
                                            " is not what was stored: its digest does not hold"));
  });
}

absl::StatusOr<std::string> Store::ContentHash() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Transaction snapshot(*state_->db);
  absl::Status status = snapshot.BeginRead();
  if (!status.ok()) return status;
  CanonicalWriter out;
  out.Text("hone store content 1");
  for (const absl::string_view sql : {kRunRows, kVersionRows}) {
    Statement row = state_->db->Prepare(sql);
    status = WriteRows(row, &out);
    if (!status.ok()) return status;
  }
  status = ForEachDigest(*state_, [&](const std::string& what, const std::string& /*stored*/,
                                      const std::string& gone, CanonicalWriter* content) {
    out.Text(what);
    out.Text(gone.empty() ? content->Sha256Digest() : gone);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return absl::BytesToHexString(out.Sha256Digest());
}

}  // namespace hone
