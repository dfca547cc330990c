// SPDX-License-Identifier: Apache-2.0
//
// State in and out.
#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "policy/local/local_core.h"
#include "policy/model/initial_values.h"
#include "policy/tokenizer/tiktoken_file.h"

namespace hone {
namespace {

constexpr char kLastUpdate[] = "hone.last_update";  // key in PolicyState::extra

absl::Status CannotLoad(absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat("cannot load this policy state: ", why));
}

std::string EncodeResult(const std::string& update_id, const OptimStepResult& result) {
  return absl::StrFormat("%d %s %s %a %a %s", result.version,
                         result.hash_before.empty() ? "-" : result.hash_before,
                         result.hash_after.empty() ? "-" : result.hash_after, result.grad_norm,
                         result.update_to_weight, update_id);
}

absl::StatusOr<std::pair<std::string, OptimStepResult>> DecodeResult(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits(' ', 5));
  OptimStepResult result;
  if (parts.size() != 6 || !absl::SimpleAtoi(parts[0], &result.version)) {
    return absl::DataLossError(absl::StrCat("'", text, "' is not a recorded update"));
  }
  if (parts[1] != "-") result.hash_before = parts[1];
  if (parts[2] != "-") result.hash_after = parts[2];
  result.grad_norm = std::strtod(parts[3].c_str(), nullptr);
  result.update_to_weight = std::strtod(parts[4].c_str(), nullptr);
  return std::make_pair(parts[5], result);
}

// The options, with what the state says.
absl::StatusOr<LocalPolicyOptions> OptionsFor(const PolicyState& state,
                                              const LocalPolicyOptions& options) {
  LocalPolicyOptions merged = options;
  if (options.config.vocab_size != 0 && !(options.config == state.config)) {
    return CannotLoad("its model has another shape than the options'");
  }
  merged.config = state.config;
  // Adapters are kept in float, and so is what they are merged into.
  merged.dtype = options.adaptation.lora.r > 0 ? DType::kFloat32 : state.dtype;
  if (!options.tokenizer_json.empty() && !state.tokenizer_json.empty() &&
      options.tokenizer_json != state.tokenizer_json) {
    return CannotLoad("it has another tokenizer than the options");
  }
  if (!state.tokenizer_json.empty()) {
    merged.tokenizer_json = state.tokenizer_json;
  } else if (merged.tokenizer_json.empty()) {
    auto made = TokenizerJsonOf(state.carried.files);
    if (!made.ok()) return made.status();
    merged.tokenizer_json = *std::move(made);
  }
  return merged;
}

// All of them in the registry's layout; zeros for what is frozen unless it is wanted too.
std::vector<float> FlatOf(const ReadParameter& read, const ParameterRegistry& registry,
                          const ParameterRegistry& adapted, bool frozen_too) {
  std::vector<float> flat;
  if (!read) return flat;
  flat.resize(static_cast<size_t>(registry.flat_elements()));
  for (const ParameterInfo& info : registry.all()) {
    if (!frozen_too && adapted.Find(info.name)->frozen) continue;
    const absl::Status status = read(info, 0, info.elements, flat.data() + info.offset);
    assert(status.ok());
  }
  return flat;
}

bool SameAdapters(const ParameterRegistry& a, const ParameterRegistry& b) {
  const auto adapters = [](const ParameterRegistry& registry) {
    std::vector<std::pair<std::string, std::vector<int64_t>>> out;
    for (const ParameterInfo& info : registry.all()) {
      if (info.group == ParameterGroup::kLora) out.emplace_back(info.name, info.shape);
    }
    return out;
  };
  return a.adaptation().lora.Scale() == b.adaptation().lora.Scale() && adapters(a) == adapters(b);
}

