// SPDX-License-Identifier: Apache-2.0
//
// A group to rows.
#include <optional>

#include "absl/strings/str_cat.h"
#include "rollout/store/digest.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

// Writes one group; n_ numbers are rows of this file.
class GroupWriter {
 public:
  GroupWriter(Store::State& state, const Group& group)
      : state_(state), db_(*state.db), group_(group) {}

  absl::Status Write(const std::string& digest);

 private:
  absl::StatusOr<int64_t> TaskRow();
  absl::StatusOr<int64_t> SetupRow(const Trajectory& trajectory);
  absl::StatusOr<int64_t> VerifierRow(const std::string& name);
  absl::StatusOr<int64_t> TextRow(const Segment& segment, int64_t trajectory_n);
  absl::Status WriteTrajectory(const Trajectory& trajectory, int position);
  absl::Status WriteSegments(const Trajectory& trajectory, int64_t n);
  absl::Status WriteChannels(const Trajectory& trajectory, int64_t n);
  absl::Status WriteVerdict(const Trajectory& trajectory, int64_t n);
  absl::Status WriteParts(const Trajectory& trajectory, int64_t n);
  absl::Status WriteDropped();

  Store::State& state_;
  SqliteDb& db_;
  const Group& group_;
  int64_t group_n_ = 0;
  absl::flat_hash_map<absl::string_view, int64_t> shared_texts_;
};

void BindKey(const SampleKey& key, Statement* statement) {
  statement->Int(static_cast<int64_t>(key.run_seed))
      .Int(static_cast<int64_t>(key.purpose))
      .Int(static_cast<int64_t>(key.group_ordinal))
      .Int(key.attempt)
      .Int(key.sample)
      .Int(key.turn);
}

void BindOptional(const std::optional<double>& value, Statement* statement) {
  value ? statement->Real(*value) : statement->Null();
}

void BindOptional(const std::optional<int32_t>& value, Statement* statement) {
  value ? statement->Int(*value) : statement->Null();
}

// `bytes` keeps what is bound.
void BindMap(const std::map<std::string, std::string>& map, std::string* bytes,
             Statement* statement) {
  if (map.empty()) {
    statement->Null();
    return;
  }
  bool is_text = false;
  *bytes = EncodeTextMap(map, &is_text);
  is_text ? statement->Text(*bytes) : statement->Blob(*bytes);
}

