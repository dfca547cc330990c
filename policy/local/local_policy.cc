// SPDX-License-Identifier: Apache-2.0
//
// Creation, info, and state in and out.
#include "policy/local/local_policy.h"

#include <cstdlib>
#include <shared_mutex>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "policy/local/local_core.h"
#include "policy/local/memory_plan.h"

namespace hone {
namespace {

constexpr char kLastUpdate[] = "hone.last_update";  // key in PolicyState::extra

absl::Status Refuse(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("policy options: ", what));
}

absl::Status CheckOptions(const LocalPolicyOptions& options) {
  if (options.threads < 1 || options.threads > 256) {
    return Refuse(absl::StrCat("threads is ", options.threads, "; it must be in [1, 256]"));
  }
  const int slots = options.gradient_slots;
  if (slots < 1 || slots > 1024 || (slots & (slots - 1)) != 0) {
    return Refuse(
        absl::StrCat("gradient_slots is ", slots, "; it must be a power of two, at most 1024"));
  }
  if (options.max_rows_per_pass < 1 || options.max_rows_per_pass > 1 << 20) {
    return Refuse(absl::StrCat("max_rows_per_pass is ", options.max_rows_per_pass,
                               "; it must be in [1, 1048576]"));
  }
  if (options.max_batch < 1 || options.max_batch > 4096) {
    return Refuse(absl::StrCat("max_batch is ", options.max_batch, "; it must be in [1, 4096]"));
  }
  if (options.chunk_tokens < 0) return Refuse("chunk_tokens must be at least 0");
  if (!(options.router_bias_rate >= 0 && options.router_bias_rate <= 1)) {
    return Refuse("router_bias_rate must be in [0, 1]");
  }
  if (!(options.balance_alpha >= 0 && options.balance_alpha <= 1e6)) {
    return Refuse("balance_alpha must be in [0, 1e6]");
  }
  const bool moe = options.config.MoeLayers() > 0;
  if (!moe &&
      (options.router_bias_rate > 0 || options.balance_alpha > 0 || options.freeze_router)) {
    return Refuse(
        "router_bias_rate, balance_alpha and freeze_router need a mixture of experts; "
        "this model has none");
  }
  if (options.router_bias_rate > 0 && options.config.topk_method != "noaux_tc") {
    return Refuse(absl::StrCat("router_bias_rate needs topk_method noaux_tc; the model has ",
                               options.config.topk_method, ", which has no correction bias"));
  }
  if (options.router_bias_rate > 0 && options.freeze_router) {
    return Refuse("router_bias_rate moves the router that freeze_router holds; choose one");
  }
  return absl::OkStatus();
}

std::vector<std::unique_ptr<PackedPass<float>>> MakePasses(const Model<float>& model, int threads) {
  std::vector<std::unique_ptr<PackedPass<float>>> passes;
  for (int i = 0; i < threads; ++i) passes.push_back(std::make_unique<PackedPass<float>>(model));
  return passes;
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

}  // namespace

absl::StatusOr<std::unique_ptr<LocalPolicy::Core>> LocalPolicy::Core::Create(
    const LocalPolicyOptions& options, const Carried& carried) {
  absl::Status status = options.config.Validate();
  if (status.ok()) status = CheckOptions(options);
  if (!status.ok()) return status;
  auto core = std::make_unique<Core>();
  core->options = options;
  core->hash_every_step = options.hash_every_step;
  auto backend = kernels::FindBackend(options.backend);
  if (!backend.ok()) return backend.status();
  core->backend = *std::move(backend);
  const ModelConfig& config = options.config;
  core->shape = {config.vocab_size,  config.vocab_size,          config.max_position_embeddings,
                 config.MoeLayers(), config.num_experts_per_tok, config.n_routed_experts};
  auto tokenizer = ReadPolicyTokenizer(config, options.tokenizer_json, carried.files);
  if (!tokenizer.ok()) return tokenizer.status();
  core->shape.vocabulary = tokenizer->vocabulary;
  core->tokenizer = *std::move(tokenizer);
  core->carried = carried;
  status = core->CheckMemoryNeeds();
  if (!status.ok()) return status;
  auto model = Model<float>::Create(config, *core->backend.table, *core->backend.device,
                                    {options.dtype, options.trainable, options.trainable});
  if (!model.ok()) return model.status();
  core->model = *std::move(model);
  core->collective = MakeLocalCollective();
  core->team = std::make_unique<ThreadTeam>(options.threads);
  if (options.trainable) status = core->CreateLearner();
  if (!status.ok()) return status;
  core->passes = MakePasses(*core->model, options.threads);
  DecodeOptions decode;
  decode.vocabulary = core->shape.vocabulary;
  decode.max_batch = options.max_batch;
  decode.chunk_tokens = options.chunk_tokens;
  core->engines = std::make_unique<EnginePool>(*core->model, decode, options.threads);
  return core;
}

absl::Status LocalPolicy::Core::CheckMemoryNeeds() const {
  const int64_t available =
      options.memory_limit_bytes > 0 ? options.memory_limit_bytes : AvailableMemoryBytes();
  if (available == 0) return absl::OkStatus();
  MemoryUse use;
  use.train = options.trainable;
  use.threads = options.threads;
  use.gradient_slots = options.gradient_slots;
  return CheckMemory(options.config, options.dtype, *backend.table, use, available);
}

absl::Status LocalPolicy::Core::CreateLearner() {
  auto made = Optimizer::Create(*model, options.freeze_router);
  if (!made.ok()) return made.status();
  optimizer = *std::move(made);
  auto gradient = Buffer::Allocate(*backend.device, flat_bytes());
  if (!gradient.ok()) return gradient.status();
  pending_gradient = *std::move(gradient);
  reducer = std::make_unique<SlotReducer>(
      *backend.device, *backend.table, model->registry().flat_elements(), options.gradient_slots);
  return absl::OkStatus();
}

absl::Status LocalPolicy::Core::CheckTrainable(absl::string_view what) const {
  if (options.trainable) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(what, ": this policy was loaded to generate and score only"));
}

