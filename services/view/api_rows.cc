// SPDX-License-Identifier: Apache-2.0
//
// Trajectories, filtered and in pages; and all of them as JSON Lines.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "rollout/store/browse.h"
#include "rollout/store/query.h"
#include "rollout/store/row_query.h"
#include "services/view/api_parts.h"

namespace hone::view {
namespace {

constexpr size_t kRowTextBytes = 400;
constexpr size_t kExportRows = 200;  // a piece
constexpr absl::Duration kSearchLimit = absl::Seconds(5);

struct AskedRows {
  RowQuery query;
  int64_t unsearched_texts = 0;
};

absl::StatusOr<AskedRows> ParseQuery(const OpenRun& open, const HttpRequest& request) {
  AskedRows asked;
  absl::StatusOr<RowFilter> filter = RowFilter::Parse(TextOf(request, "filter"));
  if (!filter.ok()) return filter.status();
  asked.query.filter = *std::move(filter);
  const std::string search = TextOf(request, "search");
  if (!search.empty()) {
    // Plain words unless the query language is asked for: then nothing a person types is an error.
    const bool is_query = TextOf(request, "syntax") == "query";
    absl::StatusOr<TextMatches> found = SearchTexts(
        open.store(), open.index(), is_query ? search : SearchForText(search), kSearchLimit);
    if (!found.ok()) return found.status();
    asked.query.among = std::move(found->trajectories);
    asked.unsearched_texts = found->unsearched_texts;
  }
  const std::string sort = TextOf(request, "sort");
  if (!sort.empty()) asked.query.sort = sort;
  asked.query.descending = TextOf(request, "desc") == "1";
  asked.query.after = TextOf(request, "after");
  return asked;
}

// With `whole`, also what a person would compute with: exact figures, whole texts.
Json RowJson(const TrajectoryIndex& index, const IndexedTrajectory& row, const TrajectoryText& text,
             bool whole) {
  const IndexedGroup& group = index.groups()[row.group];
  const IndexedTask& task = index.tasks()[group.task];
  Json json{{"id", text.id},
            {"group", group.id},
            {"task", task.id},
            {"source", task.source},
            {"iteration", group.iteration},
            {"version", group.version},
            {"sample", row.sample},
            {"outcome", OutcomeName(row.outcome)},
            {"extracted", text.extracted},
            {"stop_reason", StopReasonName(row.stop_reason)},
            {"reward", whole ? Json(row.reward) : Figure(row.reward)},
            {"advantage", whole ? Json(row.advantage) : Figure(row.advantage)},
            {"completion_tokens", row.completion_tokens},
            {"prompt", text.prompt},
            {"completion", text.completion}};
  if (!whole) return json;
  json["answer"] = text.answer;
  json["detail"] = text.detail;
  json["drop_reason"] = group.drop_reason;
  Json& parts = json["reward_parts"] = Json::object();
  for (const auto& [name, raw] : text.parts) parts[name] = raw;
  return json;
}

absl::StatusOr<std::vector<TrajectoryText>> TextsOf(const OpenRun& open,
                                                    const std::vector<size_t>& rows, size_t limit) {
  std::vector<int64_t> ns;
  for (const size_t row : rows) ns.push_back(open.index().trajectories()[row].n);
  return ReadTrajectoryTexts(open.store(), ns, limit);
}

// One export on its way: asks for the pages one after another, so that nobody waits for it.
struct Export {
  RunSet& runs;
  HttpRequest request;
  std::string after;

  absl::StatusOr<bool> Next(std::string* piece) {
    const absl::StatusOr<OpenRun> open = OpenNamed(runs, request);
    if (!open.ok()) return open.status();
    request.query["after"] = after;
    absl::StatusOr<AskedRows> asked = ParseQuery(*open, request);
    if (!asked.ok()) return asked.status();
    asked->query.limit = kExportRows;
    const absl::StatusOr<RowPage> page = FindRows(open->index(), asked->query);
    if (!page.ok()) return page.status();
    const absl::StatusOr<std::vector<TrajectoryText>> texts = TextsOf(*open, page->rows, 0);
    if (!texts.ok()) return texts.status();
    for (size_t i = 0; i < page->rows.size(); ++i) {
      const Json row = RowJson(open->index(), open->index().trajectories()[page->rows[i]],
                               (*texts)[i], /*whole=*/true);
      absl::StrAppend(piece, row.dump(-1, ' ', false, Json::error_handler_t::replace), "\n");
    }
    after = page->next;
    return !after.empty();
  }
};

}  // namespace

absl::StatusOr<Json> GetRows(RunSet& runs, const HttpRequest& request) {
  const absl::StatusOr<OpenRun> open = OpenNamed(runs, request);
  if (!open.ok()) return open.status();
  absl::StatusOr<AskedRows> asked = ParseQuery(*open, request);
  if (!asked.ok()) return asked.status();
  const absl::StatusOr<int64_t> limit = NumberOf(request, "limit", 100, 1, 1000);
  if (!limit.ok()) return limit.status();
  asked->query.limit = static_cast<size_t>(*limit);
  const absl::StatusOr<RowPage> page = FindRows(open->index(), asked->query);
  if (!page.ok()) return page.status();
  const absl::StatusOr<std::vector<TrajectoryText>> texts =
      TextsOf(*open, page->rows, kRowTextBytes);
  if (!texts.ok()) return texts.status();
  Json rows = Json::array();
  for (size_t i = 0; i < page->rows.size(); ++i) {
    rows.push_back(RowJson(open->index(), open->index().trajectories()[page->rows[i]], (*texts)[i],
                           /*whole=*/false));
  }
  return Json{{"run", open->run->key},
              {"total", page->total},
              {"of", open->index().trajectories().size()},
              {"unsearched_texts", asked->unsearched_texts},
              {"next", page->next},
              {"rows", std::move(rows)}};
}

HttpResponse ExportRows(RunSet& runs, const HttpRequest& request) {
  auto job = std::make_shared<Export>(Export{runs, request, ""});
  // The first piece before the answer begins, so that a bad filter is an error and no empty file.
  std::string first;
  const absl::StatusOr<bool> more = job->Next(&first);
  if (!more.ok()) return ErrorResponse(more.status());
  HttpResponse response;
  response.content_type = "application/x-ndjson";
  response.headers.emplace_back("Content-Disposition",
                                "attachment; filename=\"trajectories.jsonl\"");
  response.next = [job, first = std::move(first), is_first = true,
                   more = *more](std::string* piece) mutable -> absl::StatusOr<bool> {
    if (!std::exchange(is_first, false)) return job->Next(piece);
    *piece = std::move(first);
    return more;
  };
  return response;
}

}  // namespace hone::view
