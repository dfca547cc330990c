// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/train_setup.h"

#include <cstdlib>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "rollout/tasks/mixture.h"
#include "services/clients/verifier_conformance.h"
#include "services/clients/verifier_group.h"
#include "services/clients/verifier_spec.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

// The verifier of a source's tasks; one with options is a verifier of its own in the pool.
std::string VerifierOf(const v1::TaskSourceConfig& source) {
  if (source.verifier().empty() || source.verifier_options().empty()) return source.verifier();
  return absl::StrCat(source.verifier(), "@", source.name());
}

MixtureSource SourceOf(const v1::TaskSourceConfig& from, uint64_t seed) {
  MixtureSource source;
  source.name = from.name();
  source.generator = from.generator();
  if (!from.path().empty()) source.path = ResolveDataPath(from.path());
  source.seed = seed;
  source.options = TaskOptions(from.options().begin(), from.options().end());
  source.key_map = TaskOptions(from.map().begin(), from.map().end());
  source.weight = from.weight();
  source.verifier = VerifierOf(from);
  if (from.has_difficulty_min()) source.difficulty_min = from.difficulty_min();
  if (from.has_difficulty_max()) source.difficulty_max = from.difficulty_max();
  return source;
}

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

namespace {

// A file that is not there, with the places where it was looked for.
absl::Status WhereLooked(const absl::Status& status) {
  if (!absl::IsNotFound(status)) return status;
  const char* data = std::getenv("HONE_DATA_DIR");
  return absl::NotFoundError(absl::StrCat(
      status.message(), "; relative paths are looked for here and under HONE_DATA_DIR (",
      data == nullptr ? "not set" : data, ")"));
}

}  // namespace

absl::StatusOr<TaskDraw> MakeTaskDraw(const v1::RunConfig& config) {
  MixtureConfig mixture;
  mixture.seed = config.seed();
  mixture.heldout_share = config.tasks().heldout_share();
  if (!config.tasks().pass_rate_file().empty()) {
    auto rates = ReadPassRates(ResolveDataPath(config.tasks().pass_rate_file()));
    if (!rates.ok()) return rates.status();
    mixture.pass_rates = *std::move(rates);
    if (config.tasks().has_pass_rate_min()) mixture.pass_rate_min = config.tasks().pass_rate_min();
    if (config.tasks().has_pass_rate_max()) mixture.pass_rate_max = config.tasks().pass_rate_max();
  }
  for (const v1::TaskSourceConfig& source : config.tasks().sources()) {
    mixture.sources.push_back(SourceOf(source, config.seed()));
  }
  auto schedule = TaskSchedule::Make(mixture);
  if (!schedule.ok()) return WhereLooked(schedule.status());
  std::shared_ptr<TaskSchedule> shared = *std::move(schedule);
  return TaskDraw([shared](int64_t ordinal) { return shared->At(static_cast<uint64_t>(ordinal)); });
}

absl::StatusOr<std::vector<EvaluationSet>> MakeEvaluations(const v1::RunConfig& config) {
  MixtureConfig mixture;
  mixture.seed = config.seed();
  mixture.split = "all";
  mixture.heldout_share = config.tasks().heldout_share();
  std::vector<EvaluationSet> sets;
  for (const v1::TaskSourceConfig& source : config.evaluation().sources()) {
    auto tasks = OpenTasks(SourceOf(source, config.seed()), mixture);
    if (!tasks.ok()) return WhereLooked(tasks.status());
    sets.push_back({source.name(), *std::move(tasks)});
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
  for (const v1::VerifierConfig& verifier : config.verifiers()) {
    setups.push_back({verifier.name(), verifier.spec(),
                      VerifierOptions(verifier.options().begin(), verifier.options().end())});
    names.insert(verifier.name());
  }
  const auto add = [&](const google::protobuf::RepeatedPtrField<v1::TaskSourceConfig>& sources) {
    for (const v1::TaskSourceConfig& source : sources) {
      const std::string name = VerifierOf(source);
      if (name.empty() || !names.insert(name).second) continue;
      setups.push_back(
          {name, source.verifier(),
           VerifierOptions(source.verifier_options().begin(), source.verifier_options().end())});
    }
  };
  add(config.tasks().sources());
  add(config.evaluation().sources());
  return setups;
}

absl::StatusOr<std::unique_ptr<VerifierPool>> MakeVerifiers(
    const std::vector<VerifierSetup>& setups, const std::string& address) {
  auto pool = std::make_unique<VerifierPool>();
  const std::vector<std::string> addresses = absl::StrSplit(address, ',', absl::SkipEmpty());
  for (const VerifierSetup& setup : setups) {
    const bool custom = IsCustomVerifier(setup.verifier);
    if (!custom && !addresses.empty()) {
      auto verifier = VerifierGroup::Connect(addresses, setup.verifier, setup.options);
      if (absl::IsUnimplemented(verifier.status())) {
        return absl::FailedPreconditionError(
            absl::StrCat("--verifier ", address,
                         ": what listens there judges nothing; start a "
                         "service with hone serve verifier"));
      }
      if (!verifier.ok()) {
        return absl::Status(verifier.status().code(),
                            absl::StrCat("--verifier ", address, ", verifier \"", setup.verifier,
                                         "\": ", verifier.status().message()));
      }
      pool->Add(setup.name, *std::move(verifier));
      continue;
    }
    auto verifier = OpenVerifier(setup.verifier, setup.options);
    if (!verifier.ok()) return verifier.status();
    if (custom) {
      const absl::Status fit = CheckCustomVerifier(setup.verifier, setup.options, **verifier);
      if (!fit.ok()) return fit;
    }
    pool->Add(setup.name, *std::move(verifier));
  }
  return pool;
}

}  // namespace hone
