// SPDX-License-Identifier: Apache-2.0
#include "rollout/import_traces.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "policy/hash.h"
#include "rollout/group_rewards.h"

namespace hone {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMaxRows = 2000000;
constexpr int64_t kMaxBytes = int64_t{4} << 30;

absl::Status Bad(int64_t line, absl::string_view key, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": \"", key, "\" ", what));
}

// A text or a number as text; empty when missing or null.
absl::StatusOr<std::string> TextOf(int64_t line, const Json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || found->is_null()) return std::string();
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number()) return found->dump();
  return Bad(line, key, "is neither text nor a number");
}

absl::StatusOr<std::string> ResponseOf(int64_t line, const Json& row) {
  for (const char* key : {"response", "completion", "output"}) {
    if (row.contains(key)) {
      if (!row[key].is_string()) return Bad(line, key, "is not text");
      return row[key].get<std::string>();
    }
  }
  return Bad(line, "response", "is missing (completion and output are taken as well)");
}

std::vector<TokenId> BytesOf(const std::string& text) {
  return std::vector<TokenId>(reinterpret_cast<const uint8_t*>(text.data()),
                              reinterpret_cast<const uint8_t*>(text.data()) + text.size());
}

Segment SegmentOf(SegmentKind kind, const std::string& text, size_t first) {
  Segment segment;
  segment.kind = kind;
  segment.role = kind == SegmentKind::kPrompt ? "user" : "assistant";
  segment.first_token = static_cast<int32_t>(first);
  segment.token_count = static_cast<int32_t>(text.size());
  segment.loss_mask = kind == SegmentKind::kModel;
  segment.text = text;
  return segment;
}

}  // namespace

absl::StatusOr<TraceImport::Row> TraceImport::ParseRow(int64_t line, const Json& json,
                                                       std::string* model) {
  Row row;
  absl::StatusOr<std::string> texts[6];
  const char* keys[6] = {"model", "set", "prompt_id", "prompt", "answer", "pred"};
  for (int i = 0; i < 6; ++i) {
    texts[i] = TextOf(line, json, keys[i]);
    if (!texts[i].ok()) return texts[i].status();
  }
  absl::StatusOr<std::string> response = ResponseOf(line, json);
  if (!response.ok()) return response.status();
  const auto correct = json.find("correct");
  if (correct == json.end() || !correct->is_boolean()) {
    return Bad(line, "correct", "must be true or false");
  }
  row.correct = correct->get<bool>();
  row.score = row.correct ? 1 : 0;
  const auto score = json.find("score");
  if (score != json.end() && !score->is_null()) {
    if (!score->is_number() || std::fabs(score->get<double>()) > 1e9) {
      return Bad(line, "score", "must be a number within 1e9");
    }
    row.score = score->get<double>();
  }
  *model = texts[0]->empty() ? "imported" : *texts[0];
  row.task.source = texts[1]->empty() ? "imported" : *texts[1];
  row.task.split = "imported";
  row.task.id = texts[2]->empty() ? Sha256Hex(*texts[3]).substr(0, 16) : *texts[2];
  row.task.prompt = *std::move(texts[3]);
  row.task.answer = *std::move(texts[4]);
  row.extracted = *std::move(texts[5]);
  row.has_answer = !json.contains("pred") || !json["pred"].is_null();
  row.completion = *std::move(response);
  return row;
}

absl::Status TraceImport::Add(int64_t line, const Json& json) {
  std::string model;
  absl::StatusOr<Row> row = ParseRow(line, json, &model);
  if (!row.ok()) return row.status();
  ++rows_;
  bytes_ += static_cast<int64_t>(row->completion.size() + row->task.prompt.size());
  if (rows_ > kMaxRows || bytes_ > kMaxBytes) {
    return absl::ResourceExhaustedError(absl::StrCat("line ", line, ": more than ", kMaxRows,
                                                     " rows or ", kMaxBytes,
                                                     " bytes of text; import in parts"));
  }
  digest_ =
      Sha256Hex(absl::StrCat(digest_, json.dump(-1, ' ', false, Json::error_handler_t::replace)));
  const auto place_of = [](auto& list, const std::string& name) {
    const auto found =
        std::find_if(list.begin(), list.end(), [&](const auto& it) { return it.name == name; });
    if (found != list.end()) return found;
    list.emplace_back().name = name;
    return list.end() - 1;
  };
  Source& source = *place_of(place_of(models_, model)->sources, row->task.source);
  const auto [place, fresh] = source.by_id.emplace(row->task.id, source.prompts.size());
  if (fresh) source.prompts.emplace_back();
  source.prompts[place->second].push_back(*std::move(row));
  return absl::OkStatus();
}

std::string TraceImport::Fingerprint() const {
  return digest_;
}

Trajectory TraceImport::TrajectoryOf(const Row& row, const Group& group,
                                     const std::string& run_id) {
  Trajectory t;
  t.key = group.key;
  t.key.sample = static_cast<uint32_t>(group.trajectories.size());
  t.id = TrajectoryId(run_id, t.key);
  t.group_id = group.id;
  t.tokens = BytesOf(row.task.prompt + row.completion);
  t.segments = {SegmentOf(SegmentKind::kPrompt, row.task.prompt, 0),
                SegmentOf(SegmentKind::kModel, row.completion, row.task.prompt.size())};
  t.segments[1].version = group.version;
  t.stop_reason = StopReason::kStopToken;
  t.backend = "imported";
  t.template_name = "imported";
  t.verdict.verifier = "imported";
  t.verdict.outcome = row.correct      ? Outcome::kCorrect
                      : row.has_answer ? Outcome::kWrong
                                       : Outcome::kUnparsable;
  t.verdict.extracted = row.extracted;
  t.verdict.detail = absl::StrCat("judged where it was sampled: score ", row.score);
  RewardPart part;
  part.name = "accuracy";
  part.raw = row.score;
  part.weight = 1;
  t.reward.parts = {part};
  t.reward.total = row.score;
  return t;
}

Group TraceImport::GroupOf(const std::vector<Row>& rows, Group group, const std::string& run_id) {
  group.id = GroupId(run_id, group.key);
  group.task = rows.front().task;
  for (const Row& row : rows) group.trajectories.push_back(TrajectoryOf(row, group, run_id));
  SetAdvantages(AdvantageConfig(), group);
  return group;
}

std::vector<ImportedModel> TraceImport::Finish(const std::string& run_id) {
  std::vector<ImportedModel> imported;
  uint64_t ordinal = 0;
  for (const Model& model : models_) {
    ImportedModel& out = imported.emplace_back();
    out.name = model.name;
    out.iteration = static_cast<int64_t>(imported.size());
    for (const Source& source : model.sources) {
      for (const std::vector<Row>& rows : source.prompts) {
        out.samples = std::max(out.samples, static_cast<int32_t>(rows.size()));
      }
    }
    for (const Source& source : model.sources) {
      std::vector<Group>& groups =
          out.sources.emplace_back(source.name, std::vector<Group>()).second;
      for (const std::vector<Row>& rows : source.prompts) {
        Group group;
        group.key.purpose = Purpose::kEval;
        group.key.group_ordinal = ordinal++;
        group.iteration = group.version = out.iteration;
        group.asked = out.samples;
        groups.push_back(GroupOf(rows, std::move(group), run_id));
        groups.back().task.index = static_cast<int64_t>(groups.size()) - 1;
      }
    }
  }
  models_.clear();
  return imported;
}

}  // namespace hone
