// SPDX-License-Identifier: Apache-2.0
#include "policy/model/key_value_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "policy/model/rows.h"
#include "tests/policy/model/tiny_models.h"

namespace hone {
namespace {

TEST(KeyValueCache, FreesAPageAfterItsLastOwner) {
  KeyValueCache cache(TinyV3(), HostDevice(), 4);
  const int32_t first = *cache.Take(), second = *cache.Take();
  EXPECT_NE(first, second);
  cache.Share(first);
  cache.Release(first);
  EXPECT_EQ(cache.pages_in_use(), 2);
  cache.Release(first);
  EXPECT_EQ(cache.pages_in_use(), 1);
  EXPECT_EQ(*cache.Take(), first);
  cache.ReleaseAll();
  EXPECT_EQ(cache.pages_in_use(), 0);
}

TEST(KeyValueCache, KeepsContentsWhenItGrowsAndCopiesAllLayers) {
  const ModelConfig config = TinyV3();
  KeyValueCache cache(config, HostDevice(), 4);
  const int32_t page = *cache.Take(), copy = *cache.Take();
  const auto value = [&](int32_t of, int64_t layer, int64_t row, int64_t r) -> float& {
    const CachePages<float> pages = cache.pages();
    const int64_t width = config.kv_lora_rank + config.qk_rope_head_dim;
    return pages.data[layer * pages.layer_stride + (of * 4 + row) * width + r];
  };
  const auto angle = [&](int32_t of, int64_t layer, int64_t row) -> float& {
    return value(of, layer, row, config.kv_lora_rank);
  };
  for (int64_t layer = 0; layer < 3; ++layer) {
    for (int64_t row = 0; row < 4; ++row) {
      value(page, layer, row, 9) = static_cast<float>(10 * layer + row);
      angle(page, layer, row) = static_cast<float>(100 + 10 * layer + row);
      value(copy, layer, row, 9) = -1;
    }
  }
  cache.CopyTokens(page, copy, 3);
  std::set<int32_t> pages = {page, copy};
  const int64_t before = cache.capacity();
  while (cache.capacity() == before) EXPECT_TRUE(pages.insert(*cache.Take()).second);
  for (int64_t layer = 0; layer < 3; ++layer) {
    for (int64_t row = 0; row < 3; ++row) {
      EXPECT_EQ(value(copy, layer, row, 9), static_cast<float>(10 * layer + row));
      EXPECT_EQ(angle(copy, layer, row), static_cast<float>(100 + 10 * layer + row));
    }
    EXPECT_EQ(value(copy, layer, 3, 9), -1);
  }
}

// Rows over hand-made pages: bits depend on the sequence's own tokens, whatever else is in memory.
class RowsOverPages {
 public:
  explicit RowsOverPages(float poison) : model_(*Shared()), poison_(poison) {}

  static const Model<float>* Shared() {
    static const auto* model = MakeModel<float>(TinyV3(), kernels::ReferenceTable()).release();
    return model;
  }

  // Residual rows of two sequences of 5 and 7 tokens, pages of `page_tokens` scattered about.
  std::vector<float> Run(int32_t page_tokens) {
    const ModelConfig& config = model_.config();
    const int64_t page_count = 64;
    std::vector<int32_t> tokens, positions, sequences, lengths;
    std::vector<int64_t> slots;
    const int64_t table_width = 9;
    // Past the last page of a sequence: a page that does not exist.
    std::vector<int32_t> table(2 * table_width, std::numeric_limits<int32_t>::max());
    int32_t next_page = 3;
    for (int32_t b = 0; b < 2; ++b) {
      for (int32_t t = 0; t < 5 + 2 * b; ++t) {
        int32_t& page = table[static_cast<size_t>(b * table_width + t / page_tokens)];
        if (t % page_tokens == 0) page = next_page, next_page = (next_page + 29) % 64;
        tokens.push_back((7 * b + 3 * t) % config.vocab_size);
        positions.push_back(t);
        sequences.push_back(b);
        lengths.push_back(t + 1);
        slots.push_back(int64_t{page} * page_tokens + t % page_tokens);
      }
    }
    const int64_t rows = static_cast<int64_t>(tokens.size());
    RowBatch<float> batch;
    batch.tokens = View<const int32_t, 1>(tokens.data(), {rows});
    batch.positions = View<const int32_t, 1>(positions.data(), {rows});
    batch.row_sequence = View<const int32_t, 1>(sequences.data(), {rows});
    batch.row_length = View<const int32_t, 1>(lengths.data(), {rows});
    batch.slots = View<const int64_t, 1>(slots.data(), {rows});
    batch.page_table = View<const int32_t, 2>(table.data(), {2, table_width});
    batch.max_length = 7;
    batch.pages.rows = page_count * page_tokens;
    batch.pages.page_tokens = page_tokens;
    batch.pages.layer_stride = batch.pages.rows * config.Cache().Width();
    std::vector<float> data(static_cast<size_t>(3 * batch.pages.layer_stride), poison_);
    batch.pages.data = data.data();
    Arena arena(HostDevice());
    ForwardTrace<float> trace;
    ForwardRows(model_, batch, false, arena, &trace);
    return {trace.output.data, trace.output.data + trace.output.size()};
  }

 private:
  const Model<float>& model_;
  float poison_;
};

TEST(Rows, NeverReadUnusedPagesOrTableEntries) {
  const std::vector<float> expected = RowsOverPages(0.0f).Run(4);
  for (float value : expected) ASSERT_TRUE(std::isfinite(value));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (int32_t page_tokens : {1, 3, 4, 63}) {
    EXPECT_EQ(RowsOverPages(nan).Run(page_tokens), expected) << page_tokens;
  }
}

}  // namespace
}  // namespace hone