// Reads everything once and keeps nothing: what Load will meet, before it changes anything.
absl::Status ReadThrough(const ReadParameter& read, const ParameterRegistry& registry,
                         bool frozen_too) {
  constexpr int64_t kPieceElements = int64_t{1} << 18;
  if (!read) return absl::OkStatus();
  std::vector<float> piece(kPieceElements);
  for (const ParameterInfo& info : registry.all()) {
    for (int64_t first = 0; (frozen_too || !info.frozen) && first < info.elements;
         first += kPieceElements) {
      const int64_t count = std::min(kPieceElements, info.elements - first);
      const absl::Status status = read(info, first, count, piece.data());
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace

ReadParameter ValuesOf(const Model<float>& model) {
  return [&model](const ParameterInfo& info, int64_t first, int64_t count, float* to) {
    const ParameterInfo* own = model.registry().Find(info.name);
    model.device().CopyOut(to, model.values() + own->offset + first,
                           static_cast<size_t>(count) * sizeof(float), nullptr);
    return absl::OkStatus();
  };
}

PolicyState LocalPolicy::Core::SnapshotHeader() const {
  PolicyState state;
  state.config = options.config;
  state.dtype = options.dtype;
  state.version = version;
  state.backend = backend.id;
  state.tokenizer_json = options.tokenizer_json;
  state.adaptation = options.adaptation;
  state.base_directory = base_directory;
  state.carried = carried;
  state.extra = extra;
  state.optimizer_steps = optimizer->Arrays().steps;
  if (!recorded.empty()) {
    state.extra[kLastUpdate] = EncodeResult(recorded.back().first, recorded.back().second);
  }
  return state;
}

PolicyState LocalPolicy::Core::Snapshot() {
  assert(options.adaptation.lora.r == 0);
  PolicyState state = SnapshotHeader();
  const StateArrays arrays = Arrays();
  const ParameterRegistry& adapted = model->registry();
  state.values = FlatOf(arrays.values, weights_registry, adapted, true);
  state.master = FlatOf(arrays.master, weights_registry, adapted, false);
  state.adam_m = FlatOf(arrays.adam_m, weights_registry, adapted, false);
  state.adam_v = FlatOf(arrays.adam_v, weights_registry, adapted, false);
  state.reference = FlatOf(arrays.reference, weights_registry, adapted, true);
  return state;
}

StateArrays LocalPolicy::Core::Arrays() const {
  const OptimizerArrays moments = optimizer->Arrays();
  StateArrays arrays = {ValuesOf(*model), moments.master, moments.m, moments.v, nullptr};
  if (reference != nullptr) arrays.reference = ValuesOf(*reference);
  return arrays;
}

absl::StatusOr<std::unique_ptr<Model<float>>> LocalPolicy::Core::MakeReference() const {
  return Model<float>::Create(options.config, *backend.table, *backend.device,
                              {options.dtype, false, true, options.adaptation});
}

void LocalPolicy::Core::SetReference(std::unique_ptr<Model<float>> fresh) {
  reference_passes.clear();
  reference = std::move(fresh);
  if (reference != nullptr) reference_passes = MakePasses(*reference, options.threads);
}

absl::Status LocalPolicy::Core::CheckFits(const OpenedCheckpoint& opened, bool weights_only) const {
  const PolicyState& state = opened.state;
  const LoraOptions& lora = options.adaptation.lora;
  if (lora.r > 0 && opened.adapters != nullptr) {
    if (!SameAdapters(*opened.adapters->registry, model->registry())) {
      return CannotLoad(
          "its adapters are others than the options': give it the same r, lora_alpha and "
          "target_modules, or merge it first (hone checkpoint convert)");
    }
  }
  const bool goes_on = !weights_only && opened.arrays.adam_m;
  if (!goes_on || !options.trainable) return absl::OkStatus();
  if ((lora.r > 0) != (opened.adapters != nullptr)) {
    return CannotLoad(lora.r > 0 ? "it is no state of adapters; load its weights only"
                                 : "it is a state of adapters; give the lora options it was "
                                   "trained with, or load its weights only");
  }
  if (state.adaptation.freeze != options.adaptation.freeze) {
    return CannotLoad(
        absl::StrCat("it was trained with freeze [", absl::StrJoin(state.adaptation.freeze, ", "),
                     "], the options say [", absl::StrJoin(options.adaptation.freeze, ", "),
                     "]; choose the same, or load its weights only"));
  }
  if (!state.backend.empty() && state.backend != backend.id) {
    return CannotLoad(absl::StrCat("it was trained on backend ", state.backend, ", this is ",
                                   backend.id, "; choose that backend, or load the weights only"));
  }
  return absl::OkStatus();
}

absl::Status LocalPolicy::Core::CheckReadable(const OpenedCheckpoint& opened,
                                              const std::string& directory) const {
  const auto found = HashParameters(weights_registry, opened.arrays.values);
  if (!found.ok()) return found.status();
  absl::Status status = CheckWeightsHash(opened, directory, *found);
  for (const ReadParameter* read :
       {&opened.arrays.master, &opened.arrays.adam_m, &opened.arrays.adam_v}) {
    if (status.ok()) status = ReadThrough(*read, model->registry(), false);
  }
  if (!status.ok()) return status;
  return ReadThrough(opened.arrays.reference, model->registry(), true);
}

absl::Status LocalPolicy::Core::LoadWeights(const OpenedCheckpoint& opened,
                                            const std::string& directory) {
  if (options.adaptation.lora.r == 0) {
    WeightsHasher hasher(weights_registry);
    const absl::Status status =
        model->Load([&](const ParameterInfo& info, int64_t first, int64_t count, float* to) {
          absl::Status read = opened.arrays.values(info, first, count, to);
          if (InWeightsHash(info)) {
            if (first == 0) hasher.Begin(info);
            hasher.Values(to, count);
          }
          return read;
        });
    if (!status.ok()) return status;
    hash = hasher.FinishHex();
    return CheckWeightsHash(opened, directory, hash);
  }
  const ReadParameter fresh = InitialValues(model->registry(), 0, options.init_seed);
  const ReadParameter& raw = opened.adapters ? opened.adapters->raw : opened.arrays.values;
  const absl::Status status =
      model->Load([&](const ParameterInfo& info, int64_t first, int64_t count, float* to) {
        const bool drawn = info.group == ParameterGroup::kLora && opened.adapters == nullptr;
        return drawn ? fresh(info, first, count, to) : raw(info, first, count, to);
      });
  if (!status.ok()) return status;
  hash.clear();
  return CheckWeightsHash(opened, directory, WeightsHashNow());
}

absl::Status LocalPolicy::Core::LoadFrom(const OpenedCheckpoint& opened,
                                         const std::string& directory, bool weights_only) {
  const PolicyState& state = opened.state;
  auto ends = ReadPolicyTokenizer(state.config, options.tokenizer_json, state.carried.files);
  if (!ends.ok()) return ends.status();
  absl::Status status = LoadWeights(opened, directory);
  if (status.ok() && options.trainable) {
    status = optimizer->Load(weights_only
                                 ? OptimizerArrays()
                                 : OptimizerArrays{opened.arrays.master, opened.arrays.adam_m,
                                                   opened.arrays.adam_v, state.optimizer_steps});
  }
  std::unique_ptr<Model<float>> kept;
  if (status.ok() && options.trainable && !weights_only && opened.arrays.reference) {
    auto made = MakeReference();
    if (!made.ok()) return made.status();
    kept = *std::move(made);
    status = kept->Load(opened.arrays.reference);
  }
  if (!status.ok()) return status;
  SetReference(std::move(kept));
  version = weights_only && options.trainable ? 0 : state.version;
  options.config.source = state.config.source;
  base_directory = state.base_directory;
  carried = state.carried;
  tokenizer = *std::move(ends);
  extra.clear();
  recorded.clear();
  last_pass.reset();
  DropPending();
  if (weights_only) return absl::OkStatus();
  extra = state.extra;
  if (const auto last = extra.find(kLastUpdate); last != extra.end()) {
    auto decoded = DecodeResult(last->second);
    if (!decoded.ok()) return decoded.status();
    recorded.push_back(*std::move(decoded));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LocalPolicy>> LocalPolicy::CreateFromState(
    const PolicyState& state, const LocalPolicyOptions& options) {
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  OpenedCheckpoint opened;
  opened.state = state;
  opened.arrays = {FlatReader(state.values, registry), FlatReader(state.master, registry),
                   FlatReader(state.adam_m, registry), FlatReader(state.adam_v, registry),
                   FlatReader(state.reference, registry)};
  return Core::CreateFrom(opened, "the state", /*weights_only=*/false, options);
}

absl::StatusOr<std::unique_ptr<LocalPolicy>> LocalPolicy::CreateFromDirectory(
    const std::string& directory, bool weights_only, const LocalPolicyOptions& options) {
  const auto opened = OpenCheckpoint(directory, weights_only, RealFileSystem(),
                                     options.trainable && options.mtp.loss_weight > 0);
  if (!opened.ok()) return opened.status();
  return Core::CreateFrom(*opened, directory, weights_only, options);
}

absl::StatusOr<std::unique_ptr<LocalPolicy>> LocalPolicy::Core::CreateFrom(
    const OpenedCheckpoint& opened, const std::string& directory, bool weights_only,
    const LocalPolicyOptions& options) {
  const auto merged = OptionsFor(opened.state, options);
  if (!merged.ok()) return merged.status();
  auto core = Core::Create(*merged, opened.state.carried);
  if (!core.ok()) {
    return absl::Status(core.status().code(),
                        absl::StrCat(directory, ": ", core.status().message()));
  }
  absl::Status status = (*core)->CheckFits(opened, weights_only);
  if (status.ok()) status = (*core)->LoadFrom(opened, directory, weights_only);
  if (!status.ok()) return status;
  return std::unique_ptr<LocalPolicy>(new LocalPolicy(*std::move(core)));
}

absl::Status LocalPolicy::ResetReference() {
  std::lock_guard<std::mutex> learner(core_->learner);
  const absl::Status trainable = core_->CheckTrainable("reset_reference");
  if (!trainable.ok()) return trainable;
  auto fresh = core_->MakeReference();
  if (!fresh.ok()) return fresh.status();
  const absl::Status loaded = (*fresh)->Load(ValuesOf(*core_->model));
  if (!loaded.ok()) return loaded;
  std::unique_lock<FairLock> lock(core_->weights);
  core_->SetReference(*std::move(fresh));
  return absl::OkStatus();
}

PolicyState LocalPolicy::State() {
  std::lock_guard<std::mutex> learner(core_->learner);
  return core_->Snapshot();
}

absl::Status LocalPolicy::SaveState(const std::string& directory) {
  std::lock_guard<std::mutex> learner(core_->learner);
  const absl::Status trainable = core_->CheckTrainable("save_state");
  if (!trainable.ok()) return trainable;
  return WriteCheckpoint(core_->SnapshotHeader(), core_->Arrays(), directory);
}

absl::Status LocalPolicy::LoadState(const std::string& directory, bool weights_only) {
  const absl::Status trainable = core_->CheckTrainable("load_state");
  if (!trainable.ok()) return trainable;
  const auto opened =
      OpenCheckpoint(directory, weights_only, RealFileSystem(), core_->options.mtp.loss_weight > 0);
  if (!opened.ok()) return opened.status();
  std::lock_guard<std::mutex> learner(core_->learner);
  const auto merged = OptionsFor(opened->state, core_->options);
  if (!merged.ok()) return merged.status();
  if (merged->dtype != core_->options.dtype) return CannotLoad("its weights have another dtype");
  // Everything that can fail first; then nothing can but a file that changes meanwhile.
  absl::Status status = core_->CheckFits(*opened, weights_only);
  if (status.ok()) status = core_->CheckReadable(*opened, directory);
  if (!status.ok()) return status;
  std::unique_lock<FairLock> lock(core_->weights);
  return core_->LoadFrom(*opened, directory, weights_only);
}

void LocalPolicy::MakeBase() {
  std::lock_guard<std::mutex> learner(core_->learner);
  std::unique_lock<FairLock> lock(core_->weights);
  core_->version = 0;
  core_->optimizer->Reset();
  core_->SetReference(nullptr);
  core_->recorded.clear();
  core_->last_pass.reset();
  core_->DropPending();
}

}  // namespace hone
