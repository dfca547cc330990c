// SPDX-License-Identifier: Apache-2.0
//
// One trajectory, whole: segments, tokens with their channels, verdicts, reward parts.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/stream_decoder.h"
#include "rollout/expert_use.h"
#include "rollout/store/browse.h"
#include "rollout/store/retention.h"
#include "services/view/api_parts.h"

namespace hone::view {
namespace {

Json SegmentsJson(const Trajectory& trajectory) {
  Json segments = Json::array();
  for (const Segment& segment : trajectory.segments) {
    segments.push_back({{"role", segment.role},
                        {"kind", SegmentKindName(segment.kind)},
                        {"first_token", segment.first_token},
                        {"token_count", segment.token_count},
                        {"turn", segment.turn},
                        {"loss_mask", segment.loss_mask},
                        {"version", segment.version},
                        {"text", segment.text}});
  }
  return segments;
}

// What each token adds to its segment's text. A token that adds nothing by itself (special ones,
// parts of a character) has an empty text, and its piece stands in `pieces` by its index.
void AddTokenTexts(const Tokenizer& tokenizer, const Trajectory& trajectory, Json* json) {
  std::vector<std::string> texts(trajectory.tokens.size());
  for (const Segment& segment : trajectory.segments) {
    StreamDecoder decoder(tokenizer);
    const size_t end = static_cast<size_t>(segment.first_token) + segment.token_count;
    for (size_t i = static_cast<size_t>(segment.first_token); i < end; ++i) {
      texts[i] = decoder.Add(trajectory.tokens[i]);
    }
    if (segment.token_count > 0) texts[end - 1] += decoder.Finish();
  }
  Json& pieces = (*json)["pieces"] = Json::object();
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) pieces[absl::StrCat(i)] = tokenizer.Piece(trajectory.tokens[i]);
  }
  (*json)["texts"] = std::move(texts);
}

absl::Status AddChannels(const OpenRun& open, const IndexedTrajectory& row,
                         const Trajectory& trajectory, Json* json) {
  const IndexedGroup& group = open.index().groups()[row.group];
  const absl::StatusOr<std::vector<std::string>> names =
      ReadChannelNames(open.store(), row.n, group.first);
  if (!names.ok()) return names.status();
  Json& channels = (*json)["channels"] = Json::object();
  for (const std::string& name : *names) {
    if (name == "token_ids") continue;
    const absl::StatusOr<std::optional<std::vector<float>>> values =
        open.store().GetChannel(trajectory.id, name);
    if (!values.ok()) return values.status();
    if (!values->has_value()) continue;
    Json& list = channels[name] = Json::array();
    for (const float value : **values) list.push_back(Figure(value));
  }
  return absl::OkStatus();
}

