// SPDX-License-Identifier: Apache-2.0
//
// hone runs list|show|hash|verify|gc|rm.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/checkpoint_directory.h"
#include "rollout/store/retention.h"
#include "rollout/store/store.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"
#include "services/trainer/run_directory.h"

namespace hone::cli {
namespace {

namespace fs = std::filesystem;

struct RunsFlags {
  std::string path;
  std::string root = "runs";
  int32_t keep = 1;
  Retention traces;
};

// What one line of `list` and the head of `show` say.
absl::StatusOr<Json> Describe(const std::string& path) {
  auto store = OpenRunStore(path);
  if (!store.ok()) return store.status();
  auto run = (*store)->GetRun();
  if (!run.ok()) return run.status();
  auto last = (*store)->LastIteration();
  if (!last.ok()) return last.status();
  auto attempts = (*store)->Attempts();
  if (!attempts.ok()) return attempts.status();
  Json json;
  json["path"] = path;
  json["name"] = run->name;
  json["id"] = run->id;
  json["iterations"] = *last;
  json["attempts"] = attempts->size();
  if (!attempts->empty()) {
    json["started"] =
        absl::FormatTime(absl::RFC3339_sec, attempts->front().started, absl::UTCTimeZone());
    const std::string& end = attempts->back().end_reason;
    json["state"] = end.empty() ? "running or killed" : end;
  }
  auto summary = ReadWholeFile(path + "/summary.json");
  if (summary.ok()) json["summary"] = Json::parse(*summary, nullptr, false);
  return json;
}

std::string Accuracy(const Json& run) {
  const auto summary = run.find("summary");
  if (summary == run.end() || !summary->is_object() || !summary->contains("after")) return "";
  const Json& before = (*summary)["before"];
  const Json& after = (*summary)["after"];
  if (!before.is_object() || !after.is_object()) return "";
  return absl::StrFormat("%.3f → %.3f", before.value("accuracy", 0.0),
                         after.value("accuracy", 0.0));
}

int List(const RunsFlags& flags, const Globals& globals) {
  std::error_code error;
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(flags.root, error)) {
    if (fs::exists(entry.path() / "store.sqlite", error)) paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  Json rows = Json::array();
  for (const std::string& path : paths) {
    auto row = Describe(path);
    rows.push_back(row.ok() ? *row
                            : Json{{"path", path}, {"error", std::string(row.status().message())}});
  }
  if (globals.json) {
    WriteRow({{"runs", rows}});
    return kDone;
  }
  if (rows.empty()) std::cout << "no runs under " << flags.root << "\n";
  for (const Json& row : rows) {
    if (row.contains("error")) {
      std::cout << Sanitise(row["path"].get<std::string>()) << "  "
                << Sanitise(row["error"].get<std::string>()) << "\n";
      continue;
    }
    std::cout << absl::StrFormat(
        "%-28s %5d iterations  %-18s %s\n", Sanitise(row["path"].get<std::string>()),
        row["iterations"].get<int64_t>(), row.value("state", ""), Accuracy(row));
  }
  return kDone;
}

int Show(const RunsFlags& flags, const Globals& globals) {
  auto run = Describe(flags.path);
  if (!run.ok()) return Fail(run.status(), globals);
  auto store = OpenRunStore(flags.path);
  if (!store.ok()) return Fail(store.status(), globals);
  auto metrics = (*store)->Metrics((*run)["iterations"].get<int64_t>());
  if (!metrics.ok()) return Fail(metrics.status(), globals);
  if (globals.json) {
    (*run)["metrics"] = *metrics;
    WriteRow(*run);
    return kDone;
  }
  for (const auto& [key, value] : run->items()) {
    if (key == "summary") continue;
    std::cout << absl::StrFormat(
        "%-12s %s\n", key, Sanitise(value.is_string() ? value.get<std::string>() : value.dump()));
  }
  if (!Accuracy(*run).empty()) {
    std::cout << absl::StrFormat("%-12s %s\n", "accuracy", Accuracy(*run));
  }
  std::cout << "\nlast iteration\n";
  for (const auto& [name, value] : *metrics) {
    std::cout << absl::StrFormat("  %-36s %.6g\n", name, value);
  }
  return kDone;
}

int Hash(const RunsFlags& flags, const Globals& globals) {
  auto store = OpenRunStore(flags.path);
  if (!store.ok()) return Fail(store.status(), globals);
  auto hash = (*store)->ContentHash();
  if (!hash.ok()) return Fail(hash.status(), globals);
  std::cout << *hash << "\n";
  return kDone;
}

int Verify(const RunsFlags& flags, const Globals& globals) {
  auto store = OpenRunStore(flags.path);
  if (!store.ok()) return Fail(store.status(), globals);
  absl::Status whole = (*store)->Verify();
  if (!whole.ok()) return Fail(whole, globals);
  std::cout << (globals.json ? "{\"whole\":true}" : "whole: every page, row and channel") << "\n";
  return kDone;
}

uint64_t BytesUnder(const std::string& path) {
  std::error_code error;
  uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path, error)) {
    if (entry.is_regular_file(error) && !entry.is_symlink(error)) bytes += entry.file_size(error);
  }
  return bytes;
}

