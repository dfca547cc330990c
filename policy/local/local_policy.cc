// SPDX-License-Identifier: Apache-2.0
//
// Creation and info.
#include "policy/local/local_policy.h"

#include <shared_mutex>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/local/local_core.h"
#include "policy/local/memory_plan.h"
#include "policy/model/merged_values.h"

namespace hone {
namespace {

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
  if (!(options.mtp.loss_weight >= 0 && options.mtp.loss_weight <= 100)) {
    return Refuse("mtp.loss_weight must be in [0, 100]");
  }
  if (options.mtp.loss_weight > 0 && options.config.mtp_layers == 0) {
    return Refuse("mtp.loss_weight needs a module that predicts further ahead; the model has none");
  }
  if (options.mtp.loss_weight > 0 && options.adaptation.lora.r > 0) {
    return Refuse("mtp.loss_weight does not apply: lora freezes every weight, the module's too");
  }
  const bool moe = options.config.MoeLayers() > 0;
  if (!moe && (options.router_bias_rate > 0 || options.balance_alpha > 0)) {
    return Refuse(
        "router_bias_rate and balance_alpha need a mixture of experts; this model has none");
  }
  if (options.router_bias_rate > 0 && options.config.topk_method != "noaux_tc") {
    return Refuse(absl::StrCat("router_bias_rate needs topk_method noaux_tc; the model has ",
                               options.config.topk_method, ", which has no correction bias"));
  }
  return absl::OkStatus();
}

// REQUIRES: the adaptation was checked.
absl::Status CheckRouterBias(const LocalPolicyOptions& options, const ParameterRegistry& registry) {
  if (options.router_bias_rate == 0) return absl::OkStatus();
  for (const ParameterInfo& info : registry.all()) {
    if (!info.frozen || !absl::EndsWith(info.name, ".e_score_correction_bias")) continue;
    return Refuse(absl::StrCat("router_bias_rate moves ", info.name, ", which is frozen (",
                               options.adaptation.lora.r > 0 ? "lora" : "freeze", "); choose one"));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::unique_ptr<PackedPass<float>>> MakePasses(const Model<float>& model, int threads) {
  std::vector<std::unique_ptr<PackedPass<float>>> passes;
  for (int i = 0; i < threads; ++i) passes.push_back(std::make_unique<PackedPass<float>>(model));
  return passes;
}

absl::StatusOr<std::unique_ptr<LocalPolicy::Core>> LocalPolicy::Core::Create(
    const LocalPolicyOptions& options, const Carried& carried) {
  absl::Status status = options.config.Validate();
  if (status.ok()) status = CheckOptions(options);
  if (status.ok()) status = CheckAdaptation(options.config, options.adaptation);
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
  auto model = Model<float>::Create(
      config, *core->backend.table, *core->backend.device,
      {options.dtype, options.trainable, options.trainable, options.adaptation});
  if (!model.ok()) return model.status();
  core->model = *std::move(model);
  status = CheckRouterBias(options, core->model->registry());
  if (!status.ok()) return status;
  core->weights_registry = ParameterRegistry::Of(config, options.dtype);
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
  use.adaptation = options.adaptation;
  return CheckMemory(options.config, options.dtype, *backend.table, use, available);
}

absl::Status LocalPolicy::Core::CreateLearner() {
  auto made = Optimizer::Create(*model);
  if (!made.ok()) return made.status();
  optimizer = *std::move(made);
  const int64_t elements = model->registry().trainable_elements();
  auto gradient = Buffer::Allocate(*backend.device, static_cast<size_t>(elements) * sizeof(float));
  if (!gradient.ok()) return gradient.status();
  pending_gradient = *std::move(gradient);
  reducer = std::make_unique<SlotReducer>(*backend.device, *backend.table, elements,
                                          options.gradient_slots);
  return absl::OkStatus();
}

absl::Status LocalPolicy::Core::CheckTrainable(absl::string_view what) const {
  if (options.trainable) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(what, ": this policy was loaded to generate and score only"));
}

std::string LocalPolicy::Core::WeightsHashNow(std::vector<TensorFingerprint>* parts) {
  std::lock_guard<std::mutex> lock(hash_mutex);
  if (hash.empty()) {
    const ReadParameter merged = MergedValues(
        std::make_shared<const ParameterRegistry>(model->registry()), ValuesOf(*model));
    std::vector<uint64_t> values;
    hash = *HashParameters(weights_registry, merged, &values);
    tensors.clear();
    for (const ParameterInfo& info : weights_registry.all()) {
      if (InWeightsHash(info)) tensors.push_back({info.name, values[tensors.size()]});
    }
  }
  if (parts != nullptr) *parts = tensors;
  return hash;
}

void LocalPolicy::Core::WeightsChanged() {
  std::lock_guard<std::mutex> lock(hash_mutex);
  hash.clear();
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

absl::StatusOr<PolicyInfo> LocalPolicy::Info() {
  std::shared_lock<FairLock> lock(core_->weights);
  PolicyInfo info;
  info.version = core_->version;
  info.vocabulary_size = core_->shape.vocabulary;
  info.context_tokens = core_->shape.context_tokens;
  info.moe_layers = core_->shape.moe_layers;
  info.experts_per_token = core_->shape.moe_layers > 0 ? core_->shape.slots : 0;
  info.parameters = core_->weights_registry.parameters();
  info.backend = core_->backend.id;
  info.tokenizer_hash = core_->tokenizer.hash;
  info.weights_hash = core_->WeightsHashNow();
  info.stop_tokens = core_->tokenizer.ends;
  return info;
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
