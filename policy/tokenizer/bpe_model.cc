// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/bpe_model.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <functional>
#include <limits>

namespace hone {
namespace {

// Up to here a scan for the lowest rank is faster than a heap.
constexpr size_t kShort = 32;
// From here on merging rank by rank is faster than a heap of positions.
constexpr size_t kByRank = 512;
constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();

uint64_t Pair(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

uint64_t Candidate(int32_t rank, int32_t position) {
  return static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(position);
}

}  // namespace

void BpeModel::Scratch::Link(absl::Span<const TokenId> symbols) {
  const int32_t count = static_cast<int32_t>(symbols.size());
  symbols_.resize(symbols.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols_[i] = {symbols[i], i - 1, i + 1 < count ? i + 1 : -1};
  }
}

void BpeModel::Scratch::Join(int32_t position, TokenId merged) {
  Symbol& left = symbols_[position];
  Symbol& right = symbols_[left.next];
  left.token = merged;
  right.token = -1;
  left.next = right.next;
  if (left.next >= 0) symbols_[left.next].previous = position;
}

void BpeModel::Scratch::Take(std::vector<TokenId>* out) const {
  for (int32_t i = 0; i >= 0; i = symbols_[i].next) out->push_back(symbols_[i].token);
}

bool BpeModel::AddMerge(TokenId left, TokenId right, TokenId merged) {
  parts_.insert(left);
  parts_.insert(right);
  if (parts_.contains(merged)) ascending_ = false;
  const int32_t rank = static_cast<int32_t>(merges_.size());
  return merges_.emplace(Pair(left, right), Merge{rank, merged}).second;
}

const BpeModel::Merge* BpeModel::Find(TokenId left, TokenId right) const {
  const auto at = merges_.find(Pair(left, right));
  return at == merges_.end() ? nullptr : &at->second;
}

void BpeModel::EncodeShort(absl::Span<const TokenId> symbols, std::vector<TokenId>* out) const {
  TokenId tokens[kShort];
  Merge pairs[kShort];  // of a token and the next
  int32_t count = static_cast<int32_t>(symbols.size());
  std::copy(symbols.begin(), symbols.end(), tokens);
  const auto look = [&](int32_t i) {
    const Merge* merge = i + 1 < count ? Find(tokens[i], tokens[i + 1]) : nullptr;
    pairs[i] = merge == nullptr ? Merge{kNoRank, -1} : *merge;
  };
  for (int32_t i = 0; i < count; ++i) look(i);
  for (;;) {
    int32_t best = 0;
    for (int32_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (count == 1 || pairs[best].rank == kNoRank) break;
    tokens[best] = pairs[best].merged;
    std::copy(tokens + best + 2, tokens + count, tokens + best + 1);
    std::copy(pairs + best + 2, pairs + count, pairs + best + 1);
    --count;
    look(best);
    if (best > 0) look(best - 1);
  }
  out->insert(out->end(), tokens, tokens + count);
}

void BpeModel::Encode(absl::Span<const TokenId> symbols, Scratch* scratch,
                      std::vector<TokenId>* out) const {
  assert(symbols.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()));
  if (merges_.empty() || symbols.size() < 2) {
    out->insert(out->end(), symbols.begin(), symbols.end());
    return;
  }
  if (symbols.size() <= kShort) return EncodeShort(symbols, out);
  scratch->Link(symbols);
  if (ascending_ && symbols.size() > kByRank) {
    MergeByRank(scratch);
  } else {
    MergeByHeap(scratch);
  }
  scratch->Take(out);
}

// The merge of the symbol at `position` with the next, if both are there.
const BpeModel::Merge* BpeModel::FindAt(const Scratch& scratch, int32_t position) const {
  if (position < 0) return nullptr;
  const Scratch::Symbol& left = scratch.symbols_[position];
  if (left.token < 0 || left.next < 0) return nullptr;
  return Find(left.token, scratch.symbols_[left.next].token);
}

void BpeModel::MergeByHeap(Scratch* scratch) const {
  const int32_t count = static_cast<int32_t>(scratch->symbols_.size());
  std::vector<uint64_t>& heap = scratch->heap_;
  heap.clear();
  for (int32_t i = 0; i < count; ++i) {
    const Merge* merge = FindAt(*scratch, i);
    if (merge != nullptr) heap.push_back(Candidate(merge->rank, i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto offer = [&](int32_t position) {
    const Merge* merge = FindAt(*scratch, position);
    if (merge == nullptr) return;
    heap.push_back(Candidate(merge->rank, position));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    const uint64_t best = heap.front();
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    const int32_t position = static_cast<int32_t>(best & 0xffffffff);
    const Merge* merge = FindAt(*scratch, position);
    if (merge == nullptr || Candidate(merge->rank, position) != best) continue;  // other neighbours
    scratch->Join(position, merge->merged);
    offer(scratch->symbols_[position].previous);
    offer(position);
  }
}

// Rank after rank: with ascending merges, no merge gives a neighbour of lower or the same rank. The
// positions that one rank gives another come in order, so sorting is rare and memory is read in
// order; a long run of one character takes nearly linear time.
void BpeModel::MergeByRank(Scratch* scratch) const {
  const int32_t count = static_cast<int32_t>(scratch->symbols_.size());
  absl::flat_hash_map<int32_t, std::vector<int32_t>> positions;  // by rank
  std::vector<int32_t> ranks;                                    // a heap of its keys
  const auto offer = [&](int32_t position) {
    const Merge* merge = FindAt(*scratch, position);
    if (merge == nullptr) return;
    std::vector<int32_t>& list = positions[merge->rank];
    if (list.empty()) {
      ranks.push_back(merge->rank);
      std::push_heap(ranks.begin(), ranks.end(), std::greater<>());
    }
    list.push_back(position);
  };
  for (int32_t i = 0; i < count; ++i) offer(i);
  while (!ranks.empty()) {
    const int32_t rank = ranks.front();
    std::pop_heap(ranks.begin(), ranks.end(), std::greater<>());
    ranks.pop_back();
    std::vector<int32_t> list = std::move(positions[rank]);
    positions.erase(rank);
    if (!std::is_sorted(list.begin(), list.end())) std::sort(list.begin(), list.end());
    for (const int32_t position : list) {
      const Merge* merge = FindAt(*scratch, position);
      if (merge == nullptr || merge->rank != rank) continue;
      scratch->Join(position, merge->merged);
      offer(scratch->symbols_[position].previous);
      offer(position);
    }
  }
}

}  // namespace hone
