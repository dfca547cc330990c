// SPDX-License-Identifier: Apache-2.0
//
// Pages of keys and values (kernels/attention.h) for sequences that grow. A page has owners:
// completions of one prompt own its full pages together. Memory doubles when it runs out. Not
// thread-safe.
#ifndef HONE_POLICY_MODEL_KEY_VALUE_CACHE_H_
#define HONE_POLICY_MODEL_KEY_VALUE_CACHE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/model/config.h"
#include "policy/model/rows.h"
#include "policy/tensor/device.h"

namespace hone {

class KeyValueCache {
 public:
  // page_tokens >= 1. Allocates nothing yet.
  KeyValueCache(const ModelConfig& config, Device& device, int32_t page_tokens);

  // A free page with one owner, contents unspecified. RESOURCE_EXHAUSTED with the figures.
  absl::StatusOr<int32_t> Take();
  void Share(int32_t page);    // one owner more
  void Release(int32_t page);  // one owner less; free after the last
  void ReleaseAll();

  // Copies the first `tokens` of a page, in every layer.
  void CopyTokens(int32_t from, int32_t to, int32_t tokens);

  // Valid until the next Take.
  CachePages<float> pages() const;
  int32_t page_tokens() const { return page_tokens_; }
  int64_t pages_in_use() const { return static_cast<int64_t>(owners_.size() - free_.size()); }
  int64_t capacity() const { return static_cast<int64_t>(owners_.size()); }

 private:
  absl::Status Grow(int64_t capacity);

  Device* device_;
  int64_t layers_;
  int64_t width_;
  int32_t page_tokens_;
  Buffer data_;
  std::vector<int32_t> owners_;  // of each page
  std::vector<int32_t> free_;    // taken from the back
};

}  // namespace hone

#endif  // HONE_POLICY_MODEL_KEY_VALUE_CACHE_H_
