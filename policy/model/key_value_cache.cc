// SPDX-License-Identifier: Apache-2.0
#include "policy/model/key_value_cache.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace hone {
namespace {

constexpr int64_t kFirstPages = 16;
constexpr int64_t kMostPages = int64_t{1} << 30;

// Copies every layer's rows to memory with room for more of them.
void MoveRows(Device& device, int64_t layers, int64_t width, int64_t old_rows, int64_t new_rows,
              const Buffer& from, const Buffer& to) {
  for (int64_t layer = 0; old_rows > 0 && layer < layers; ++layer) {
    device.CopyWithin(to.as<float>() + layer * new_rows * width,
                      from.as<float>() + layer * old_rows * width,
                      static_cast<size_t>(old_rows * width) * sizeof(float), nullptr);
  }
}

}  // namespace

KeyValueCache::KeyValueCache(const ModelConfig& config, Device& device, int32_t page_tokens)
    : device_(&device),
      layers_(config.num_hidden_layers),
      width_(config.Cache().Width()),
      page_tokens_(page_tokens) {
  assert(page_tokens >= 1);
}

absl::Status KeyValueCache::Grow(int64_t capacity) {
  if (capacity > kMostPages) {
    return absl::ResourceExhaustedError("the key-value cache has reached its limit of 2^30 pages");
  }
  const int64_t before = this->capacity();
  const int64_t old_rows = before * page_tokens_, new_rows = capacity * page_tokens_;
  const size_t elements = static_cast<size_t>(layers_ * new_rows * width_);
  absl::StatusOr<Buffer> data = Buffer::Allocate(*device_, elements * sizeof(float));
  if (!data.ok()) return data.status();
  MoveRows(*device_, layers_, width_, old_rows, new_rows, data_, *data);
  device_->Synchronize(nullptr);
  data_ = *std::move(data);
  owners_.resize(static_cast<size_t>(capacity), 0);
  for (int64_t page = capacity; page-- > before;) free_.push_back(static_cast<int32_t>(page));
  return absl::OkStatus();
}

absl::StatusOr<int32_t> KeyValueCache::Take() {
  if (free_.empty()) {
    const absl::Status status = Grow(std::max(kFirstPages, 2 * capacity()));
    if (!status.ok()) return status;
  }
  const int32_t page = free_.back();
  free_.pop_back();
  owners_[static_cast<size_t>(page)] = 1;
  return page;
}

void KeyValueCache::Share(int32_t page) {
  assert(owners_[static_cast<size_t>(page)] > 0);
  ++owners_[static_cast<size_t>(page)];
}

void KeyValueCache::Release(int32_t page) {
  int32_t& owners = owners_[static_cast<size_t>(page)];
  assert(owners > 0);
  if (--owners == 0) free_.push_back(page);
}

void KeyValueCache::ReleaseAll() {
  std::fill(owners_.begin(), owners_.end(), 0);
  free_.clear();
  for (int64_t page = capacity(); page-- > 0;) free_.push_back(static_cast<int32_t>(page));
}

void KeyValueCache::CopyTokens(int32_t from, int32_t to, int32_t tokens) {
  assert(tokens >= 0 && tokens <= page_tokens_);
  const CachePages<float> all = pages();
  const int64_t from_row = int64_t{from} * page_tokens_, to_row = int64_t{to} * page_tokens_;
  const size_t bytes = static_cast<size_t>(tokens * width_) * sizeof(float);
  for (int64_t layer = 0; layer < layers_; ++layer) {
    float* data = all.data + layer * all.layer_stride;
    device_->CopyWithin(data + to_row * width_, data + from_row * width_, bytes, nullptr);
  }
}

CachePages<float> KeyValueCache::pages() const {
  CachePages<float> out;
  out.data = data_.as<float>();
  out.rows = capacity() * page_tokens_;
  out.layer_stride = out.rows * width_;
  out.page_tokens = page_tokens_;
  return out;
}

}  // namespace hone
