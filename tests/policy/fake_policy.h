// SPDX-License-Identifier: Apache-2.0
//
// A policy without a model: a table of bigram logits, made of hashes. It keeps every promise of
// generator.h and learner.h (deterministic by key, scores equal behaviour logprobs to the last
// bit, idempotent steps) and really learns: a positive advantage makes a token likelier after its
// predecessor. Header-only, so that rollout and services can test themselves in microseconds.
// Links against hone_types alone.
//
//   FakePolicy policy({.vocabulary = 16, .context_tokens = 64});
//   policy.OnGenerate([](int call) { return call == 2 ? absl::UnavailableError("gone") : ok; });
//
// Known losses: ppo_clip, reinforce, cispo (all: REINFORCE), cross_entropy, custom. Parameters
// and options are accepted by the names of docs/losses.md and otherwise refused.
#ifndef HONE_TESTS_POLICY_FAKE_POLICY_H_
#define HONE_TESTS_POLICY_FAKE_POLICY_H_

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "policy/generator.h"
#include "policy/hash.h"
#include "policy/learner.h"
#include "tests/policy/bigram.h"
#include "tests/policy/fake_checks.h"

namespace hone {

struct FakePolicyOptions {
  int32_t vocabulary = 16;
  int32_t context_tokens = 64;
  uint64_t seed = 1;
  std::string backend = "fake/none/test";
};

class FakePolicy : public Generator, public Learner {
 public:
  explicit FakePolicy(FakePolicyOptions options = {}) : options_(std::move(options)) {
    table_.resize(Cells());
    for (size_t i = 0; i < table_.size(); ++i) table_[i] = 2 * HashUniform(options_.seed, i, 0) - 1;
    gradient_.assign(Cells(), 0.0);
  }

  // Called at the start of every Generate (call counts from 0); an error is its answer.
  void OnGenerate(std::function<absl::Status(int call)> hook) { hook_ = std::move(hook); }
  int generate_calls() const { return calls_.load(); }
  // Makes `next` the likely token after `previous` (a logit of 20), without a new version.
  void Teach(TokenId previous, TokenId next) {
    std::unique_lock<std::shared_mutex> lock(mutex_);
    table_[Cell(previous, next)] = 20.0;
  }

  void SetStopTokens(std::vector<TokenId> tokens) {
    std::unique_lock<std::shared_mutex> lock(mutex_);
    stop_tokens_ = std::move(tokens);
  }

