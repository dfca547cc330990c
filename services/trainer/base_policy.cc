// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/base_policy.h"

#include <filesystem>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/hash.h"
#include "policy/kernels/backend.h"
#include "policy/sampling/rng.h"
#include "policy/tokenizer/tokenizer.h"
#include "rollout/task_source.h"
#include "services/convert/run_config.h"
#include "services/trainer/resources.h"
#include "services/trainer/run_directory.h"
#include "services/trainer/train_setup.h"

namespace hone {
namespace {

struct WeightedSource {
  std::unique_ptr<DocumentSource> documents;
  double share;  // cumulative
};

absl::StatusOr<std::vector<WeightedSource>> OpenDocuments(const v1::RunConfig& config) {
  std::vector<WeightedSource> sources;
  double total = 0;
  for (const v1::DocumentSourceConfig& source : config.pretrain().documents()) {
    TaskOptions options(source.options().begin(), source.options().end());
    if (auto file = options.find("file"); file != options.end()) {
      file->second = ResolveDataPath(file->second);
    }
    auto opened = source.path().empty()
                      ? MakeTraceGenerator(source.generator(), config.seed(), options)
                      : ReadDocumentFile(ResolveDataPath(source.path()));
    if (!opened.ok()) return opened.status();
    total += source.weight();
    sources.push_back({*std::move(opened), total});
  }
  for (WeightedSource& source : sources) source.share /= total;
  return sources;
}

// The n-th document of the run: drawn by key, a pure function of n.
absl::StatusOr<Document> DrawDocument(const std::vector<WeightedSource>& sources, uint64_t seed,
                                      int64_t n) {
  SampleKey key;
  key.run_seed = seed;
  key.purpose = Purpose::kData;
  key.group_ordinal = static_cast<uint64_t>(n);
  KeyedRandom random(key);
  const double draw = random.Uniform();
  size_t chosen = 0;
  while (chosen + 1 < sources.size() && draw >= sources[chosen].share) ++chosen;
  const DocumentSource& documents = *sources[chosen].documents;
  const int64_t size = documents.size();
  if (size == 0) return absl::InvalidArgumentError("a document source of pretraining is empty");
  return documents.At(
      size < 0 ? n : static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(size))));
}

// Tokens of a document; the prompt is read, the completion and its end are learned.
absl::StatusOr<TrainSequence> Encode(const Document& document, const Tokenizer& tokenizer,
                                     int32_t context) {
  auto prompt = tokenizer.Encode(document.prompt);
  if (!prompt.ok()) return prompt.status();
  auto completion = tokenizer.Encode(document.completion);
  if (!completion.ok()) return completion.status();
  TrainSequence sequence;
  sequence.tokens = *std::move(prompt);
  if (sequence.tokens.empty() && tokenizer.bos() >= 0) sequence.tokens.push_back(tokenizer.bos());
  const size_t learned_from = std::max<size_t>(1, sequence.tokens.size());
  sequence.tokens.insert(sequence.tokens.end(), completion->begin(), completion->end());
  if (tokenizer.eos() >= 0) sequence.tokens.push_back(tokenizer.eos());
  if (sequence.tokens.size() > static_cast<size_t>(context)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a pretraining document has ", sequence.tokens.size(), " tokens and the context holds ",
        context, "; raise policy.shape.max_position_embeddings or cut the documents"));
  }
  if (learned_from >= sequence.tokens.size()) {
    return absl::InvalidArgumentError("a pretraining document has nothing to learn");
  }
  sequence.loss_mask.assign(sequence.tokens.size(), 0.0f);
  for (size_t t = learned_from; t < sequence.tokens.size(); ++t) sequence.loss_mask[t] = 1.0f;
  return sequence;
}

absl::StatusOr<std::unique_ptr<LocalPolicy>> FreshPolicy(const v1::RunConfig& config, int threads,
                                                         const std::string& tokenizer_json,
                                                         const Tokenizer& tokenizer) {
  LocalPolicyOptions options = LocalOptionsOf(config, threads);
  options.config = ModelConfigOf(config.policy().shape(), tokenizer.size(), tokenizer.eos());
  if (absl::Status valid = options.config.Validate(); !valid.ok()) return valid;
  options.tokenizer_json = tokenizer_json;
  options.init_seed = config.seed();
  options.router_bias_rate = config.pretrain().router_bias_update();
  options.balance_alpha = config.pretrain().balance_loss();
  options.adaptation = AdaptationOptions();
  options.mtp = {config.pretrain().mtp_loss(), /*detach=*/false};
  options.hash_every_step = false;
  return LocalPolicy::Create(options);
}

}  // namespace

absl::StatusOr<std::string> TokenizerJsonOf(const v1::ModelShape& shape) {
  if (shape.tokenizer() == "bytes") return ByteTokenizerJson({shape.eos()});
  std::vector<std::string> words;
  for (const std::string& generator : shape.tokenizer_generators()) {
    auto more = GeneratorWords(generator, {});
    if (!more.ok()) return more.status();
    for (std::string& word : *more) {
      if (std::find(words.begin(), words.end(), word) == words.end()) {
        words.push_back(std::move(word));
      }
    }
  }
  return WordTokenizerJson({shape.eos()}, words);
}

