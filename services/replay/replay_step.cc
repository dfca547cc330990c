// SPDX-License-Identifier: Apache-2.0
//
// One step made again, and compared stage by stage.
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rollout/group_rewards.h"
#include "rollout/store/digest.h"
#include "services/replay/compare_groups.h"
#include "services/replay/replayer.h"
#include "services/trainer/train_setup.h"

namespace hone {
namespace {

void CompareTasks(const Task& stored, const Task& drawn, const std::string& group,
                  int64_t iteration, ReplayReport& report) {
  if (stored.Hash() == drawn.Hash()) return report.Same("tasks");
  ReplayDifference about;
  about.iteration = iteration;
  const std::pair<const char*, std::string Task::*> fields[] = {{"id", &Task::id},
                                                                {"source", &Task::source},
                                                                {"split", &Task::split},
                                                                {"prompt", &Task::prompt},
                                                                {"answer", &Task::answer},
                                                                {"tests", &Task::tests_json},
                                                                {"verifier", &Task::verifier}};
  for (const auto& [name, field] : fields) {
    about.what = absl::StrCat("group ", group, ", task's ", name);
    if (stored.*field != drawn.*field) {
      return report.Compare("tasks", about, stored.*field, drawn.*field);
    }
  }
  about.what = absl::StrCat("group ", group, ", hash of its task");
  report.Compare("tasks", about, stored.Hash(), drawn.Hash());
}

// The stage whose work a metric of the update tells of.
absl::string_view StageOf(absl::string_view metric) {
  if (metric == "policy/grad_norm") return "backward";
  if (metric == "policy/update_to_weight" || metric == "policy/learning_rate") return "optimizer";
  for (const char* prefix : {"policy/", "loss", "moe/", "train/"}) {
    if (absl::StartsWith(metric, prefix)) return "forward";
  }
  return "batch";
}

// What was out at the time is left out again; what is out now cannot be compared.
absl::Status CheckJudged(const Group& stored, const Group& replayed) {
  if (replayed.trajectories.size() >= stored.trajectories.size()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(
      "group ", stored.id, ": ", stored.trajectories.size() - replayed.trajectories.size(),
      " completions that were judged in the run could not be verified now",
      replayed.lost.empty() ? "" : absl::StrCat(" (", replayed.lost[0].detail, ")"),
      "; --stored-verdicts replays the rest"));
}

}  // namespace

absl::Status Replayer::TakeStoredVerdicts(const Group& stored, Group& group) const {
  for (Trajectory& t : group.trajectories) {
    for (const Trajectory& recorded : stored.trajectories) {
      if (recorded.key.sample != t.key.sample) continue;
      t.verdict = recorded.verdict;
      t.reward = RewardOf(rollout_.reward, t);
    }
  }
  SetAdvantages(rollout_.advantage, group);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Group>> Replayer::ReplayJobs(
    std::vector<GroupJob> jobs, const std::map<std::string, const StoredGroup*>& stored,
    std::set<std::string>& seen, ReplayReport& report) {
  for (GroupJob& job : jobs) {
    const std::string id = GroupId(run_.record().id, job.key);
    const auto found = stored.find(id);
    const bool readable = found != stored.end() && !found->second->group.task.prompt.empty();
    if (readable && schedule_) {
      CompareTasks(found->second->group.task, job.task, id, job.iteration, report);
    } else if (readable) {
      job.task = found->second->group.task;
    } else if (!schedule_) {
      return absl::NotFoundError(absl::StrCat("iteration ", job.iteration, ": group ", id,
                                              " is not stored, and its task's source is not here"));
    }
  }
  auto groups = RunJobs(jobs, rollout_);
  if (!groups.ok()) return groups;
  for (Group& group : *groups) {
    seen.insert(group.id);
    const auto found = stored.find(group.id);
    if (found == stored.end()) {
      ReplayDifference difference;
      difference.iteration = group.iteration;
      difference.what = absl::StrCat("group ", group.id);
      difference.stored = "nothing";
      difference.replayed = absl::StrCat(group.trajectories.size(), " trajectories");
      report.Differs("store", std::move(difference));
      continue;
    }
    const absl::Status compared = CompareStored(*found->second, group, report);
    if (!compared.ok()) return compared;
  }
  return groups;
}

absl::Status Replayer::CompareRemoved(const Group& stored, Group& group, ReplayReport& report) {
  absl::Status status = CheckJudged(stored, group);
  KeepSamplesOf(stored, rollout_.advantage, group);
  if (status.ok() && options_.stored_verdicts) status = TakeStoredVerdicts(stored, group);
  if (!status.ok()) return status;
  for (const Trajectory& t : stored.trajectories) without_traces_.insert(t.id);
  const auto digest = run_.store().GroupDigest(stored.id);
  if (!digest.ok()) return digest.status();
  ReplayDifference about;
  about.iteration = group.iteration;
  about.what = absl::StrCat("group ", stored.id, ", digest of all that it held (traces not kept)");
  report.Compare("store", about, absl::BytesToHexString(*digest),
                 absl::BytesToHexString(GroupFingerprint(group)));
  return absl::OkStatus();
}

absl::Status Replayer::CompareStored(const StoredGroup& stored, Group& group,
                                     ReplayReport& report) {
  if (stored.removed()) return CompareRemoved(stored.group, group, report);
  const bool readable = !stored.group.trajectories.empty() || stored.damage.ok();
  const int64_t before = report.differing();
  if (readable) {
    absl::Status status = CheckJudged(stored.group, group);
    KeepSamplesOf(stored.group, rollout_.advantage, group);
    if (status.ok() && options_.stored_verdicts) status = TakeStoredVerdicts(stored.group, group);
    if (!status.ok()) return status;
    CompareGroup(stored.group, group, report);
  }
  if (stored.damage.ok()) {
    report.Same("store");
  } else if (report.differing() == before) {
    ReplayDifference difference;
    difference.iteration = group.iteration;
    difference.what = absl::StrCat("group ", group.id);
    difference.stored = std::string(stored.damage.message());
    difference.replayed = "whole";
    report.Differs("store", std::move(difference));
  }
  return absl::OkStatus();
}

void Replayer::OpenSchedule() {
  if (looked_for_schedule_) return;
  looked_for_schedule_ = true;
  auto schedule = MakeTaskDraw(config_);
  if (schedule.ok()) {
    schedule_ = *std::move(schedule);
  } else if (options_.note) {
    options_.note(absl::StrCat("tasks are taken from the store, not drawn again: ",
                               schedule.status().message()));
  }
}

absl::Status Replayer::ReplayStep(ReplayReport& report) {
  OpenSchedule();
  const int64_t iteration = iteration_ + 1;
  auto stored = run_.Groups(iteration);
  if (!stored.ok()) return stored.status();
  if (iteration > run_.last_iteration()) {
    return absl::NotFoundError(absl::StrCat(run_.path(), " ends with iteration ",
                                            run_.last_iteration(), "; there is no iteration ",
                                            iteration, " to replay"));
  }
  std::map<std::string, const StoredGroup*> by_id;
  for (const StoredGroup& one : *stored) by_id[one.group.id] = &one;
  std::set<std::string> seen;
  const TaskDraw draw = [this](int64_t ordinal) -> absl::StatusOr<Task> {
    return schedule_ ? schedule_(ordinal) : Task();
  };
  auto groups = MakeIterationGroups(
      config_, iteration, version_, draw,
      [&](const std::vector<GroupJob>& jobs) { return ReplayJobs(jobs, by_id, seen, report); },
      &task_cursor_);
  if (!groups.ok()) return groups.status();
  for (const auto& [id, one] : by_id) {
    if (seen.count(id) > 0) continue;
    ReplayDifference difference;
    difference.iteration = iteration;
    difference.what = absl::StrCat("group ", id);
    difference.stored = absl::StrCat(one->group.trajectories.size(), " trajectories");
    difference.replayed = "no such group";
    report.Differs("store", std::move(difference));
  }
  IterationRecord record;
  record.iteration = iteration;
  const absl::Status updated = updater_->Update(*groups, version_, task_cursor_, record);
  if (!updated.ok()) return updated;
  return FinishStep(record, /*compare=*/true, report);
}

// Which parameters are others, where their fingerprints were stored.
absl::Status Replayer::CompareTensors(const VersionRecord& version, ReplayDifference about,
                                      ReplayReport& report) {
  auto stored = run_.store().Tensors(version.version);
  if (!stored.ok()) return stored.status();
  if (stored->empty()) return absl::OkStatus();
  about.index = -1;
  about.what = "number of parameters";
  report.Compare("optimizer", about, static_cast<int64_t>(stored->size()),
                 static_cast<int64_t>(version.tensors.size()));
  for (size_t i = 0; i < std::min(stored->size(), version.tensors.size()); ++i) {
    const TensorFingerprint& theirs = (*stored)[i];
    const TensorFingerprint& ours = version.tensors[i];
    about.what = absl::StrCat("version ", version.version, ", fingerprint of ", ours.name);
    report.Compare("optimizer", about,
                   absl::StrCat(absl::Hex(theirs.value, absl::kZeroPad16),
                                theirs.name == ours.name ? "" : " of " + theirs.name),
                   absl::StrCat(absl::Hex(ours.value, absl::kZeroPad16)));
  }
  return absl::OkStatus();
}

absl::Status Replayer::CompareUpdates(const IterationRecord& record, ReplayReport& report) {
  auto stored = run_.store().Updates(record.iteration);
  if (!stored.ok()) return stored.status();
  ReplayDifference about;
  about.iteration = record.iteration;
  about.what = "number of updates";
  report.Compare("batch", about, static_cast<int64_t>(stored->size()),
                 static_cast<int64_t>(record.updates.size()));
  for (size_t u = 0; u < std::min(stored->size(), record.updates.size()); ++u) {
    const UpdateRecord& theirs = (*stored)[u];
    const UpdateRecord& ours = record.updates[u];
    const std::string name = absl::StrCat("update ", u + 1, ", ");
    const auto of = [&](absl::string_view what, int64_t index = -1) {
      about.what = absl::StrCat(name, what);
      about.index = index;
      return about;
    };
    report.Compare("batch", of("number of sequences"), static_cast<int64_t>(theirs.order.size()),
                   static_cast<int64_t>(ours.order.size()));
    for (size_t i = 0; i < std::min(theirs.order.size(), ours.order.size()); ++i) {
      report.Compare("batch", of("sequence", static_cast<int64_t>(i)), theirs.order[i],
                     ours.order[i]);
    }
    report.Compare("batch", of("gradient slots"), int64_t{theirs.slots}, int64_t{ours.slots});
    report.Compare("batch", of("loss"), theirs.loss_json, ours.loss_json);
    report.Compare("optimizer", of("learning rate"), theirs.learning_rate, ours.learning_rate);
    report.Compare("optimizer", of("weights hash before"), theirs.hash_before, ours.hash_before);
    report.Compare("optimizer", of("weights hash after"), theirs.hash_after, ours.hash_after);
    if (u >= record.versions.size()) continue;
    const absl::Status compared = CompareTensors(record.versions[u], about, report);
    if (!compared.ok()) return compared;
  }
  return absl::OkStatus();
}

absl::Status Replayer::CompareMetrics(const IterationRecord& record, ReplayReport& report) {
  auto stored = run_.store().Metrics(record.iteration);
  if (!stored.ok()) return stored.status();
  for (const auto& [name, value] : record.metrics) {
    // tokens/... are the loop's own; what is not a number is stored as null.
    if (absl::StartsWith(name, "tokens/") || std::isnan(value)) continue;
    ReplayDifference about;
    about.iteration = record.iteration;
    about.what = absl::StrCat("metric ", name);
    const auto found = stored->find(name);
    if (found == stored->end()) {
      report.Compare(StageOf(name), about, "none", ExactText(value));
    } else {
      report.Compare(StageOf(name), about, found->second, value);
    }
  }
  return absl::OkStatus();
}

absl::Status Replayer::CompareChannels(const IterationRecord& record, ReplayReport& report) {
  for (const auto& [id, channels] : record.channels) {
    if (without_traces_.count(id) > 0) continue;
    for (const auto& [name, values] : channels) {
      auto stored = run_.store().GetChannel(id, name);
      ReplayDifference about;
      about.iteration = record.iteration;
      about.trajectory = id;
      about.what = absl::StrCat("channel ", name);
      if (!stored.ok() || !stored->has_value() || (*stored)->size() != values.size()) {
        const std::string why(stored.status().message());
        report.Compare("forward", about, stored.ok() ? "none" : why, "there");
        continue;
      }
      for (size_t t = 0; t < values.size(); ++t) {
        if (std::memcmp(&(**stored)[t], &values[t], sizeof(float)) == 0) continue;
        about.index = static_cast<int64_t>(t);
        about.stored = ExactText((**stored)[t]);
        about.replayed = ExactText(values[t]);
        report.Differs("forward", about);
      }
      report.Same("forward", static_cast<int64_t>(values.size()));
    }
  }
  return absl::OkStatus();
}

absl::Status Replayer::ReplayIterations(int64_t first, int64_t last, ReplayReport& report) {
  for (int64_t iteration = first; iteration <= last; ++iteration) {
    absl::Status status = Seek(iteration - 1, report);
    if (status.ok()) status = ReplayStep(report);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Replayer::ReplayTrajectory(const std::string& id, ReplayReport& report) {
  auto group_id = run_.store().GroupOfTrajectory(id);
  if (!group_id.ok()) return group_id.status();
  StoredGroup stored;
  auto group = run_.store().GetGroupUnchecked(*group_id, &stored.damage);
  if (!group.ok()) return group.status();
  stored.group = *std::move(*group);
  absl::Status status = Seek(stored.group.iteration - 1, report);
  if (!status.ok()) return status;
  GroupJob job;
  job.task = stored.group.task;
  job.key = stored.group.key;
  job.iteration = stored.group.iteration;
  job.version = version_;
  auto replayed = RunJobs({job}, rollout_);
  if (!replayed.ok()) return replayed.status();
  Group& made = replayed->front();
  status = CheckJudged(stored.group, made);
  KeepSamplesOf(stored.group, rollout_.advantage, made);
  if (status.ok() && options_.stored_verdicts) status = TakeStoredVerdicts(stored.group, made);
  if (!status.ok()) return status;
  if (stored.removed()) return CompareRemoved(stored.group, made, report);
  for (size_t i = 0; i < stored.group.trajectories.size(); ++i) {
    if (stored.group.trajectories[i].id != id) continue;
    CompareTrajectory(stored.group.trajectories[i], made.trajectories[i], job.iteration, report);
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat("trajectory ", id, " is not in its group"));
}

}  // namespace hone
