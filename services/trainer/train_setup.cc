// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/train_setup.h"

#include <cstdlib>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "rollout/tasks/mixture.h"
#include "services/clients/remote_verifier.h"
#include "services/trainer/run_directory.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

MixtureSource SourceOf(const v1::TaskSourceConfig& from, uint64_t seed) {
  MixtureSource source;
  source.name = from.path().empty() ? from.generator() : from.name();
  source.kind = from.path().empty() ? "generator" : "file";
  source.seed = seed;
  source.weight = from.weight();
  source.verifier = from.verifier();
  if (from.path().empty()) {
    source.options = TaskOptions(from.options().begin(), from.options().end());
  } else {
    source.path = ResolveDataPath(from.path());
    source.options = TaskOptions(from.map().begin(), from.map().end());
  }
  if (from.has_difficulty_min()) source.difficulty_min = from.difficulty_min();
  if (from.has_difficulty_max()) source.difficulty_max = from.difficulty_max();
  return source;
}

// A verifier that the config names for a source wins over what its tasks say.
std::string VerifierOverride(const v1::TaskSourceConfig& source) {
  if (source.verifier().empty() || source.verifier_options().empty()) return source.verifier();
  return absl::StrCat(source.verifier(), "@", source.name());
}

absl::Status ReadPassRates(const v1::TasksConfig& tasks, MixtureConfig& mixture) {
  if (tasks.pass_rate_file().empty()) return absl::OkStatus();
  auto text = ReadWholeFile(ResolveDataPath(tasks.pass_rate_file()), size_t{1} << 30);
  if (!text.ok()) return text.status();
  size_t begin = 0;
  for (int64_t line = 1; begin < text->size(); ++line) {
    size_t end = text->find('\n', begin);
    if (end == std::string::npos) end = text->size();
    const auto row = nlohmann::json::parse(text->begin() + static_cast<ptrdiff_t>(begin),
                                           text->begin() + static_cast<ptrdiff_t>(end), nullptr,
                                           false);
    begin = end + 1;
    if (!row.is_object() || !row.contains("task_hash") || !row["task_hash"].is_string() ||
        !row.contains("pass_rate") || !row["pass_rate"].is_number()) {
      return absl::InvalidArgumentError(
          absl::StrCat(tasks.pass_rate_file(), ":", line,
                       ": not {\"task_hash\": text, \"pass_rate\": number}"));
    }
    mixture.pass_rates[row["task_hash"]] = row["pass_rate"];
  }
  if (tasks.has_pass_rate_min()) mixture.pass_rate_min = tasks.pass_rate_min();
  if (tasks.has_pass_rate_max()) mixture.pass_rate_max = tasks.pass_rate_max();
  return absl::OkStatus();
}

// A source whose tasks all get one verifier.
class Overridden : public TaskSource {
 public:
  Overridden(std::unique_ptr<TaskSource> source, std::string verifier)
      : source_(std::move(source)), verifier_(std::move(verifier)) {}
  std::string name() const override { return source_->name(); }
  int64_t size() const override { return source_->size(); }
  absl::StatusOr<Task> At(int64_t index) const override {
    auto task = source_->At(index);
    if (task.ok() && !verifier_.empty()) task->verifier = verifier_;
    return task;
  }

 private:
  std::unique_ptr<TaskSource> source_;
  std::string verifier_;
};

}  // namespace

std::string ResolveDataPath(const std::string& path) {
  std::error_code error;
  if (fs::path(path).is_absolute() || fs::exists(path, error)) return path;
  const char* data = std::getenv("HONE_DATA_DIR");
  if (data != nullptr && fs::exists(fs::path(data) / path, error)) {
    return (fs::path(data) / path).string();
  }
  return path;
}

bool IsGenerator(absl::string_view name) {
  for (const GeneratorInfo& info : ListGenerators()) {
    if (info.name == name) return true;
  }
  return false;
}