LocalPolicyOptions LocalOptionsOf(const v1::RunConfig& config, int threads) {
  LocalPolicyOptions options;
  options.dtype = config.policy().dtype() == "bfloat16" ? DType::kBFloat16 : DType::kFloat32;
  options.backend = config.policy().backend();
  options.threads = threads;
  options.gradient_slots = config.policy().gradient_slots();
  options.max_rows_per_pass = config.policy().max_rows_per_pass();
  options.max_batch = config.policy().decode_batch();
  options.router_bias_rate = config.policy().router_bias_update();
  options.balance_alpha = config.policy().balance_loss();
  options.adaptation = AdaptationOf(config.policy());
  options.mtp = {config.policy().mtp_loss(), !config.policy().mtp_through_trunk()};
  options.init_seed = config.seed();
  return options;
}

absl::Status PretrainInto(const v1::RunConfig& config, const BaseOptions& options,
                          const std::string& directory) {
  auto json = TokenizerJsonOf(config.policy().shape());
  if (!json.ok()) return json.status();
  auto tokenizer = ParseTokenizer(*json);
  if (!tokenizer.ok()) return tokenizer.status();
  auto policy = FreshPolicy(config, options.threads, *json, **tokenizer);
  if (!policy.ok()) return policy.status();
  auto sources = OpenDocuments(config);
  if (!sources.ok()) return sources.status();
  const int64_t steps = config.pretrain().steps();
  if (steps == 0) return (*policy)->SaveState(directory);

  absl::Status bad_document;
  const auto batch = [&](int64_t step) {
    std::vector<TrainSequence> sequences;
    for (int64_t i = 0; i < config.pretrain().batch() && bad_document.ok(); ++i) {
      auto document = DrawDocument(*sources, config.seed(), step * config.pretrain().batch() + i);
      auto sequence = document.ok() ? Encode(*document, **tokenizer,
                                             config.policy().shape().max_position_embeddings())
                                    : absl::StatusOr<TrainSequence>(document.status());
      if (sequence.ok()) {
        sequences.push_back(*std::move(sequence));
      } else {
        bad_document = sequence.status();
      }
    }
    if (!bad_document.ok()) sequences.clear();
    return sequences;
  };
  PretrainOptions pretrain;
  pretrain.steps = steps;
  pretrain.adamw = AdamWOf(config.pretrain().optimizer(), 0);
  pretrain.schedule = ScheduleOf(config.pretrain().optimizer(), steps);
  auto result = PretrainBase(**policy, pretrain, batch, [&](const PretrainProgress& progress) {
    if (options.progress) options.progress(progress.step, steps, progress.loss);
    return options.stop == nullptr || options.stop->load() == 0;
  });
  if (!bad_document.ok()) return bad_document;
  if (!result.ok()) return result.status();
  if (result->stopped) {
    return absl::CancelledError("interrupted while pretraining; the next call starts it again");
  }
  return (*policy)->SaveState(directory);
}

namespace {

// What decides a base's bits beyond its config: the tokenizer and the documents themselves (their
// first ones stand for all), so that a generator that writes other traces gets another base.
absl::StatusOr<std::string> FingerprintOf(const v1::RunConfig& config) {
  auto json = TokenizerJsonOf(config.policy().shape());
  if (!json.ok()) return json.status();
  auto sources = OpenDocuments(config);
  if (!sources.ok()) return sources.status();
  Sha256 hash;
  hash.UpdateField(*json);
  for (int64_t n = 0; n < 512 && config.pretrain().steps() > 0; ++n) {
    auto document = DrawDocument(*sources, config.seed(), n);
    if (!document.ok()) return document.status();
    hash.UpdateField(document->prompt);
    hash.UpdateField(document->completion);
  }
  return hash.FinishHex();
}

}  // namespace

absl::StatusOr<std::string> PrepareBase(const v1::RunConfig& config, const BaseOptions& options,
                                        double* pretrain_seconds) {
  *pretrain_seconds = 0;
  auto backend = kernels::FindBackend(config.policy().backend());
  if (!backend.ok()) return backend.status();
  auto fingerprint = FingerprintOf(config);
  if (!fingerprint.ok()) return fingerprint.status();
  const std::string key = BaseKey(config, absl::StrCat(backend->id, "\n", *fingerprint));
  const std::string target = absl::StrCat(options.bases_directory, "/", key);
  if (std::filesystem::exists(target + "/hone.json")) {
    // Whole and unaltered, or made again.
    if (VerifyCheckpoint(target).ok()) return target;
    std::error_code ignored;
    std::filesystem::remove_all(target, ignored);
  }
  std::error_code error;
  std::filesystem::create_directories(options.bases_directory, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot make ", options.bases_directory, ": ", error.message()));
  }
  auto temporary = MakeTemporaryDirectory(options.bases_directory, key);
  if (!temporary.ok()) return temporary.status();
  const double began = MonotonicSeconds();
  absl::Status made = PretrainInto(config, options, *temporary);
  if (made.ok()) {
    made = PublishDirectory(*temporary, target);
    // Somebody else was faster: theirs has the same bits.
    if (!made.ok() && std::filesystem::exists(target + "/hone.json")) made = absl::OkStatus();
  }
  std::filesystem::remove_all(*temporary, error);
  if (!made.ok()) return made;
  *pretrain_seconds = MonotonicSeconds() - began;
  return target;
}

}  // namespace hone
