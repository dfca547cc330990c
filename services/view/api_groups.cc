// SPDX-License-Identifier: Apache-2.0
//
// Groups of an iteration, and one group with its completions.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "rollout/store/browse.h"
#include "rollout/store/group_query.h"
#include "services/view/api_parts.h"

namespace hone::view {
namespace {

constexpr size_t kGridTextBytes = 300;
constexpr size_t kGroupTextBytes = 4000;

Json PartsJson(const TrajectoryText& text) {
  Json parts = Json::object();
  for (const auto& [name, raw] : text.parts) parts[name] = Figure(raw);
  return parts;
}

Json CellJson(const IndexedTrajectory& row, const TrajectoryText& text) {
  return {{"id", text.id},
          {"sample", row.sample},
          {"outcome", OutcomeName(row.outcome)},
          {"stop", StopReasonName(row.stop_reason)},
          {"reward", Figure(row.reward)},
          {"advantage", Figure(row.advantage)},
          {"length", row.completion_tokens},
          {"parts", PartsJson(text)}};
}

Json GroupJson(const TrajectoryIndex& index, const IndexedGroup& group) {
  const IndexedTask& task = index.tasks()[group.task];
  return {{"id", group.id},
          {"task", task.id},
          {"source", task.source},
          {"iteration", group.iteration},
          {"version", group.version},
          {"asked", group.asked},
          {"got", group.got},
          {"outages", group.outages},
          {"skipped", group.skipped},
          {"baseline", Figure(group.baseline)},
          {"reward_std", Figure(group.reward_std)},
          {"flat", group.flat},
          {"disagreement", Figure(PartDisagreement(index, group))},
          {"drop", group.drop_reason}};
}

struct GroupRows {
  std::vector<const IndexedTrajectory*> rows;
  std::vector<TrajectoryText> texts;
};

absl::StatusOr<GroupRows> ReadRows(const OpenRun& open, const IndexedGroup& group, size_t limit) {
  GroupRows found;
  std::vector<int64_t> ns;
  for (int32_t i = 0; i < group.got; ++i) {
    const int64_t at = open.index().FindTrajectory(group.first + i);
    if (at < 0) return absl::DataLossError(absl::StrCat("group ", group.id, " lacks rows"));
    found.rows.push_back(&open.index().trajectories()[static_cast<size_t>(at)]);
    ns.push_back(group.first + i);
  }
  absl::StatusOr<std::vector<TrajectoryText>> texts = ReadTrajectoryTexts(open.store(), ns, limit);
  if (!texts.ok()) return texts.status();
  found.texts = *std::move(texts);
  return found;
}

}  // namespace

absl::StatusOr<Json> GetGroups(RunSet& runs, const HttpRequest& request) {
  const absl::StatusOr<OpenRun> open = OpenNamed(runs, request);
  if (!open.ok()) return open.status();
  const absl::StatusOr<int64_t> iteration =
      NumberOf(request, "iteration", 0, 0, std::numeric_limits<int64_t>::max());
  if (!iteration.ok()) return iteration.status();
  Json groups = Json::array();
  for (const size_t at : open->index().GroupsOf(*iteration)) {
    const IndexedGroup& group = open->index().groups()[at];
    const absl::StatusOr<GroupRows> found = ReadRows(*open, group, kGridTextBytes);
    if (!found.ok()) return found.status();
    Json json = GroupJson(open->index(), group);
    json["prompt"] = found->texts.empty() ? "" : found->texts[0].prompt;
    Json& cells = json["cells"] = Json::array();
    for (size_t i = 0; i < found->rows.size(); ++i) {
      cells.push_back(CellJson(*found->rows[i], found->texts[i]));
    }
    groups.push_back(std::move(json));
  }
  const int64_t newest =
      open->index().groups().empty() ? 0 : open->index().groups().back().iteration;
  return Json{{"run", open->run->key},
              {"iteration", *iteration},
              {"iterations", std::max(newest, open->index().last_iteration())},
              {"groups", std::move(groups)}};
}

absl::StatusOr<Json> GetGroup(RunSet& runs, const HttpRequest& request) {
  const absl::StatusOr<OpenRun> open = OpenNamed(runs, request);
  if (!open.ok()) return open.status();
  const std::string id = TextOf(request, "id");
  const int64_t at = open->index().FindGroup(id);
  if (at < 0) return absl::NotFoundError(absl::StrCat("no group '", id, "'"));
  const IndexedGroup& group = open->index().groups()[static_cast<size_t>(at)];
  const absl::StatusOr<GroupRows> found = ReadRows(*open, group, kGroupTextBytes);
  if (!found.ok()) return found.status();
  Json json = GroupJson(open->index(), group);
  json["run"] = open->run->key;
  json["prompt"] = found->texts.empty() ? "" : found->texts[0].prompt;
  json["answer"] = found->texts.empty() ? "" : found->texts[0].answer;
  Json& rows = json["trajectories"] = Json::array();
  for (size_t i = 0; i < found->rows.size(); ++i) {
    Json row = CellJson(*found->rows[i], found->texts[i]);
    row["completion"] = found->texts[i].completion;
    row["completion_bytes"] = found->texts[i].completion_bytes;
    row["extracted"] = found->texts[i].extracted;
    row["detail"] = found->texts[i].detail;
    rows.push_back(std::move(row));
  }
  const absl::StatusOr<std::vector<LostCompletion>> lost = ReadLost(open->store(), group.n);
  if (!lost.ok()) return lost.status();
  json["lost"] = Json::array();
  for (const LostCompletion& one : *lost) {
    json["lost"].push_back(
        {{"position", one.position}, {"outcome", one.outcome}, {"detail", one.detail}});
  }
  return json;
}

}  // namespace hone::view
