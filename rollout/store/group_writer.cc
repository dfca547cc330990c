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
  absl::Status WriteTrajectory(const Trajectory& trajectory, int position);
  bool SameInAll(size_t position) const;
  absl::Status WriteSegments(const Trajectory& trajectory, int64_t n);
  absl::Status WriteChannels();
  absl::Status WriteIds();
  absl::Status WriteFloats(absl::string_view name, std::vector<float> Trajectory::*field);
  absl::Status WriteShared(size_t begin, size_t end, absl::string_view name,
                           const ChannelBytes& channel);
  absl::Status WriteDropped();

  Store::State& state_;
  SqliteDb& db_;
  const Group& group_;
  int64_t group_n_ = 0;
  int64_t first_ = 0;         // row of the first trajectory
  std::vector<bool> shared_;  // segments that every trajectory has, by position
  std::vector<std::vector<uint8_t>> masks_T_;
  std::vector<int64_t> channels_;  // rows of each trajectory so far
};

void BindKey(const SampleKey& key, Statement* statement) {
  statement->Int(static_cast<int64_t>(key.run_seed))
      .Int(static_cast<int64_t>(key.purpose))
      .Int(static_cast<int64_t>(key.group_ordinal))
      .Int(key.attempt)
      .Int(key.sample)
      .Int(key.turn);
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

absl::StatusOr<int64_t> VerifierRow(Store::State& state, const std::string& name) {
  const auto cached = state.verifiers.find(name);
  if (cached != state.verifiers.end()) return cached->second;
  const absl::Status status =
      state.db->Prepare("INSERT INTO verifier (name) VALUES (?) ON CONFLICT DO NOTHING")
          .Any(name)
          .Run();
  if (!status.ok()) return status;
  Statement row = state.db->Prepare("SELECT n FROM verifier WHERE name = ?");
  const absl::StatusOr<bool> found = row.Any(name).Next();
  if (!found.ok()) return found.status();
  if (!*found) return absl::InternalError("verifier: a row just written is not there");
  state.verifiers[name] = row.GetInt(0);
  return row.GetInt(0);
}

// Binds a list of parts and its figures; `json` keeps what is bound.
absl::Status BindParts(Store::State& state, absl::Span<const StoredPart> parts,
                       absl::Span<const std::optional<double>> values, std::string* json,
                       Statement* statement) {
  if (parts.empty()) {
    statement->Null().Null();
    return absl::OkStatus();
  }
  const absl::StatusOr<int64_t> list = PartListRow(state, parts);
  if (!list.ok()) return list.status();
  *json = EncodeReals(values);
  statement->Int(*list).Text(*json);
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteVerdict(Store::State& state, const Trajectory& trajectory, int64_t n,
                          int64_t position, absl::string_view origin, bool used) {
  const Verdict& verdict = trajectory.verdict;
  const absl::StatusOr<int64_t> verifier = VerifierRow(state, verdict.verifier);
  if (!verifier.ok()) return verifier.status();
  std::string evidence, part_values, reward_values;
  Statement insert = state.db->Prepare(
      "INSERT INTO verdict (n, trajectory, position, origin, used_for_training, verifier, outcome, "
      "extracted, extracted_truncated, detail, evidence, attempts, elapsed_us, parts, part_values, "
      "rewards, reward_values) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert.Int(n * kRowsPerTrajectory + position)
      .Int(n)
      .Int(position)
      .Text(origin)
      .Int(used)
      .Int(*verifier)
      .Text(OutcomeName(verdict.outcome))
      .Any(verdict.extracted)
      .Int(verdict.extracted_truncated)
      .Any(verdict.detail);
  BindMap(verdict.evidence, &evidence, &insert);
  insert.Int(trajectory.verify_attempts).Int(verdict.elapsed_us);
  std::vector<StoredPart> parts;
  std::vector<std::optional<double>> values;
  for (const VerdictPart& part : verdict.parts) {
    parts.push_back({part.name, std::nullopt, false, part.segment});
    values.push_back(part.raw);
  }
  absl::Status status = BindParts(state, parts, values, &part_values, &insert);
  if (!status.ok()) return status;
  parts.clear();
  values.clear();
  for (const RewardPart& part : trajectory.reward.parts) {
    parts.push_back({part.name, part.weight, part.gated, part.segment});
    values.push_back(part.raw);
  }
  status = BindParts(state, parts, values, &reward_values, &insert);
  return status.ok() ? insert.Run() : status;
}

namespace {

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

// Whether every trajectory has the same segment in this place, so that it is written once.
bool GroupWriter::SameInAll(size_t position) const {
  const Segment& a = group_.trajectories[0].segments[position];
  if (a.kind == SegmentKind::kModel) return false;
  for (const Trajectory& trajectory : group_.trajectories) {
    if (position >= trajectory.segments.size()) return false;
    const Segment& b = trajectory.segments[position];
    if (a.role != b.role || a.kind != b.kind || a.first_token != b.first_token ||
        a.token_count != b.token_count || a.turn != b.turn || a.loss_mask != b.loss_mask ||
        a.version != b.version || a.call_id != b.call_id || a.text != b.text) {
      return false;
    }
  }
  return true;
}

absl::Status GroupWriter::WriteSegments(const Trajectory& trajectory, int64_t n) {
  for (size_t i = 0; n == first_ && i < trajectory.segments.size(); ++i) {
    shared_.push_back(SameInAll(i));
  }
  for (size_t i = 0; i < trajectory.segments.size(); ++i) {
    const Segment& segment = trajectory.segments[i];
    const bool shared = i < shared_.size() && shared_[i];
    if (shared && n != first_) continue;
    const absl::Status status =
        db_.Prepare(
               "INSERT INTO segment (n, trajectory, shared, role, kind, first_token, token_count, "
               "turn, loss_mask, version, call_id, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
               "?)")
            .Int(n * kRowsPerTrajectory + static_cast<int64_t>(i))
            .Int(n)
            .Int(shared)
            .Any(segment.role)
            .Text(SegmentKindName(segment.kind))
            .Int(segment.first_token)
            .Int(segment.token_count)
            .Int(segment.turn)
            .Int(segment.loss_mask)
            .Int(segment.version)
            .Any(segment.call_id)
            .Any(segment.text)
            .Run();
    if (!status.ok()) return status;
    ++state_.unindexed_texts;
    state_.unindexed_bytes += static_cast<int64_t>(segment.text.size());
  }
  return absl::OkStatus();
}

// A row of values of the trajectories [begin, end).
absl::Status GroupWriter::WriteShared(size_t begin, size_t end, absl::string_view name,
                                      const ChannelBytes& channel) {
  return WriteChannel(state_, first_ + static_cast<int64_t>(begin),
                      static_cast<int64_t>(end - begin), channels_[begin]++, name, 0, channel);
}

// Calls write(begin, end) for runs of trajectories that have the array and fit into a row.
template <typename T, typename Write>
absl::Status ForEachRun(const std::vector<Trajectory>& trajectories,
                        std::vector<T> Trajectory::*field, const Write& write) {
  size_t begin = 0;
  while (begin < trajectories.size()) {
    size_t values = (trajectories[begin].*field).size();
    size_t end = begin + 1;
    if (values == 0) {
      begin = end;
      continue;
    }
    for (; end < trajectories.size(); ++end) {
      const size_t more = (trajectories[end].*field).size();
      if (more == 0 || values + more > kMaxSharedValues) break;
      values += more;
    }
    const absl::Status status = write(begin, end);
    if (!status.ok()) return status;
    begin = end;
  }
  return absl::OkStatus();
}

absl::Status GroupWriter::WriteIds() {
  const std::vector<Trajectory>& trajectories = group_.trajectories;
  return ForEachRun(trajectories, &Trajectory::tokens, [&](size_t begin, size_t end) {
    std::vector<TokenId> ids;
    for (size_t i = begin; i < end; ++i) {
      ids.insert(ids.end(), trajectories[i].tokens.begin(), trajectories[i].tokens.end());
    }
    return WriteShared(begin, end, "token_ids", state_.codec.EncodeIds(ids));
  });
}

absl::Status GroupWriter::WriteFloats(absl::string_view name,
                                      std::vector<float> Trajectory::*field) {
  const std::vector<Trajectory>& trajectories = group_.trajectories;
  return ForEachRun(trajectories, field, [&](size_t begin, size_t end) {
    std::vector<float> values;
    std::vector<uint8_t> mask;
    for (size_t i = begin; i < end; ++i) {
      const std::vector<float>& values_T = trajectories[i].*field;
      values.insert(values.end(), values_T.begin(), values_T.end());
      mask.insert(mask.end(), masks_T_[i].begin(), masks_T_[i].end());
    }
    return WriteShared(begin, end, name, state_.codec.EncodeFloats(values, mask));
  });
}

absl::Status GroupWriter::WriteChannels() {
  channels_.assign(group_.trajectories.size(), 0);
  for (const Trajectory& trajectory : group_.trajectories) {
    masks_T_.push_back(
        SampledMask(trajectory.segments, static_cast<int64_t>(trajectory.tokens.size())));
  }
  absl::Status status = WriteIds();
  if (status.ok()) status = WriteFloats("behaviour_logprobs", &Trajectory::behaviour_logprobs);
  if (status.ok()) status = WriteFloats("entropy", &Trajectory::entropy);
  for (size_t i = 0; i < group_.trajectories.size(); ++i) {
    const Routes& routes = group_.trajectories[i].routes;
    if (routes.experts.empty() && routes.moe_layers == 0 && routes.slots == 0) continue;
    if (status.ok()) status = WriteShared(i, i + 1, "routes", state_.codec.EncodeRoutes(routes));
  }
  return status;
}

absl::Status GroupWriter::WriteTrajectory(const Trajectory& trajectory, int position) {
  const absl::StatusOr<int64_t> setup = SetupRow(trajectory);
  if (!setup.ok()) return setup.status();
  const int64_t n = first_ + position;
  Statement insert = db_.Prepare(
      "INSERT INTO trajectory (n, id, \"group\", position, setup, run_seed, purpose, ordinal, "
      "attempt, sample, turn, stop_reason, tokens, completion_tokens, reward, advantage) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING");
  insert.Int(n).Text(trajectory.id).Int(group_n_).Int(position).Int(*setup);
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
  state_.recent[trajectory.id] = {n, first_, static_cast<int64_t>(trajectory.tokens.size())};
  status = WriteSegments(trajectory, n);
  if (!status.ok()) return status;
  return WriteVerdict(state_, trajectory, n, 0, "live", group_.drop == DropReason::kNone);
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
  const absl::StatusOr<int64_t> next = db_.Value("SELECT coalesce(max(n), 0) + 1 FROM trajectory");
  if (!next.ok()) return next.status();
  first_ = *next;
  Statement insert = db_.Prepare(
      "INSERT INTO task_group (id, task, run_seed, purpose, ordinal, attempt, sample, turn, "
      "iteration, version, asked, got, outages, skipped, baseline, reward_std, flat, drop_reason, "
      "first, digest, generate_us, verify_us) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
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
                            .Int(group_.trajectories.empty() ? 0 : first_)
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
  status = WriteChannels();
  return status.ok() ? WriteDropped() : status;
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