absl::Status AddVerdicts(const OpenRun& open, const IndexedTrajectory& row,
                         const Trajectory& trajectory, Json* json) {
  const Verdict& verdict = trajectory.verdict;
  (*json)["verdict"] = {{"outcome", OutcomeName(verdict.outcome)},
                        {"extracted", verdict.extracted},
                        {"extracted_truncated", verdict.extracted_truncated},
                        {"detail", verdict.detail},
                        {"verifier", verdict.verifier},
                        {"evidence", verdict.evidence}};
  const absl::StatusOr<std::vector<Judgement>> judgements = ReadJudgements(open.store(), row.n);
  if (!judgements.ok()) return judgements.status();
  Json& list = (*json)["judgements"] = Json::array();
  for (const Judgement& one : *judgements) {
    list.push_back({{"origin", one.origin},
                    {"used_for_training", one.used_for_training},
                    {"verifier", one.verifier},
                    {"outcome", one.outcome},
                    {"extracted", one.extracted},
                    {"detail", one.detail},
                    {"attempts", one.attempts},
                    {"elapsed_us", one.elapsed_us}});
  }
  Json& parts = (*json)["reward_parts"] = Json::array();
  for (const RewardPart& part : trajectory.reward.parts) {
    parts.push_back({{"name", part.name},
                     {"raw", part.raw ? Figure(*part.raw) : Json()},
                     {"weight", Figure(part.weight)},
                     {"gated", part.gated},
                     {"value", Figure(part.value())}});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Json> GetTrajectory(RunSet& runs, const HttpRequest& request) {
  const absl::StatusOr<OpenRun> open = OpenNamed(runs, request);
  if (!open.ok()) return open.status();
  const absl::StatusOr<std::string> id = open->store().ResolveTrajectory(TextOf(request, "id"));
  if (!id.ok()) return id.status();
  absl::Status gone;
  const absl::StatusOr<std::optional<Trajectory>> found = WhatIsLeft(open->store(), *id, &gone);
  if (!found.ok()) return found.status();
  const int64_t group_at =
      found->has_value() ? open->index().FindGroup((*found)->group_id) : int64_t{-1};
  if (group_at < 0) return absl::NotFoundError(absl::StrCat("no trajectory '", *id, "' yet"));
  const Trajectory& trajectory = **found;
  const IndexedGroup& group = open->index().groups()[static_cast<size_t>(group_at)];
  const IndexedTrajectory* row = nullptr;
  std::vector<int64_t> ns;
  for (int64_t n = group.first; n < group.first + group.got; ++n) {
    ns.push_back(n);
  }
  const absl::StatusOr<std::vector<TrajectoryText>> texts =
      ReadTrajectoryTexts(open->store(), ns, /*max_text_bytes=*/64 << 10);
  if (!texts.ok()) return texts.status();
  Json json{{"run", open->run->key}, {"id", trajectory.id}, {"group", trajectory.group_id}};
  json["siblings"] = Json::array();
  for (size_t i = 0; i < texts->size(); ++i) {
    json["siblings"].push_back((*texts)[i].id);
    if ((*texts)[i].id != trajectory.id) continue;
    const int64_t at = open->index().FindTrajectory(ns[i]);
    if (at >= 0) row = &open->index().trajectories()[static_cast<size_t>(at)];
    json["prompt"] = (*texts)[i].prompt;
    json["answer"] = (*texts)[i].answer;
  }
  if (row == nullptr) return absl::NotFoundError(absl::StrCat("no trajectory '", *id, "' yet"));
  const IndexedTask& task = open->index().tasks()[group.task];
  json["task"] = task.id;
  json["source"] = task.source;
  json["iteration"] = group.iteration;
  json["version"] = group.version;
  json["sample"] = row->sample;
  json["stop"] = StopReasonName(row->stop_reason);
  json["reward"] = Figure(row->reward);
  json["advantage"] = Figure(row->advantage);
  json["length"] = row->completion_tokens;
  json["backend"] = trajectory.backend;
  json["template"] = trajectory.template_name;
  json["sampling"] = {{"temperature", Figure(trajectory.sampling.temperature)},
                      {"top_p", Figure(trajectory.sampling.top_p)},
                      {"top_k", trajectory.sampling.top_k},
                      {"max_tokens", trajectory.sampling.max_tokens}};
  json["segments"] = SegmentsJson(trajectory);
  json["token_ids"] = trajectory.tokens;
  const absl::StatusOr<const Tokenizer*> tokenizer =
      open->run->TokenizerOf(trajectory.tokenizer_hash);
  if (!gone.ok()) {
    json["not_kept"] = std::string(gone.message());
    json["segments"] = json["texts"] = Json::array();  // places of tokens that are not there
    json["pieces"] = Json::object();
  } else if (tokenizer.ok()) {
    AddTokenTexts(**tokenizer, trajectory, &json);
  } else {
    json["no_texts"] = std::string(tokenizer.status().message());
  }
  const std::vector<std::vector<ExpertCount>> experts = ExpertsUsed(trajectory.routes);
  for (const std::vector<ExpertCount>& layer : experts) {
    Json& list = json["experts"].emplace_back(Json::array());
    for (const ExpertCount& one : layer) list.push_back({one.expert, one.times});
  }
  absl::Status status = AddChannels(*open, *row, trajectory, &json);
  if (status.ok()) status = AddVerdicts(*open, *row, trajectory, &json);
  if (!status.ok()) return status;
  return json;
}

}  // namespace hone::view
