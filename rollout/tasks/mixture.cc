// SPDX-License-Identifier: Apache-2.0
#include "rollout/tasks/mixture.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "policy/sampling/rng.h"
#include "rollout/tasks/jsonl_file.h"
#include "rollout/tasks/problems.h"

namespace hone {
namespace {

constexpr uint64_t kBlock = 1024;
constexpr uint64_t kBlockStream = ~uint64_t{0};
constexpr size_t kMaxSources = 64;

// A source with some tasks left out, and perhaps another verifier.
class Filtered : public TaskSource {
 public:
  Filtered(std::unique_ptr<TaskSource> from, std::string label, std::string verifier)
      : from_(std::move(from)), label_(std::move(label)), verifier_(std::move(verifier)) {}

  // Keeps the tasks, as the source has them, that `keep` accepts. REQUIRES: the source is finite.
  template <typename Keep>
  absl::Status KeepOnly(const Keep& keep) {
    std::vector<int64_t> kept;
    for (int64_t i = 0; i < from_->size(); ++i) {
      const absl::StatusOr<Task> task = from_->At(i);
      if (!task.ok()) return task.status();
      if (keep(*task)) kept.push_back(i);
    }
    if (kept.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("source '", label_, "': no task is left after split and filters"));
    }
    kept_ = std::move(kept);
    return absl::OkStatus();
  }

  std::string name() const override { return label_; }
  int64_t size() const override {
    return kept_.empty() ? from_->size() : static_cast<int64_t>(kept_.size());
  }
  absl::StatusOr<Task> At(int64_t index) const override {
    if (kept_.empty()) return Read(index);
    if (index < 0 || index >= size()) {
      return absl::OutOfRangeError(
          absl::StrCat("source '", label_, "': there is no task ", index, " of ", size()));
    }
    return Read(kept_[static_cast<size_t>(index)]);
  }

 private:
  absl::StatusOr<Task> Read(int64_t index) const {
    absl::StatusOr<Task> task = from_->At(index);
    if (task.ok() && !verifier_.empty()) task->verifier = verifier_;
    return task;
  }

  std::unique_ptr<TaskSource> from_;
  std::string label_;
  std::string verifier_;
  std::vector<int64_t> kept_;  // empty: all
};

std::string LabelOf(const MixtureSource& source) {
  if (!source.name.empty()) return source.name;
  return source.generator.empty() ? source.path : source.generator;
}

absl::Status Bad(const MixtureSource& source, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("source '", LabelOf(source), "': ", what));
}

bool IsSplit(const std::string& split) {
  return split == "train" || split == "heldout" || split == "all";
}

absl::Status CheckSource(const MixtureSource& source) {
  if (source.generator.empty() == source.path.empty()) {
    return Bad(source, "must name a generator or a path, and one of them alone");
  }
  if (source.path.empty() && !source.key_map.empty()) {
    return Bad(source, "a key map is for files; a generator has no rows");
  }
  for (const auto& [name, value] : source.options) {
    if (!source.path.empty() && (name != "split" || !IsSplit(value))) {
      return Bad(source, absl::StrCat("a file has no option '", name, "' of '", value,
                                      "'; it takes split=train|heldout|all alone"));
    }
  }
  if (!std::isfinite(source.weight) || source.weight <= 0) {
    return Bad(source, "weight must be above 0");
  }
  if (std::isnan(source.difficulty_min) || std::isnan(source.difficulty_max) ||
      source.difficulty_min > source.difficulty_max) {
    return Bad(source, "difficulty_min is above difficulty_max");
  }
  return absl::OkStatus();
}

absl::Status CheckConfig(const MixtureConfig& config) {
  if (!IsSplit(config.split)) {
    return absl::InvalidArgumentError(
        absl::StrCat("split is '", config.split, "'; it must be train, heldout or all"));
  }
  if (!(config.heldout_share >= 0 && config.heldout_share < 1)) {
    return absl::InvalidArgumentError("heldout_share must be from 0 to below 1");
  }
  if (!(config.pass_rate_min >= 0 && config.pass_rate_max <= 1 &&
        config.pass_rate_min <= config.pass_rate_max)) {
    return absl::InvalidArgumentError("pass_rate_min and pass_rate_max must be a band in 0 to 1");
  }
  return absl::OkStatus();
}