std::string LocalPolicy::Core::WeightsHashNow() {
  std::lock_guard<std::mutex> lock(hash_mutex);
  if (hash.empty()) {
    std::vector<float> values(flat());
    model->GetValues(values.data());
    hash = WeightsHash(model->registry(), values.data());
  }
  return hash;
}

void LocalPolicy::Core::WeightsChanged() {
  std::lock_guard<std::mutex> lock(hash_mutex);
  hash.clear();
}

PolicyState LocalPolicy::Core::SnapshotHeader() const {
  PolicyState state;
  state.config = options.config;
  state.dtype = options.dtype;
  state.version = version;
  state.backend = backend.id;
  state.tokenizer_json = options.tokenizer_json;
  state.carried = carried;
  state.extra = extra;
  if (!recorded.empty()) {
    state.extra[kLastUpdate] = EncodeResult(recorded.back().first, recorded.back().second);
  }
  return state;
}

PolicyState LocalPolicy::Core::Snapshot() {
  PolicyState state = SnapshotHeader();
  state.values.resize(flat());
  model->GetValues(state.values.data());
  OptimizerState moments;
  optimizer->GetState(&moments);
  state.master = std::move(moments.master);
  state.adam_m = std::move(moments.m);
  state.adam_v = std::move(moments.v);
  state.optimizer_steps = moments.steps;
  if (reference != nullptr) {
    state.reference.resize(flat());
    reference->GetValues(state.reference.data());
  }
  return state;
}

StateArrays LocalPolicy::Core::Arrays() const {
  const auto values_of = [](const Model<float>& from) {
    return [&from](const ParameterInfo& info, int64_t first, int64_t count, float* to) {
      from.device().CopyOut(to, from.values() + info.offset + first,
                            static_cast<size_t>(count) * sizeof(float), nullptr);
      return absl::OkStatus();
    };
  };
  const OptimizerArrays moments = optimizer->Arrays();
  StateArrays arrays = {values_of(*model), moments.master, moments.m, moments.v, nullptr};
  if (reference != nullptr) arrays.reference = values_of(*reference);
  return arrays;
}

absl::StatusOr<std::unique_ptr<Model<float>>> LocalPolicy::Core::MakeReference() const {
  return Model<float>::Create(options.config, *backend.table, *backend.device,
                              {options.dtype, false});
}

void LocalPolicy::Core::SetReference(std::unique_ptr<Model<float>> fresh) {
  reference_passes.clear();
  reference = std::move(fresh);
  if (reference != nullptr) reference_passes = MakePasses(*reference, options.threads);
}

