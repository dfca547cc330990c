// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/bpe_model.h"

#include <cassert>
#include <limits>
#include <queue>
#include <tuple>

namespace hone {
namespace {

uint64_t Pair(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// A symbol in a doubly linked list over positions; a merge lives on at its left part's position.
struct Symbol {
  TokenId token = -1;     // -1: merged into its left neighbour
  int32_t previous = -1;  // -1: none
  int32_t next = -1;
};

struct Candidate {
  int32_t rank = 0;
  int32_t position = 0;
  TokenId merged = -1;

  // std::priority_queue takes the largest first.
  bool operator<(const Candidate& other) const {
    return std::tie(rank, position) > std::tie(other.rank, other.position);
  }
};

}  // namespace

bool BpeModel::AddMerge(TokenId left, TokenId right, TokenId merged) {
  const int32_t rank = static_cast<int32_t>(merges_.size());
  return merges_.emplace(Pair(left, right), Merge{rank, merged}).second;
}

const BpeModel::Merge* BpeModel::Find(TokenId left, TokenId right) const {
  const auto at = merges_.find(Pair(left, right));
  return at == merges_.end() ? nullptr : &at->second;
}

void BpeModel::Encode(absl::Span<const TokenId> symbols, std::vector<TokenId>* out) const {
  assert(symbols.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()));
  if (merges_.empty() || symbols.size() < 2) {
    out->insert(out->end(), symbols.begin(), symbols.end());
    return;
  }
  const int32_t count = static_cast<int32_t>(symbols.size());
  std::vector<Symbol> list(symbols.size());
  std::vector<Candidate> first;
  for (int32_t i = 0; i < count; ++i) {
    list[i] = {symbols[i], i - 1, i + 1 < count ? i + 1 : -1};
    if (i + 1 == count) continue;
    const Merge* merge = Find(symbols[i], symbols[i + 1]);
    if (merge != nullptr) first.push_back({merge->rank, i, merge->merged});
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(first));
  const auto offer = [&](int32_t left) {
    if (left < 0 || list[left].next < 0) return;
    const Merge* merge = Find(list[left].token, list[list[left].next].token);
    if (merge != nullptr) queue.push({merge->rank, left, merge->merged});
  };
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = list[best.position];
    if (left.token < 0 || left.next < 0) continue;  // one of the two is gone
    Symbol& right = list[left.next];
    const Merge* merge = Find(left.token, right.token);
    if (merge == nullptr || merge->merged != best.merged) continue;  // now other neighbours
    left.token = best.merged;
    right.token = -1;
    left.next = right.next;
    if (left.next >= 0) list[left.next].previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  for (int32_t i = 0; i >= 0; i = list[i].next) out->push_back(list[i].token);
}

}  // namespace hone