std::string SplitOf(const MixtureSource& source, const MixtureConfig& config) {
  const auto own = source.options.find("split");
  return own == source.options.end() ? config.split : own->second;
}

absl::StatusOr<std::unique_ptr<TaskSource>> OpenSource(const MixtureSource& source,
                                                       const MixtureConfig& config) {
  if (!source.path.empty()) return ReadTaskFile(source.path, source.key_map);
  TaskOptions options = source.options;
  options["split"] = SplitOf(source, config);
  return MakeGenerator(source.generator, source.seed, options);
}

// Shares of kBlock by weight: largest remainders, ties to the first, nobody below one.
std::vector<uint64_t> Quotas(const std::vector<MixtureSource>& sources) {
  double total = 0;
  for (const MixtureSource& source : sources) total += source.weight;
  std::vector<uint64_t> quotas;
  std::vector<std::pair<double, size_t>> remainders;
  uint64_t given = 0;
  for (size_t i = 0; i < sources.size(); ++i) {
    const double exact = sources[i].weight / total * static_cast<double>(kBlock);
    quotas.push_back(std::max<uint64_t>(1, static_cast<uint64_t>(exact)));
    remainders.push_back({static_cast<double>(quotas[i]) - exact, i});
    given += quotas[i];
  }
  std::sort(remainders.begin(), remainders.end());
  for (size_t i = 0; given < kBlock; i = (i + 1) % sources.size(), ++given) {
    ++quotas[remainders[i].second];
  }
  while (given > kBlock) {  // the ones lifted to one are paid for by the greatest
    --*std::max_element(quotas.begin(), quotas.end());
    --given;
  }
  return quotas;
}

}  // namespace