  absl::Status Generate(absl::Span<const GenerateRequest> requests,
                        const ChunkSink& sink) override {
    const int call = calls_.fetch_add(1);
    if (hook_) {
      const absl::Status status = hook_(call);
      if (!status.ok()) return status;
    }
    std::shared_lock<std::shared_mutex> lock(mutex_);
    for (const GenerateRequest& request : requests) {
      const absl::Status status = Check(request);
      if (!status.ok()) return status;
    }
    for (const GenerateRequest& request : requests) {
      for (int32_t i = 0; i < request.n; ++i) {
        if (!sink(Complete(request, i))) return absl::CancelledError("the caller stopped it");
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<ScoreResult> Score(const ScoreRequest& request) override {
    std::shared_lock<std::shared_mutex> lock(mutex_);
    if (!request.adapter_id.empty()) return absl::UnimplementedError("adapters");
    if (!request.route_override.empty()) {
      return absl::InvalidArgumentError("route_override: the policy has no mixture of experts");
    }
    if (request.reference && reference_.empty()) {
      return absl::FailedPreconditionError("no reference policy is kept");
    }
    const absl::Status sampling =
        CheckFakeSampling({request.temperature, request.top_p, request.top_k, 1});
    if (!sampling.ok()) return sampling;
    ScoreResult result;
    result.version = version_;
    for (const std::vector<TokenId>& tokens : request.sequences) {
      const absl::Status status = CheckTokens(tokens);
      if (!status.ok()) return status;
      BigramScores scored =
          ScoreBigrams(request.reference ? reference_ : table_, options_.vocabulary, tokens,
                       {request.temperature, request.top_p, request.top_k, 1});
      result.logprobs.push_back(std::move(scored.logprobs));
      result.entropy.push_back(std::move(scored.entropy));
      result.argmax.push_back(std::move(scored.argmax));
    }
    if (request.return_routes) result.routes.resize(request.sequences.size());
    return result;
  }

  absl::StatusOr<PolicyInfo> Info() override {
    std::shared_lock<std::shared_mutex> lock(mutex_);
    PolicyInfo info;
    info.version = version_;
    info.vocabulary_size = options_.vocabulary;
    info.context_tokens = options_.context_tokens;
    info.parameters = static_cast<int64_t>(Cells());
    info.backend = options_.backend;
    info.tokenizer_hash = Sha256Hex("fake tokenizer");
    info.weights_hash = Hash();
    info.stop_tokens = stop_tokens_;
    return info;
  }

  absl::StatusOr<ForwardBackwardResult> ForwardBackward(
      const ForwardBackwardRequest& request) override {
    std::unique_lock<std::shared_mutex> lock(mutex_);
    const absl::Status checked = Check(request);
    if (!checked.ok()) return checked;
    double tokens = 0;
    for (const TrainSequence& sequence : request.sequences) {
      for (size_t t = 1; t < sequence.tokens.size(); ++t) tokens += sequence.loss_mask[t];
    }
    if (tokens == 0) return absl::InvalidArgumentError("no sequence has a token to learn from");
    const double trained = tokens;
    if (request.total_loss_tokens > 0) tokens = request.total_loss_tokens;
    ForwardBackwardResult result;
    double loss = 0;
    const SamplingParams sampling = {request.temperature, request.top_p, request.top_k, 1};
    for (const TrainSequence& sequence : request.sequences) {
      BigramScores scored = ScoreBigrams(table_, options_.vocabulary, sequence.tokens, sampling);
      for (size_t t = 1; t < sequence.tokens.size(); ++t) {
        const double share = sequence.loss_mask[t] * sequence.weight / tokens;
        double d = -share;
        if (request.loss.name == "custom")
          d = sequence.d_logprobs[t];
        else if (request.loss.name != "cross_entropy")
          d = -sequence.advantages[t] * share;
        loss += d * scored.logprobs[t];
        if (d == 0 || request.forward_only) continue;
        const std::vector<float> p =
            BigramDistribution(table_, options_.vocabulary, sequence.tokens[t - 1], sampling);
        for (int32_t w = 0; w < options_.vocabulary; ++w) {
          gradient_[Cell(sequence.tokens[t - 1], w)] +=
              d * ((w == sequence.tokens[t] ? 1.0 : 0.0) - p[static_cast<size_t>(w)]);
        }
      }
      result.clipped.emplace_back(sequence.tokens.size(), 0);
      result.logprobs.push_back(std::move(scored.logprobs));
      result.entropy.push_back(std::move(scored.entropy));
    }
    if (!request.forward_only) {
      next_index_ += static_cast<int64_t>(request.sequences.size());
    }
    result.metrics["loss"] = loss;
    result.metrics["tokens/trained"] = trained;
    return result;
  }

  absl::StatusOr<OptimStepResult> OptimStep(const OptimStepRequest& request) override {
    std::unique_lock<std::shared_mutex> lock(mutex_);
    if (request.update_id.empty()) return absl::InvalidArgumentError("update_id is empty");
    for (const auto& [id, recorded] : recorded_) {
      if (id == request.update_id) return recorded;
    }
    if (request.expected_version != version_) {
      return absl::FailedPreconditionError(
          absl::StrCat("the policy is at version ", version_, ", not ", request.expected_version));
    }
    if (next_index_ == 0) return absl::FailedPreconditionError("no gradient is pending");
    double squares = 0;
    for (double g : gradient_) squares += g * g;
    OptimStepResult result;
    result.grad_norm = std::sqrt(squares);
    if (!std::isfinite(result.grad_norm)) {
      ClearGradient();
      return absl::DataLossError("the gradient norm is not finite");
    }
    result.hash_before = Hash();
    const double limit = request.adamw.max_grad_norm;
    const double scale = limit > 0 && result.grad_norm > limit ? limit / result.grad_norm : 1.0;
    for (size_t i = 0; i < table_.size(); ++i) {
      table_[i] -= request.adamw.learning_rate * scale * gradient_[i];
    }
    ClearGradient();
    result.version = ++version_;
    result.hash_after = Hash();
    recorded_.emplace_back(request.update_id, result);
    return result;
  }

  absl::Status ResetGradients() override {
    std::unique_lock<std::shared_mutex> lock(mutex_);
    ClearGradient();
    return absl::OkStatus();
  }

  absl::Status ResetReference() override {
    std::unique_lock<std::shared_mutex> lock(mutex_);
    reference_ = table_;
    return absl::OkStatus();
  }

  absl::Status SaveState(const std::string& directory) override {
    std::shared_lock<std::shared_mutex> lock(mutex_);
    std::ofstream out(directory + "/fake_policy.txt");
    out << "fake_policy " << version_ << ' ' << table_.size() << ' ' << reference_.size() << '\n';
    char text[40];
    for (const std::vector<double>* values : {&table_, &reference_}) {
      for (double value : *values) {
        std::snprintf(text, sizeof(text), "%.17g\n", value);
        out << text;
      }
    }
    out.close();
    if (!out) return absl::NotFoundError(absl::StrCat("cannot write into ", directory));
    return absl::OkStatus();
  }

  absl::Status LoadState(const std::string& directory, bool weights_only) override {
    std::ifstream in(directory + "/fake_policy.txt");
    if (!in) return absl::NotFoundError(absl::StrCat("no fake_policy.txt in ", directory));
    std::string magic;
    int64_t version = 0;
    size_t cells = 0;
    size_t kept = 0;
    in >> magic >> version >> cells >> kept;
    if (magic != "fake_policy") return absl::DataLossError("fake_policy.txt is altered");
    if (cells != Cells()) return absl::FailedPreconditionError("another vocabulary");
    std::vector<double> table(cells);
    std::vector<double> reference(kept == cells ? kept : 0);
    for (double& value : table) in >> value;
    for (double& value : reference) in >> value;
    if (!in) return absl::DataLossError("fake_policy.txt is truncated");
    std::unique_lock<std::shared_mutex> lock(mutex_);
    table_ = std::move(table);
    reference_ = std::move(reference);
    version_ = weights_only ? 0 : version;
    recorded_.clear();
    ClearGradient();
    return absl::OkStatus();
  }

 private:
  size_t Cells() const {
    return static_cast<size_t>(options_.vocabulary) * static_cast<size_t>(options_.vocabulary);
  }
  size_t Cell(TokenId previous, TokenId next) const {
    return static_cast<size_t>(previous) * static_cast<size_t>(options_.vocabulary) +
           static_cast<size_t>(next);
  }
  std::string Hash() const {
    Sha256 hash;
    hash.Update(table_.data(), table_.size() * sizeof(double));
    return hash.FinishHex();
  }
  void ClearGradient() {
    std::fill(gradient_.begin(), gradient_.end(), 0.0);
    next_index_ = 0;
  }

  TokenId Draw(const std::vector<float>& p, const GenerateRequest& request, int32_t sample,
               size_t position) const {
    if (request.sampling.temperature == 0) {
      return static_cast<TokenId>(std::max_element(p.begin(), p.end()) - p.begin());
    }
    const SampleKey& key = request.key;
    uint64_t mixed =
        HashMix(key.run_seed + static_cast<uint64_t>(key.purpose) * 0x632BE59BD9B4E019u);
    mixed = HashMix(mixed + key.group_ordinal);
    mixed = HashMix(mixed + (static_cast<uint64_t>(key.attempt) << 32) + key.turn);
    const double u = HashUniform(mixed, key.sample + static_cast<uint64_t>(sample), position);
    double running = 0;
    TokenId last = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      if (p[i] == 0) continue;
      last = static_cast<TokenId>(i);
      running += p[i];
      if (running > u) break;
    }
    return last;
  }

  GenerateChunk Complete(const GenerateRequest& request, int32_t sample) const {
    GenerateChunk chunk;
    chunk.request_id = request.request_id;
    chunk.sequence = sample;
    chunk.version = version_;
    TokenId previous = request.prompt.back();
    while (chunk.stop_reason == StopReason::kNone) {
      if (absl::Now() >= request.deadline) {
        chunk.stop_reason = StopReason::kCancelled;
        break;
      }
      const size_t position = request.prompt.size() + chunk.tokens.size();
      const std::vector<float> p =
          BigramDistribution(table_, options_.vocabulary, previous, request.sampling);
      previous = Draw(p, request, sample, position);
      chunk.tokens.push_back(previous);
      chunk.logprobs.push_back(std::log(p[static_cast<size_t>(previous)]));
      chunk.entropy.push_back(BigramEntropy(p));
      if (std::count(request.stop_tokens.begin(), request.stop_tokens.end(), previous) > 0) {
        chunk.stop_reason = StopReason::kStopToken;
      } else if (static_cast<int32_t>(chunk.tokens.size()) >= request.sampling.max_tokens) {
        chunk.stop_reason = StopReason::kLength;
      } else if (position + 1 >= static_cast<size_t>(options_.context_tokens)) {
        chunk.stop_reason = StopReason::kContext;
      }
    }
    return chunk;
  }

  absl::Status CheckTokens(const std::vector<TokenId>& tokens) const {
    if (tokens.empty()) return absl::InvalidArgumentError("a sequence has no token");
    for (TokenId token : tokens) {
      if (token < 0 || token >= options_.vocabulary) {
        return absl::InvalidArgumentError(
            absl::StrCat("token ", token, " is not in [0, ", options_.vocabulary, ")"));
      }
    }
    if (tokens.size() > static_cast<size_t>(options_.context_tokens)) {
      return absl::OutOfRangeError(
          absl::StrCat("a sequence of ", tokens.size(), " tokens does not fit the context"));
    }
    return absl::OkStatus();
  }

  absl::Status Check(const GenerateRequest& request) const {
    if (!request.adapter_id.empty() || request.top_logprobs > 0 || request.allow_switch ||
        !request.prefix_handle.empty()) {
      return absl::UnimplementedError("adapter, top_logprobs, allow_switch or prefix_handle");
    }
    if (request.required_version.has_value() && *request.required_version != version_) {
      return absl::FailedPreconditionError(
          absl::StrCat("the policy is at version ", version_, ", not ", *request.required_version));
    }
    if (request.n < 1) return absl::InvalidArgumentError("n must be at least 1");
    absl::Status status = CheckFakeSampling(request.sampling);
    if (!status.ok()) return status;
    status = CheckTokens(request.prompt);
    if (!status.ok()) return status;
    if (request.prompt.size() >= static_cast<size_t>(options_.context_tokens)) {
      return absl::OutOfRangeError("the prompt leaves no room in the context");
    }
    return absl::OkStatus();
  }

  absl::Status Check(const ForwardBackwardRequest& request) const {
    absl::Status status = CheckFakeLoss(request.loss);
    if (!status.ok()) return status;
    if (!request.forward_only && request.first_index != next_index_) {
      return absl::FailedPreconditionError(
          absl::StrCat("first_index is ", request.first_index, ", the next one is ", next_index_));
    }
    for (const TrainSequence& sequence : request.sequences) {
      status = CheckTokens(sequence.tokens);
      if (!status.ok()) return status;
      const size_t t = sequence.tokens.size();
      const bool custom = request.loss.name == "custom";
      const bool policy_gradient = !custom && request.loss.name != "cross_entropy";
      if (sequence.loss_mask.size() != t || (custom && sequence.d_logprobs.size() != t) ||
          (policy_gradient &&
           (sequence.advantages.size() != t || sequence.behaviour_logprobs.size() != t))) {
        return absl::InvalidArgumentError("an array has another length than the tokens");
      }
      for (const std::vector<float>* values :
           {&sequence.loss_mask, &sequence.advantages, &sequence.d_logprobs}) {
        for (size_t i = 1; i < values->size(); ++i) {
          if (!std::isfinite((*values)[i])) {
            return absl::InvalidArgumentError("a number is not finite");
          }
        }
      }
    }
    return absl::OkStatus();
  }

  FakePolicyOptions options_;
  std::function<absl::Status(int)> hook_;
  std::atomic<int> calls_{0};
  mutable std::shared_mutex mutex_;
  std::vector<TokenId> stop_tokens_;
  std::vector<double> table_;      // [W, W] logits, row = previous token
  std::vector<double> reference_;  // [W, W] or empty
  std::vector<double> gradient_;   // [W, W]
  int64_t version_ = 0;
  int64_t next_index_ = 0;
  std::vector<std::pair<std::string, OptimStepResult>> recorded_;
};

}  // namespace hone

#endif  // HONE_TESTS_POLICY_FAKE_POLICY_H_