absl::StatusOr<int64_t> GroupWriter::TaskRow() {
  const Task& task = group_.task;
  const std::string hash = task.Hash();
  {
    Statement old = db_.Prepare("SELECT n FROM task WHERE hash = ?");
    const absl::StatusOr<bool> found = old.Text(hash).Next();
    if (!found.ok()) return found.status();
    if (*found) return old.GetInt(0);
  }
  std::string metadata;
  Statement insert = db_.Prepare(
      "INSERT INTO task (hash, task_id, source, split, position, prompt, answer, tests, verifier, "
      "difficulty, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert.Text(hash)
      .Any(task.id)
      .Any(task.source)
      .Any(task.split)
      .Int(task.index)
      .Any(task.prompt)
      .Any(task.answer)
      .Any(task.tests_json)
      .Any(task.verifier)
      .Real(task.difficulty);
  BindMap(task.metadata, &metadata, &insert);
  const absl::Status status = insert.Run();
  if (!status.ok()) return status;
  return db_.last_insert_row();
}

absl::StatusOr<int64_t> GroupWriter::SetupRow(const Trajectory& t) {
  const SamplingParams& sampling = t.sampling;
  const std::string key = absl::StrCat(
      t.backend.size(), ":", t.backend, t.tokenizer_hash.size(), ":", t.tokenizer_hash,
      t.template_name.size(), ":", t.template_name, sampling.top_k, ":", sampling.max_tokens, ":",
      absl::string_view(reinterpret_cast<const char*>(&sampling.temperature), 4),
      absl::string_view(reinterpret_cast<const char*>(&sampling.top_p), 4));
  const auto cached = state_.setups.find(key);
  if (cached != state_.setups.end()) return cached->second;
  const auto bind = [&](Statement& statement) -> Statement& {
    return statement.Any(t.backend)
        .Any(t.tokenizer_hash)
        .Any(t.template_name)
        .Real(sampling.temperature)
        .Real(sampling.top_p)
        .Int(sampling.top_k)
        .Int(sampling.max_tokens);
  };
  Statement insert = db_.Prepare(
      "INSERT INTO setup (backend, tokenizer_hash, template, temperature, top_p, top_k, max_tokens)"
      " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
  const absl::Status status = bind(insert).Run();
  if (!status.ok()) return status;
  Statement row = db_.Prepare(
      "SELECT n FROM setup WHERE backend = ? AND tokenizer_hash = ? AND template = ? AND "
      "temperature = ? AND top_p = ? AND top_k = ? AND max_tokens = ?");
  const absl::StatusOr<bool> found = bind(row).Next();
  if (!found.ok()) return found.status();
  if (!*found) return absl::InternalError("setup: a row just written is not there");
  state_.setups[key] = row.GetInt(0);
  return row.GetInt(0);
}

absl::StatusOr<int64_t> GroupWriter::VerifierRow(const std::string& name) {
  const auto cached = state_.verifiers.find(name);
  if (cached != state_.verifiers.end()) return cached->second;
  const absl::Status status =
      db_.Prepare("INSERT INTO verifier (name) VALUES (?) ON CONFLICT DO NOTHING").Any(name).Run();
  if (!status.ok()) return status;
  Statement row = db_.Prepare("SELECT n FROM verifier WHERE name = ?");
  const absl::StatusOr<bool> found = row.Any(name).Next();
  if (!found.ok()) return found.status();
  if (!*found) return absl::InternalError("verifier: a row just written is not there");
  state_.verifiers[name] = row.GetInt(0);
  return row.GetInt(0);
}

absl::StatusOr<int64_t> GroupWriter::TextRow(const Segment& segment, int64_t trajectory_n) {
  // A completion has a row of its own; prompts and observations are shared in the group.
  const bool shared = segment.kind != SegmentKind::kModel;
  if (shared) {
    const auto found = shared_texts_.find(segment.text);
    if (found != shared_texts_.end()) return found->second;
  }
  Statement insert = db_.Prepare("INSERT INTO text (\"group\", trajectory, body) VALUES (?, ?, ?)");
  insert.Int(group_n_);
  shared ? insert.Null() : insert.Int(trajectory_n);
  const absl::Status status = insert.Any(segment.text).Run();
  if (!status.ok()) return status;
  ++state_.unindexed_texts;
  state_.unindexed_bytes += static_cast<int64_t>(segment.text.size());
  const int64_t n = db_.last_insert_row();
  if (shared) shared_texts_[segment.text] = n;
  return n;
}

absl::Status GroupWriter::WriteSegments(const Trajectory& trajectory, int64_t n) {
  for (size_t i = 0; i < trajectory.segments.size(); ++i) {
    const Segment& segment = trajectory.segments[i];
    const absl::StatusOr<int64_t> text = TextRow(segment, n);
    if (!text.ok()) return text.status();
    const absl::Status status =
        db_.Prepare("INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .Int(n)
            .Int(static_cast<int64_t>(i))
            .Any(segment.role)
            .Text(SegmentKindName(segment.kind))
            .Int(segment.first_token)
            .Int(segment.token_count)
            .Int(segment.turn)
            .Int(segment.loss_mask)
            .Int(segment.version)
            .Any(segment.call_id)
            .Int(*text)
            .Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status GroupWriter::WriteChannels(const Trajectory& trajectory, int64_t n) {
  const std::vector<uint8_t> mask_T =
      SampledMask(trajectory.segments, static_cast<int64_t>(trajectory.tokens.size()));
  int64_t ordinal = 0;
  absl::Status status;
  const auto write = [&](absl::string_view name, const ChannelBytes& channel) {
    if (status.ok()) status = WriteChannel(state_, n, ordinal++, name, 0, channel);
  };
  if (!trajectory.tokens.empty()) write("token_ids", state_.codec.EncodeIds(trajectory.tokens));
  if (!trajectory.behaviour_logprobs.empty()) {
    write("behaviour_logprobs", state_.codec.EncodeFloats(trajectory.behaviour_logprobs, mask_T));
  }
  if (!trajectory.entropy.empty()) {
    write("entropy", state_.codec.EncodeFloats(trajectory.entropy, mask_T));
  }
  const Routes& routes = trajectory.routes;
  if (!routes.experts.empty() || routes.moe_layers != 0 || routes.slots != 0) {
    write("routes", state_.codec.EncodeRoutes(routes));
  }
  return status;
}

absl::Status GroupWriter::WriteVerdict(const Trajectory& trajectory, int64_t n) {
  const Verdict& verdict = trajectory.verdict;
  const absl::StatusOr<int64_t> verifier = VerifierRow(verdict.verifier);
  if (!verifier.ok()) return verifier.status();
  std::string evidence;
  Statement insert =
      db_.Prepare("INSERT INTO verdict VALUES (?, 0, 'live', ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert.Int(n)
      .Int(group_.drop == DropReason::kNone)
      .Int(*verifier)
      .Text(OutcomeName(verdict.outcome))
      .Any(verdict.extracted)
      .Int(verdict.extracted_truncated)
      .Any(verdict.detail);
  BindMap(verdict.evidence, &evidence, &insert);
  return insert.Int(trajectory.verify_attempts).Int(verdict.elapsed_us).Run();
}

absl::Status GroupWriter::WriteParts(const Trajectory& trajectory, int64_t n) {
  for (size_t i = 0; i < trajectory.verdict.parts.size(); ++i) {
    const VerdictPart& part = trajectory.verdict.parts[i];
    Statement insert = db_.Prepare("INSERT INTO verdict_part VALUES (?, 0, ?, ?, ?, ?)");
    insert.Int(n).Int(static_cast<int64_t>(i)).Any(part.name);
    BindOptional(part.raw, &insert);
    BindOptional(part.segment, &insert);
    const absl::Status status = insert.Run();
    if (!status.ok()) return status;
  }
  for (size_t i = 0; i < trajectory.reward.parts.size(); ++i) {
    const RewardPart& part = trajectory.reward.parts[i];
    Statement insert = db_.Prepare("INSERT INTO reward_part VALUES (?, 0, ?, ?, ?, ?, ?, ?)");
    insert.Int(n).Int(static_cast<int64_t>(i)).Any(part.name);
    BindOptional(part.raw, &insert);
    insert.Real(part.weight).Int(part.gated);
    BindOptional(part.segment, &insert);
    const absl::Status status = insert.Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status GroupWriter::WriteTrajectory(const Trajectory& trajectory, int position) {
  const absl::StatusOr<int64_t> setup = SetupRow(trajectory);
  if (!setup.ok()) return setup.status();
  Statement insert = db_.Prepare(
      "INSERT INTO trajectory (id, \"group\", position, setup, run_seed, purpose, ordinal, attempt,"
      " sample, turn, stop_reason, tokens, completion_tokens, reward, advantage) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
  insert.Text(trajectory.id).Int(group_n_).Int(position).Int(*setup);
  BindKey(trajectory.key, &insert);
  absl::Status status = insert.Text(StopReasonName(trajectory.stop_reason))
                            .Int(static_cast<int64_t>(trajectory.tokens.size()))
                            .Int(trajectory.completion_tokens())
                            .Real(trajectory.reward.total)
                            .Real(trajectory.advantage)
                            .Run();
  if (!status.ok()) return status;
  if (db_.changed_rows() == 0) {
    return absl::DataLossError(absl::StrCat("group ", group_.id, ": trajectory ", trajectory.id,
                                            " is stored already, in another group"));
  }
  const int64_t n = db_.last_insert_row();
  status = WriteSegments(trajectory, n);
  if (status.ok()) status = WriteChannels(trajectory, n);
  if (status.ok()) status = WriteVerdict(trajectory, n);
  if (status.ok()) status = WriteParts(trajectory, n);
  return status;
}

absl::Status GroupWriter::WriteDropped() {
  for (size_t i = 0; i < group_.lost.size(); ++i) {
    const Verdict& verdict = group_.lost[i];
    std::string evidence;
    Statement insert = db_.Prepare("INSERT INTO dropped VALUES (?, ?, ?, ?, ?, ?, ?)");
    insert.Int(group_n_)
        .Int(static_cast<int64_t>(i))
        .Text(OutcomeName(verdict.outcome))
        .Any(verdict.detail);
    BindMap(verdict.evidence, &evidence, &insert);
    const absl::Status status = insert.Any(verdict.verifier).Int(verdict.elapsed_us).Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status GroupWriter::Write(const std::string& digest) {
  const absl::StatusOr<int64_t> task = TaskRow();
  if (!task.ok()) return task.status();
  Statement insert = db_.Prepare(
      "INSERT INTO task_group (id, task, run_seed, purpose, ordinal, attempt, sample, turn, "
      "iteration, version, asked, got, outages, skipped, baseline, reward_std, flat, drop_reason, "
      "digest, generate_us, verify_us) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert.Text(group_.id).Int(*task);
  BindKey(group_.key, &insert);
  absl::Status status = insert.Int(group_.iteration)
                            .Int(group_.version)
                            .Int(group_.asked)
                            .Int(static_cast<int64_t>(group_.trajectories.size()))
                            .Int(group_.outages)
                            .Int(group_.skipped)
                            .Real(group_.baseline)
                            .Real(group_.reward_std)
                            .Int(group_.flat)
                            .Text(DropReasonName(group_.drop))
                            .Blob(digest)
                            .Int(group_.generate_us)
                            .Int(group_.verify_us)
                            .Run();
  if (!status.ok()) return status;
  group_n_ = db_.last_insert_row();
  for (size_t i = 0; i < group_.trajectories.size(); ++i) {
    status = WriteTrajectory(group_.trajectories[i], static_cast<int>(i));
    if (!status.ok()) return status;
  }
  return WriteDropped();
}

}  // namespace

absl::Status WriteGroup(Store::State& state, const Group& group) {
  const absl::Status status = CheckGroup(group);
  if (!status.ok()) return status;
  const std::string digest = GroupFingerprint(group);
  {
    Statement old = state.db->Prepare("SELECT digest FROM task_group WHERE id = ?");
    const absl::StatusOr<bool> found = old.Text(group.id).Next();
    if (!found.ok()) return found.status();
    if (*found && old.Bytes(0) == digest) return absl::OkStatus();
    if (*found) {
      return absl::DataLossError(absl::StrCat(
          "store ", state.path, ": group ", group.id, " (iteration ", group.iteration,
          ") is stored with other content. The same key gave two results: compare the backends of "
          "both attempts (table setup)."));
    }
  }
  return GroupWriter(state, group).Write(digest);
}

}  // namespace hone
