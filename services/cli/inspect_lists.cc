// SPDX-License-Identifier: Apache-2.0
#include "services/cli/inspect_lists.h"

#include <algorithm>
#include <iostream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "rollout/store/browse.h"
#include "rollout/store/group_query.h"
#include "rollout/store/retention.h"
#include "rollout/store/row_query.h"
#include "services/cli/jsonl.h"

namespace hone::cli {
namespace {

constexpr int64_t kMaxListedRows = 10000;
constexpr absl::Duration kSearchLimit = absl::Minutes(1);

std::string OneLine(absl::string_view text, size_t limit) {
  std::string line = absl::StrReplaceAll(Sanitise(text.substr(0, 4 * limit)), {{"\n", "⏎"}});
  if (line.size() > limit) {
    line.resize(limit);
    while (!line.empty() && (line.back() & 0xc0) == 0x80) line.pop_back();
    line += "…";
  }
  return line;
}

std::string Quoted(const std::string& value) {
  return absl::StrCat("\"", absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

absl::StatusOr<RowFilter> FilterOf(const ListFlags& flags) {
  absl::StatusOr<RowFilter> filter = RowFilter::Parse(flags.filter);
  if (!filter.ok()) return filter;
  std::string more;
  if (flags.iteration > 0) absl::StrAppend(&more, " iteration = ", flags.iteration);
  if (!flags.outcome.empty()) absl::StrAppend(&more, " outcome = ", Quoted(flags.outcome));
  if (!flags.source.empty()) absl::StrAppend(&more, " source = ", Quoted(flags.source));
  const absl::StatusOr<RowFilter> other = RowFilter::Parse(more);
  if (!other.ok()) return other;
  return RowFilter::Both(*std::move(filter), *other);
}

absl::Status CheckPage(const ListFlags& flags) {
  if (flags.limit >= 1 && flags.limit <= kMaxListedRows && flags.offset >= 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--limit is 1 to ", kMaxListedRows, ", --offset 0 or more"));
}

struct Listed {
  TrajectoryIndex index;
  std::vector<size_t> rows;  // of this page, in index.trajectories() or index.groups()
  size_t total = 0;
  std::vector<TrajectoryText> texts;  // of each row; of a group: of its first completion
  int64_t unsearched_texts = 0;
};

absl::Status ReadRows(Store& store, const ListFlags& flags, Listed* listed) {
  RowQuery query;
  absl::StatusOr<RowFilter> filter = FilterOf(flags);
  if (!filter.ok()) return filter.status();
  query.filter = *std::move(filter);
  if (!flags.search.empty()) {
    absl::StatusOr<TextMatches> found =
        SearchTexts(store, listed->index, flags.search, kSearchLimit);
    if (!found.ok()) return found.status();
    query.among = std::move(found->trajectories);
    listed->unsearched_texts = found->unsearched_texts;
  }
  query.sort = flags.sort;
  query.descending = !flags.ascending && flags.sort != "iteration";
  query.limit = static_cast<size_t>(flags.offset + flags.limit);
  absl::StatusOr<RowPage> page = FindRows(listed->index, query);
  if (!page.ok()) return page.status();
  const size_t skipped = std::min(page->rows.size(), static_cast<size_t>(flags.offset));
  listed->rows.assign(page->rows.begin() + static_cast<std::ptrdiff_t>(skipped), page->rows.end());
  listed->total = page->total;
  return absl::OkStatus();
}

absl::Status ReadGroups(const ListFlags& flags, Listed* listed) {
  GroupQuery query;
  absl::StatusOr<RowFilter> filter = FilterOf(flags);
  if (!filter.ok()) return filter.status();
  query.filter = *std::move(filter);
  query.sort = flags.sort;
  query.descending = !flags.ascending && flags.sort != "iteration";
  const absl::StatusOr<std::vector<size_t>> groups = FindGroups(listed->index, query);
  if (!groups.ok()) return groups.status();
  listed->total = groups->size();
  for (size_t i = static_cast<size_t>(flags.offset);
       i < groups->size() && listed->rows.size() < static_cast<size_t>(flags.limit); ++i) {
    listed->rows.push_back((*groups)[i]);
  }
  return absl::OkStatus();
}

absl::StatusOr<Listed> Read(Store& store, const ListFlags& flags, bool groups) {
  const absl::Status page = CheckPage(flags);
  if (!page.ok()) return page;
  Listed listed;
  const absl::StatusOr<bool> read = listed.index.Refresh(store);
  if (!read.ok()) return read.status();
  const absl::Status found = groups ? ReadGroups(flags, &listed) : ReadRows(store, flags, &listed);
  if (!found.ok()) return found;
  for (const size_t row : listed.rows) {
    const int64_t n =
        groups ? listed.index.groups()[row].first : listed.index.trajectories()[row].n;
    // A group that has no completion has no text either.
    if (n == 0) {
      listed.texts.emplace_back();
      continue;
    }
    absl::StatusOr<std::vector<TrajectoryText>> text = ReadTrajectoryTexts(store, {n}, 0);
    if (!text.ok()) return text.status();
    listed.texts.push_back(std::move(text->front()));
  }
  return listed;
}

Json RowJson(const Listed& listed, size_t i) {
  const IndexedTrajectory& row = listed.index.trajectories()[listed.rows[i]];
  const IndexedGroup& group = listed.index.groups()[row.group];
  const IndexedTask& task = listed.index.tasks()[group.task];
  const TrajectoryText& text = listed.texts[i];
  Json json{{"id", text.id},
            {"group", group.id},
            {"task", task.id},
            {"source", task.source},
            {"iteration", group.iteration},
            {"version", group.version},
            {"sample", row.sample},
            {"outcome", OutcomeName(row.outcome)},
            {"kind", listed.index.failure_kinds()[row.kind]},
            {"extracted", text.extracted},
            {"stop_reason", StopReasonName(row.stop_reason)},
            {"reward", row.reward},
            {"advantage", row.advantage},
            {"completion_tokens", row.completion_tokens},
            {"prompt", text.prompt},
            {"completion", text.completion}};
  Json& parts = json["reward_parts"] = Json::object();
  for (const auto& [name, raw] : text.parts) parts[name] = raw;
  return json;
}

Json GroupJson(const Listed& listed, size_t i) {
  const IndexedGroup& group = listed.index.groups()[listed.rows[i]];
  const IndexedTask& task = listed.index.tasks()[group.task];
  return {{"id", group.id},
          {"task", task.id},
          {"source", task.source},
          {"iteration", group.iteration},
          {"version", group.version},
          {"asked", group.asked},
          {"got", group.got},
          {"baseline", group.baseline},
          {"reward_std", group.reward_std},
          {"flat", group.flat},
          {"disagreement", PartDisagreement(listed.index, group)},
          {"drop_reason", group.drop_reason},
          {"prompt", listed.texts[i].prompt}};
}

std::string PartsLine(const TrajectoryText& text) {
  std::string line;
  for (const auto& [name, raw] : text.parts) {
    absl::StrAppendFormat(&line, "  %s %g", OneLine(name, 40), raw);
  }
  return line;
}

std::string RowLines(const Listed& listed, size_t i) {
  const IndexedTrajectory& row = listed.index.trajectories()[listed.rows[i]];
  const TrajectoryText& text = listed.texts[i];
  return absl::StrFormat(
      "%s  iteration %d  %-14s reward %.2f  advantage %+.2f  %d tokens%s\n    %s\n    %s\n",
      text.id.substr(0, 12), listed.index.groups()[row.group].iteration, OutcomeName(row.outcome),
      row.reward, row.advantage, row.completion_tokens, PartsLine(text), OneLine(text.prompt, 160),
      OneLine(text.completion, 320));
}

std::string GroupLines(const Listed& listed, size_t i) {
  const IndexedGroup& group = listed.index.groups()[listed.rows[i]];
  const double disagreement = PartDisagreement(listed.index, group);
  return absl::StrFormat(
      "%s  iteration %d  %d of %d judged  mean %.2f  spread %.2f%s%s\n    %s\n",
      group.id.substr(0, 12), group.iteration, group.got, group.asked, group.baseline,
      group.reward_std, group.flat ? "  flat" : "",
      disagreement > 0 ? absl::StrFormat("  parts disagree %.2f", disagreement) : "",
      OneLine(listed.texts[i].prompt, 200));
}

}  // namespace

int ListTrajectories(Store& store, const ListFlags& flags, const Globals& globals) {
  const absl::StatusOr<Listed> listed = Read(store, flags, /*groups=*/false);
  if (!listed.ok()) return Fail(listed.status(), globals);
  Json rows = Json::array();
  for (size_t i = 0; i < listed->rows.size(); ++i) {
    if (globals.json) {
      rows.push_back(RowJson(*listed, i));
    } else {
      std::cout << RowLines(*listed, i);
    }
  }
  if (globals.json) {
    WriteRow({{"total", listed->total}, {"trajectories", rows}});
    return kDone;
  }
  std::cerr << listed->rows.size() << " of " << listed->total
            << " trajectories; --trajectory ID shows one whole\n";
  if (listed->unsearched_texts > 0) {
    std::cerr << listed->unsearched_texts << " texts are not indexed yet and were not searched\n";
  }
  const auto gone = flags.search.empty() ? int64_t{0} : GroupsWithoutTraces(store);
  if (gone.ok() && *gone > 0) {
    std::cerr << "texts of " << *gone << " groups were not kept and not searched\n";
  }
  return kDone;
}

int ListGroups(Store& store, const ListFlags& flags, const Globals& globals) {
  if (!flags.search.empty()) {
    return Fail(absl::InvalidArgumentError("--search finds trajectories, not --groups"), globals);
  }
  const absl::StatusOr<Listed> listed = Read(store, flags, /*groups=*/true);
  if (!listed.ok()) return Fail(listed.status(), globals);
  Json rows = Json::array();
  for (size_t i = 0; i < listed->rows.size(); ++i) {
    if (globals.json) {
      rows.push_back(GroupJson(*listed, i));
    } else {
      std::cout << GroupLines(*listed, i);
    }
  }
  if (globals.json) {
    WriteRow({{"total", listed->total}, {"groups", rows}});
  } else {
    std::cerr << listed->rows.size() << " of " << listed->total << " groups\n";
  }
  return kDone;
}

}  // namespace hone::cli
