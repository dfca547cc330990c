// SPDX-License-Identifier: Apache-2.0
//
// Generate and Score: readers of the weights.
#include <algorithm>
#include <shared_mutex>
#include <utility>

#include "policy/local/local_core.h"

namespace hone {
namespace {

// Rows of a scoring batch: enough batches for every thread, none above the limit. Rows do not
// depend on their neighbours, so this may depend on the thread count.
int64_t ScoreBatchRows(absl::Span<const int64_t> lengths, const LocalPolicyOptions& options) {
  int64_t rows = 0;
  for (int64_t length : lengths) rows += length;
  const int64_t even = (rows + options.threads - 1) / options.threads;
  return std::clamp<int64_t>(even, 1, options.max_rows_per_pass);
}

struct ScoreBatch {
  size_t from = 0;
  size_t end = 0;
};

void RunScoreBatch(const ScoreRequest& request, const PackedOptions& options, ScoreBatch batch,
                   PackedPass<float>& pass, ScoreResult& result) {
  std::vector<PackedSequence> packed;
  for (size_t i = batch.from; i < batch.end; ++i) {
    const bool replay =
        !request.route_override.empty() && !request.route_override[i].experts.empty();
    packed.push_back({request.sequences[i], 1, replay ? &request.route_override[i] : nullptr});
  }
  PackedResult<float> scored = pass.Forward(packed, options);
  for (size_t i = batch.from; i < batch.end; ++i) {
    const size_t j = i - batch.from;
    result.logprobs[i] = std::move(scored.logprobs[j]);
    result.entropy[i] = std::move(scored.entropy[j]);
    result.argmax[i] = std::move(scored.argmax[j]);
    if (request.return_routes) result.routes[i] = std::move(scored.routes[j]);
  }
}

}  // namespace

absl::Status LocalPolicy::Generate(absl::Span<const GenerateRequest> requests,
                                   const ChunkSink& sink) {
  std::shared_lock<FairLock> lock(core_->weights);
  const absl::Status status = CheckGenerate(requests, core_->shape, core_->version);
  if (!status.ok()) return status;
  return core_->engines->Generate(requests, core_->version, sink);
}

absl::StatusOr<ScoreResult> LocalPolicy::Score(const ScoreRequest& request) {
  std::shared_lock<FairLock> lock(core_->weights);
  Core& core = *core_;
  const absl::Status status = CheckScore(request, core.shape);
  if (!status.ok()) return status;
  if (request.reference && core.reference == nullptr) {
    return absl::FailedPreconditionError(
        "score: no reference policy is kept; call ResetReference first");
  }
  PackedOptions options;
  options.temperature = request.temperature;
  options.top_p = request.top_p;
  options.top_k = request.top_k;
  options.vocabulary = request.mask_vocabulary ? core.shape.vocabulary : core.shape.rows;
  options.want_argmax = true;
  options.want_routes = request.return_routes;
  const size_t count = request.sequences.size();
  ScoreResult result;
  result.version = core.version;
  result.logprobs.resize(count);
  result.entropy.resize(count);
  result.argmax.resize(count);
  if (request.return_routes) result.routes.resize(count);
  std::vector<int64_t> lengths;
  for (const std::vector<TokenId>& tokens : request.sequences) {
    lengths.push_back(static_cast<int64_t>(tokens.size()));
  }
  std::vector<ScoreBatch> batches;
  size_t from = 0;
  for (size_t end : PackGreedily(lengths, ScoreBatchRows(lengths, core.options))) {
    batches.push_back({from, end});
    from = end;
  }
  auto& passes = request.reference ? core.reference_passes : core.passes;
  core.team->Run(static_cast<int>(batches.size()), [&](int piece, int thread) {
    RunScoreBatch(request, options, batches[static_cast<size_t>(piece)],
                  *passes[static_cast<size_t>(thread)], result);
  });
  return result;
}

}  // namespace hone
