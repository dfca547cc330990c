// SPDX-License-Identifier: Apache-2.0
#include "policy/generator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

namespace hone {
namespace {

absl::Status Nonsense(const GenerateChunk& chunk, absl::string_view what) {
  return absl::InternalError(absl::StrCat("the policy's answer to request '", chunk.request_id,
                                          "', sequence ", chunk.sequence, ": ", what));
}

absl::Status CheckChunk(const GenerateChunk& chunk, const Completion& so_far) {
  if (so_far.stop_reason != StopReason::kNone) return Nonsense(chunk, "goes on after its end");
  if (chunk.logprobs.size() != chunk.tokens.size() || chunk.entropy.size() != chunk.tokens.size()) {
    return Nonsense(chunk, "tokens, logprobs and entropies differ in number");
  }
  for (float logprob : chunk.logprobs) {
    if (!std::isfinite(logprob) || logprob > 1e-3f) {
      return Nonsense(chunk, absl::StrCat("logprob ", logprob, " is not that of a drawn token"));
    }
  }
  return absl::OkStatus();
}

// A shape that changes in the middle leaves experts that belong to nobody.
absl::Status AppendRoutes(const GenerateChunk& chunk, const Routes& from, Routes& to) {
  if (from.experts.empty()) return absl::OkStatus();
  const int64_t row = int64_t{from.moe_layers} * from.slots;
  if (row < 1 || static_cast<int64_t>(from.experts.size()) % row != 0) {
    return Nonsense(chunk, "its routes are not whole rows");
  }
  if (!to.experts.empty() && (from.moe_layers != to.moe_layers || from.slots != to.slots)) {
    return Nonsense(chunk, "its routes change their shape");
  }
  to.moe_layers = from.moe_layers;
  to.slots = from.slots;
  to.experts.insert(to.experts.end(), from.experts.begin(), from.experts.end());
  return absl::OkStatus();
}

void Append(GenerateChunk chunk, Completion& to) {
  to.tokens.insert(to.tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
  to.logprobs.insert(to.logprobs.end(), chunk.logprobs.begin(), chunk.logprobs.end());
  to.entropy.insert(to.entropy.end(), chunk.entropy.begin(), chunk.entropy.end());
  to.stop_reason = chunk.stop_reason;
  to.version = chunk.version;
}

}  // namespace

std::vector<TokenId> StopTokensOf(const std::vector<TokenId>& ends, const PolicyInfo& info) {
  std::vector<TokenId> all = ends;
  for (const TokenId token : info.stop_tokens) {
    if (std::find(all.begin(), all.end(), token) == all.end()) all.push_back(token);
  }
  return all;
}

absl::StatusOr<std::vector<std::vector<Completion>>> GenerateAll(
    Generator& generator, absl::Span<const GenerateRequest> requests) {
  std::vector<std::vector<Completion>> completions(requests.size());
  absl::flat_hash_map<std::string, size_t> index;
  for (size_t i = 0; i < requests.size(); ++i) {
    completions[i].resize(static_cast<size_t>(requests[i].n));
    if (!index.emplace(requests[i].request_id, i).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("two requests of one call are called '", requests[i].request_id, "'"));
    }
  }
  absl::Status bad;
  bool first = true;
  int64_t version = 0;
  const absl::Status status = generator.Generate(requests, [&](GenerateChunk chunk) {
    const auto found = index.find(chunk.request_id);
    if (found == index.end() || chunk.sequence < 0 ||
        chunk.sequence >= static_cast<int32_t>(completions[found->second].size())) {
      bad = Nonsense(chunk, "nobody asked for it");
      return false;
    }
    Completion& completion = completions[found->second][static_cast<size_t>(chunk.sequence)];
    bad = CheckChunk(chunk, completion);
    if (bad.ok() && !first && chunk.version != version) {
      bad = Nonsense(chunk, "the policy version changed inside a call");
    }
    if (bad.ok()) bad = AppendRoutes(chunk, chunk.prompt_routes, completion.prompt_routes);
    if (bad.ok()) bad = AppendRoutes(chunk, chunk.routes, completion.routes);
    if (!bad.ok()) return false;
    first = false;
    version = chunk.version;
    Append(std::move(chunk), completion);
    return true;
  });
  if (!bad.ok()) return bad;
  if (!status.ok()) return status;
  for (size_t i = 0; i < completions.size(); ++i) {
    for (const Completion& completion : completions[i]) {
      if (completion.stop_reason == StopReason::kNone) {
        return absl::InternalError(absl::StrCat("the policy's answer to request '",
                                                requests[i].request_id, "' ended in the middle"));
      }
    }
  }
  return completions;
}

}  // namespace hone