absl::StatusOr<std::unique_ptr<TaskSource>> OpenTasks(const std::string& source, uint64_t seed,
                                                      const TaskOptions& options) {
  std::error_code error;
  if (IsGenerator(source) && !fs::is_regular_file(source, error)) {
    return MakeGenerator(source, seed, options);
  }
  const std::string set = ResolveDataPath(source);
  const std::string path = fs::is_directory(set, error) ? set + "/test.jsonl" : set;
  if (!fs::exists(path, error)) {
    return absl::NotFoundError(absl::StrCat(
        "no generator, task file or data set is called \"", source,
        "\"; `hone data generators` lists generators, data sets lie under HONE_DATA_DIR"));
  }
  return ReadTaskFile(path, options);
}

absl::StatusOr<TaskDraw> MakeTaskDraw(const v1::RunConfig& config) {
  MixtureConfig mixture;
  mixture.seed = config.seed();
  if (config.tasks().heldout_share() > 0) mixture.heldout_share = config.tasks().heldout_share();
  absl::Status rates = ReadPassRates(config.tasks(), mixture);
  if (!rates.ok()) return rates;
  std::vector<std::string> overrides;
  for (const v1::TaskSourceConfig& source : config.tasks().sources()) {
    mixture.sources.push_back(SourceOf(source, config.seed()));
    overrides.push_back(VerifierOverride(source));
  }
  auto schedule = TaskSchedule::Make(mixture);
  if (!schedule.ok()) return schedule.status();
  std::shared_ptr<TaskSchedule> shared = *std::move(schedule);
  return TaskDraw([shared, overrides](int64_t ordinal) -> absl::StatusOr<Task> {
    auto task = shared->At(static_cast<uint64_t>(ordinal));
    if (!task.ok()) return task;
    const std::string& verifier =
        overrides[shared->PlaceOf(static_cast<uint64_t>(ordinal)).source];
    if (!verifier.empty()) task->verifier = verifier;
    return task;
  });
}

absl::StatusOr<std::vector<EvaluationSet>> MakeEvaluations(const v1::RunConfig& config) {
  std::vector<EvaluationSet> sets;
  for (const v1::TaskSourceConfig& source : config.evaluation().sources()) {
    MixtureConfig mixture;
    mixture.seed = config.seed();
    const auto split = source.options().find("split");
    mixture.split = split == source.options().end() ? "all" : split->second;
    if (config.tasks().heldout_share() > 0) mixture.heldout_share = config.tasks().heldout_share();
    auto tasks = OpenTasks(SourceOf(source, config.seed()), mixture);
    if (!tasks.ok()) return tasks.status();
    sets.push_back({source.name(), std::make_unique<Overridden>(*std::move(tasks),
                                                                VerifierOverride(source))});
  }
  return sets;
}

std::vector<VerifierSetup> VerifierSetups(const v1::RunConfig& config) {
  std::vector<VerifierSetup> setups;
  std::set<std::string> names;
  for (const VerifierInfo& info : ListVerifiers()) {
    setups.push_back({info.name, info.name, {}});
    names.insert(info.name);
  }
  const auto add = [&](const google::protobuf::RepeatedPtrField<v1::TaskSourceConfig>& sources) {
    for (const v1::TaskSourceConfig& source : sources) {
      const std::string name = VerifierOverride(source);
      if (name.empty() || !names.insert(name).second) continue;
      setups.push_back({name, source.verifier(),
                        VerifierOptions(source.verifier_options().begin(),
                                        source.verifier_options().end())});
    }
  };
  add(config.tasks().sources());
  add(config.evaluation().sources());
  return setups;
}

absl::StatusOr<std::unique_ptr<VerifierPool>> MakeVerifiers(
    const std::vector<VerifierSetup>& setups, const std::string& address) {
  auto pool = std::make_unique<VerifierPool>();
  for (const VerifierSetup& setup : setups) {
    if (address.empty()) {
      auto verifier = MakeVerifier(setup.verifier, setup.options);
      if (!verifier.ok()) return verifier.status();
      pool->Add(setup.name, *std::move(verifier));
    } else {
      auto verifier = RemoteVerifier::Connect(address, setup.verifier, setup.options);
      if (!verifier.ok()) return verifier.status();
      pool->Add(setup.name, *std::move(verifier));
    }
  }
  return pool;
}

}  // namespace hone