uint64_t ShuffledIndex(uint64_t i, uint64_t n, uint64_t seed, uint64_t stream, uint64_t epoch) {
  assert(i < n);
  // A Feistel cipher of an even number of bits, walked until it falls inside.
  const int half = std::max<int>(1, (std::bit_width(n - 1) + 1) / 2);
  const uint64_t mask = (uint64_t{1} << half) - 1;
  SampleKey key;
  key.run_seed = seed;
  key.purpose = Purpose::kData;
  key.group_ordinal = epoch;
  key.attempt = static_cast<uint32_t>(stream);
  key.sample = static_cast<uint32_t>(stream >> 32);
  const std::array<uint32_t, 4> words = KeyWords(key);
  do {
    uint64_t left = i >> half;
    uint64_t right = i & mask;
    for (uint32_t round = 0; round < 4; ++round) {
      uint32_t block[4] = {words[2], words[3] ^ round, static_cast<uint32_t>(right),
                           static_cast<uint32_t>(right >> 32)};
      Philox(block, words[0], words[1]);
      const uint64_t mixed = (uint64_t{block[1]} << 32 | block[0]) & mask;
      const uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    i = left << half | right;
  } while (i >= n);
  return i;
}

absl::StatusOr<std::map<std::string, double>> ReadPassRates(const std::string& path) {
  std::map<std::string, double> rates;
  const auto file =
      JsonlFile::Open(path, kMaxRows, [&](int64_t line, absl::string_view text) -> absl::Status {
        const auto row = ParseJsonRow(path, line, text);
        if (!row.ok()) return row.status();
        const auto hash = row->find("task_hash");
        const auto rate = row->find("pass_rate");
        const auto bad = [&](absl::string_view what) {
          return absl::InvalidArgumentError(absl::StrCat(path, ":", line, ": ", what));
        };
        if (hash == row->end() || !hash->is_string()) return bad("key 'task_hash': must be text");
        if (rate == row->end() || !rate->is_number() ||
            !(rate->get<double>() >= 0 && rate->get<double>() <= 1)) {
          return bad("key 'pass_rate': must be a number from 0 to 1");
        }
        if (!rates.emplace(hash->get<std::string>(), rate->get<double>()).second) {
          return bad("key 'task_hash': stands on an earlier line too");
        }
        return absl::OkStatus();
      });
  if (!file.ok()) return file.status();
  return rates;
}

absl::StatusOr<std::unique_ptr<TaskSource>> OpenTasks(const MixtureSource& source,
                                                      const MixtureConfig& config) {
  absl::Status status = CheckConfig(config);
  if (status.ok()) status = CheckSource(source);
  if (!status.ok()) return status;
  absl::StatusOr<std::unique_ptr<TaskSource>> opened = OpenSource(source, config);
  if (!opened.ok()) return opened.status();
  const bool endless = (*opened)->size() < 0;
  const bool band = std::isfinite(source.difficulty_min) || std::isfinite(source.difficulty_max);
  const std::string split = SplitOf(source, config);
  const bool divided =
      !source.path.empty() && split != "all" && (config.heldout_share > 0 || split == "heldout");
  const bool rated = !config.pass_rates.empty();
  if (endless && (band || rated)) {
    return Bad(source,
               "endless; difficulty and pass-rate bands want a finite source (set the "
               "generator's own options instead)");
  }
  auto filtered = std::make_unique<Filtered>(*std::move(opened), LabelOf(source), source.verifier);
  if (!band && !divided && !rated) return filtered;
  int64_t measured = 0;
  status = filtered->KeepOnly([&](const Task& task) {
    if (task.difficulty < source.difficulty_min || task.difficulty > source.difficulty_max) {
      return false;
    }
    if (divided && IsHeldout("file", task.prompt, config.heldout_share) != (split == "heldout")) {
      return false;
    }
    if (!rated) return true;
    auto rate = config.pass_rates.find(task.Hash());
    if (rate == config.pass_rates.end() && !source.verifier.empty()) {
      Task given = task;
      given.verifier = source.verifier;
      rate = config.pass_rates.find(given.Hash());
    }
    if (rate == config.pass_rates.end()) return false;
    ++measured;
    return rate->second >= config.pass_rate_min && rate->second <= config.pass_rate_max;
  });
  if (rated && measured == 0) {
    return Bad(source,
               "the pass rates name none of its tasks; `hone eval --tasks FILE --items RATES` "
               "measures those of this very file");
  }
  if (!status.ok()) return status;
  return filtered;
}

absl::StatusOr<std::unique_ptr<TaskSchedule>> TaskSchedule::Make(const MixtureConfig& config) {
  if (config.sources.empty() || config.sources.size() > kMaxSources) {
    return absl::InvalidArgumentError(
        absl::StrCat(config.sources.size(), " sources; a mixture has 1 to ", kMaxSources));
  }
  std::unique_ptr<TaskSchedule> schedule(new TaskSchedule);
  schedule->seed_ = config.seed;
  absl::flat_hash_set<std::string> names;
  for (const MixtureSource& source : config.sources) {
    if (!names.insert(LabelOf(source)).second) {
      return Bad(source, "stands in the mixture twice; give each a name of its own");
    }
    absl::StatusOr<std::unique_ptr<TaskSource>> opened = OpenTasks(source, config);
    if (!opened.ok()) return opened.status();
    schedule->sources_.push_back(*std::move(opened));
  }
  schedule->quotas_ = Quotas(config.sources);
  return schedule;
}

TaskSchedule::Place TaskSchedule::PlaceOf(uint64_t ordinal) const {
  const uint64_t block = ordinal / kBlock;
  uint64_t slot = ShuffledIndex(ordinal % kBlock, kBlock, seed_, kBlockStream, block);
  Place place;
  while (slot >= quotas_[place.source]) slot -= quotas_[place.source++];
  const uint64_t drawn = block * quotas_[place.source] + slot;  // counts this source's draws
  const int64_t size = sources_[place.source]->size();
  if (size < 0) {
    place.index = static_cast<int64_t>(drawn);
    return place;
  }
  const uint64_t n = static_cast<uint64_t>(size);
  place.epoch = drawn / n;
  place.index = static_cast<int64_t>(ShuffledIndex(drawn % n, n, seed_, place.source, place.epoch));
  return place;
}

absl::StatusOr<Task> TaskSchedule::At(uint64_t ordinal) const {
  const Place place = PlaceOf(ordinal);
  return sources_[place.source]->At(place.index);
}

}  // namespace hone