absl::Status LocalPolicy::Core::Adopt(const PolicyState& state, bool weights_only) {
  const auto refuse = [](absl::string_view why) {
    return absl::FailedPreconditionError(absl::StrCat("cannot load this policy state: ", why));
  };
  if (!(state.config == options.config)) return refuse("its model has another shape");
  if (state.dtype != options.dtype) return refuse("its weights have another dtype");
  if (state.values.size() != flat()) {
    return refuse(absl::StrCat("it has ", state.values.size(), " values; the model has ", flat()));
  }
  if (!state.tokenizer_json.empty() && state.tokenizer_json != options.tokenizer_json) {
    return refuse("it has another tokenizer");
  }
  const bool goes_on = !weights_only && !state.adam_m.empty();
  if (goes_on && !state.backend.empty() && state.backend != backend.id) {
    return refuse(absl::StrCat("it was trained on backend ", state.backend, ", this is ",
                               backend.id, "; choose that backend, or load the weights only"));
  }
  OptimizerState moments;
  if (!weights_only) {
    moments = {state.master, state.adam_m, state.adam_v, state.optimizer_steps};
  }
  absl::Status status = optimizer->CheckState(moments);
  if (!status.ok()) return status;
  std::unique_ptr<Model<float>> fresh_reference;
  if (!weights_only && !state.reference.empty()) {
    if (state.reference.size() != flat()) return refuse("its reference policy has another size");
    auto made = MakeReference();
    if (!made.ok()) return made.status();
    fresh_reference = *std::move(made);
    fresh_reference->SetValues(state.reference.data());
  }
  std::map<std::string, std::string> fresh_extra =
      weights_only ? std::map<std::string, std::string>() : state.extra;
  std::deque<std::pair<std::string, OptimStepResult>> fresh_recorded;
  if (const auto last = fresh_extra.find(kLastUpdate); last != fresh_extra.end()) {
    auto decoded = DecodeResult(last->second);
    if (!decoded.ok()) return decoded.status();
    fresh_recorded.push_back(*std::move(decoded));
  }
  auto fresh_tokenizer =
      ReadPolicyTokenizer(state.config, options.tokenizer_json, state.carried.files);
  if (!fresh_tokenizer.ok()) return fresh_tokenizer.status();
  std::unique_lock<FairLock> lock(weights);
  model->SetValues(state.values.data());
  optimizer->SetState(moments);
  SetReference(std::move(fresh_reference));
  version = weights_only ? 0 : state.version;
  options.config.source = state.config.source;
  carried = state.carried;
  tokenizer = *std::move(fresh_tokenizer);
  extra = std::move(fresh_extra);
  recorded = std::move(fresh_recorded);
  last_pass.reset();
  DropPending();
  WeightsChanged();
  return absl::OkStatus();
}

absl::Status LocalPolicy::Core::LoadFrom(const OpenedCheckpoint& opened,
                                         const std::string& directory, bool weights_only) {
  const PolicyState& state = opened.state;
  const bool goes_on = !weights_only && opened.arrays.adam_m;
  if (goes_on && !state.backend.empty() && state.backend != backend.id) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot load this policy state: it was trained on backend ", state.backend,
                     ", this is ", backend.id, "; choose that backend, or load the weights only"));
  }
  WeightsHasher hasher(model->registry());
  absl::Status status =
      model->Load([&](const ParameterInfo& info, int64_t first, int64_t count, float* to) {
        absl::Status read = opened.arrays.values(info, first, count, to);
        if (first == 0) hasher.Begin(info);
        hasher.Values(to, count);
        return read;
      });
  if (!status.ok()) return status;
  hash = hasher.FinishHex();
  status = CheckWeightsHash(opened, directory, hash);
  if (status.ok() && options.trainable) {
    status = optimizer->Load(weights_only
                                 ? OptimizerArrays()
                                 : OptimizerArrays{opened.arrays.master, opened.arrays.adam_m,
                                                   opened.arrays.adam_v, state.optimizer_steps});
  }
  if (status.ok() && !weights_only && opened.arrays.reference) {
    auto made = MakeReference();
    if (!made.ok()) return made.status();
    status = (*made)->Load(opened.arrays.reference);
    if (status.ok()) SetReference(*std::move(made));
  }
  if (!status.ok()) return status;
  version = weights_only && options.trainable ? 0 : state.version;
  if (weights_only) return absl::OkStatus();
  extra = state.extra;
  if (const auto last = extra.find(kLastUpdate); last != extra.end()) {
    auto decoded = DecodeResult(last->second);
    if (!decoded.ok()) return decoded.status();
    recorded.push_back(*std::move(decoded));
  }
  return absl::OkStatus();
}

LocalPolicy::LocalPolicy(std::unique_ptr<Core> core) : core_(std::move(core)) {}
LocalPolicy::~LocalPolicy() = default;

absl::StatusOr<std::unique_ptr<LocalPolicy>> LocalPolicy::Create(
    const LocalPolicyOptions& options) {
  auto core = Core::Create(options, {});
  if (!core.ok()) return core.status();
  (*core)->model->InitializeValues(options.init_seed);
  (*core)->model->Repack();
  (*core)->optimizer->Reset();
  return std::unique_ptr<LocalPolicy>(new LocalPolicy(*std::move(core)));
}