// Traces that are not to be kept, and pages that are free.
absl::StatusOr<Removed> ShrinkStore(const RunsFlags& flags) {
  auto store = Store::Open(flags.path + "/store.sqlite", Store::Mode::kAppend);
  if (!store.ok()) return store.status();
  auto last = (*store)->LastIteration();
  if (!last.ok()) return last.status();
  auto removed = RemoveTraces(**store, flags.traces, *last);
  if (!removed.ok()) return removed;
  const absl::Status compacted = Compact(**store);
  if (!compacted.ok()) return compacted;
  return removed;
}

// Before anything goes: what stays is to be whole, so that what goes can be made again.
absl::Status CheckWhatStays(const CheckpointDirectory& checkpoints, const RunsFlags& flags) {
  auto all = checkpoints.List();
  if (!all.ok()) return all.status();
  bool base = false;
  for (size_t i = 0; i < all->size(); ++i) {
    const CheckpointEntry& entry = (*all)[i];
    base |= entry.version == 0;
    if (entry.version != 0 && i >= static_cast<size_t>(flags.keep)) continue;  // newest first
    const absl::Status whole = VerifyCheckpoint(entry.path);
    if (whole.ok()) continue;
    return absl::DataLossError(absl::StrCat("nothing was removed: ", entry.path,
                                            " would stay, and is damaged: ", whole.message()));
  }
  if (base || flags.traces.keeps_all()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("nothing was removed: without the checkpoint of version 0 in ", flags.path,
                   " traces that go could not be made again"));
}

// Old checkpoints and what killed processes left. What is gone can be made again from version 0.
int Gc(const RunsFlags& flags, const Globals& globals) {
  auto directory = RunDirectory::Resume(flags.path);  // holds the lock
  if (!directory.ok()) return Fail(directory.status(), globals);
  const uint64_t before = BytesUnder(flags.path);
  CheckpointDirectory checkpoints((*directory)->checkpoints());
  const absl::Status stays = CheckWhatStays(checkpoints, flags);
  if (!stays.ok()) return Fail(stays, globals);
  auto leftovers = checkpoints.RemoveLeftovers();
  if (!leftovers.ok()) return Fail(leftovers.status(), globals);
  auto pruned = checkpoints.Prune(flags.keep);
  if (!pruned.ok()) return Fail(pruned.status(), globals);
  auto removed = ShrinkStore(flags);
  if (!removed.ok()) return Fail(removed.status(), globals);
  const uint64_t after = BytesUnder(flags.path);
  const uint64_t freed = before - std::min(before, after);
  if (globals.json) {
    WriteRow({{"checkpoints_removed", pruned->size()},
              {"leftovers_removed", leftovers->size()},
              {"groups_without_traces", removed->groups},
              {"bytes_freed", freed}});
  } else {
    std::cout << pruned->size() << " checkpoints and " << leftovers->size()
              << " leftovers removed, traces of " << removed->groups << " groups, " << freed
              << " bytes in all\n";
  }
  return kDone;
}

int Remove(const RunsFlags& flags, const Globals& globals) {
  auto run = OpenRunStore(flags.path);  // only what is a run goes
  if (!run.ok()) return Fail(run.status(), globals);
  run->reset();
  auto directory = RunDirectory::Resume(flags.path);
  if (!directory.ok()) return Fail(directory.status(), globals);
  const uint64_t bytes = BytesUnder(flags.path);
  // First out of the way, so that half a run never has the name of a whole one.
  const std::string gone =
      absl::StrCat(fs::path(flags.path).lexically_normal().string(), ".tmp-rm");
  std::error_code error;
  fs::rename(flags.path, gone, error);
  if (!error) fs::remove_all(gone, error);
  if (error) {
    return Fail(
        absl::UnknownError(absl::StrCat("cannot remove ", flags.path, ": ", error.message())),
        globals);
  }
  if (globals.json) {
    WriteRow({{"removed", true}, {"bytes", bytes}});
  } else {
    std::cout << "removed " << Sanitise(flags.path) << ", " << bytes << " bytes\n";
  }
  return kDone;
}

}  // namespace

Action SetUpRuns(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<RunsFlags>();
  auto chosen = std::make_shared<int (*)(const RunsFlags&, const Globals&)>(nullptr);
  app.require_subcommand(1);
  const auto add = [&](const char* name, const char* summary,
                       int (*run)(const RunsFlags&, const Globals&)) {
    CLI::App* command = app.add_subcommand(name, summary);
    command->callback([chosen, run] { *chosen = run; });
    return command;
  };
  add("list", "runs under a folder", List)
      ->add_option("ROOT", flags->root, "where they are")
      ->capture_default_str();
  for (CLI::App* command :
       {add("show", "one run: state, accuracy, last metrics", Show),
        add("hash", "one line over the store's content, observational tables apart", Hash),
        add("rm", "remove a run that no process holds", Remove),
        add("verify", "check every page, row and channel; exit 6 if one is damaged", Verify)}) {
    command->add_option("RUN", flags->path, "the run's directory")->required();
  }
  CLI::App* gc = add("gc", "remove old checkpoints, old traces, what killed processes left", Gc);
  gc->add_option("RUN", flags->path, "the run's directory")->required();
  gc->add_option("--keep", flags->keep, "newest checkpoints to keep, beside version 0")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  gc->add_option("--keep-every", flags->traces.every,
                 "tokens and texts stay of every such iteration; 1: of all, 0: of none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  gc->add_flag("--keep-failures", flags->traces.failures,
               "and of groups with a completion that is not correct");
  return [flags, chosen, &globals] { return (*chosen)(*flags, globals); };
}

}  // namespace hone::cli