namespace {

// The options, with what the state says.
absl::StatusOr<LocalPolicyOptions> OptionsFor(const PolicyState& state,
                                              const LocalPolicyOptions& options) {
  LocalPolicyOptions merged = options;
  if (options.config.vocab_size != 0 && !(options.config == state.config)) {
    return absl::FailedPreconditionError("the state's model has another shape than the options'");
  }
  merged.config = state.config;
  merged.dtype = state.dtype;
  if (!options.tokenizer_json.empty() && !state.tokenizer_json.empty() &&
      options.tokenizer_json != state.tokenizer_json) {
    return absl::FailedPreconditionError("the state has another tokenizer than the options");
  }
  if (!state.tokenizer_json.empty()) merged.tokenizer_json = state.tokenizer_json;
  return merged;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalPolicy>> LocalPolicy::CreateFromState(
    const PolicyState& state, const LocalPolicyOptions& options) {
  const auto merged = OptionsFor(state, options);
  if (!merged.ok()) return merged.status();
  if (!merged->trainable) {
    return absl::InvalidArgumentError(
        "policy options: a policy to generate and score only comes from a directory");
  }
  auto core = Core::Create(*merged, state.carried);
  if (!core.ok()) return core.status();
  {
    std::lock_guard<std::mutex> learner((*core)->learner);
    const absl::Status status = (*core)->Adopt(state, false);
    if (!status.ok()) return status;
  }
  return std::unique_ptr<LocalPolicy>(new LocalPolicy(*std::move(core)));
}

absl::StatusOr<std::unique_ptr<LocalPolicy>> LocalPolicy::CreateFromDirectory(
    const std::string& directory, bool weights_only, const LocalPolicyOptions& options) {
  const auto opened = OpenCheckpoint(directory, weights_only);
  if (!opened.ok()) return opened.status();
  const auto merged = OptionsFor(opened->state, options);
  if (!merged.ok()) return merged.status();
  auto core = Core::Create(*merged, opened->state.carried);
  if (!core.ok()) {
    return absl::Status(core.status().code(),
                        absl::StrCat(directory, ": ", core.status().message()));
  }
  const absl::Status status = (*core)->LoadFrom(*opened, directory, weights_only);
  if (!status.ok()) return status;
  return std::unique_ptr<LocalPolicy>(new LocalPolicy(*std::move(core)));
}

absl::StatusOr<PolicyInfo> LocalPolicy::Info() {
  std::shared_lock<FairLock> lock(core_->weights);
  PolicyInfo info;
  info.version = core_->version;
  info.vocabulary_size = core_->shape.vocabulary;
  info.context_tokens = core_->shape.context_tokens;
  info.moe_layers = core_->shape.moe_layers;
  info.experts_per_token = core_->shape.moe_layers > 0 ? core_->shape.slots : 0;
  info.parameters = core_->model->registry().parameters();
  info.backend = core_->backend.id;
  info.tokenizer_hash = core_->tokenizer.hash;
  info.weights_hash = core_->WeightsHashNow();
  info.stop_tokens = core_->tokenizer.ends;
  return info;
}

absl::Status LocalPolicy::ResetReference() {
  std::lock_guard<std::mutex> learner(core_->learner);
  const absl::Status trainable = core_->CheckTrainable("reset_reference");
  if (!trainable.ok()) return trainable;
  auto fresh = core_->MakeReference();
  if (!fresh.ok()) return fresh.status();
  std::vector<float> values(core_->flat());
  core_->model->GetValues(values.data());
  (*fresh)->SetValues(values.data());
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
  PolicyState header = core_->SnapshotHeader();
  header.optimizer_steps = core_->optimizer->Arrays().steps;
  return WriteCheckpoint(header, core_->Arrays(), directory);
}

absl::Status LocalPolicy::LoadState(const std::string& directory, bool weights_only) {
  const absl::Status trainable = core_->CheckTrainable("load_state");
  if (!trainable.ok()) return trainable;
  const auto state = ReadPolicyState(directory, weights_only);
  if (!state.ok()) return state.status();
  std::lock_guard<std::mutex> learner(core_->learner);
  return core_->Adopt(*state, weights_only);
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

bool LocalPolicy::SetHashEveryStep(bool hash) {
  std::lock_guard<std::mutex> learner(core_->learner);
  return std::exchange(core_->hash_every_step, hash);
}

absl::StatusOr<PretrainResult> PretrainBase(LocalPolicy& policy, const PretrainOptions& options,
                                            const BatchFunction& batch,
                                            const PretrainProgressFunction& progress) {
  const bool hashed = policy.SetHashEveryStep(false);
  auto result = Pretrain(policy, options, batch, progress);
  policy.SetHashEveryStep(hashed);
  if (result.ok()) policy.MakeBase();
  return result;
}

}  // namespace hone
