// SPDX-License-Identifier: Apache-2.0
//
// The bits of a row of every forward kernel depend on that row alone: not on how many rows there
// are, on what they are, or on where the row stands. On every backend this machine runs.
#include <algorithm>
#include <map>

#include "tests/policy/kernels/kernel_testing.h"

namespace hone::kernels {
namespace {

using Table = KernelTable<float>;
using Bits = std::vector<uint32_t>;
// Runs the kernel on these rows (an id names a row's content) and returns the bits of each.
using Run = std::function<std::vector<Bits>(const Table&, const std::vector<int64_t>& ids)>;

template <int N>
Bits BitsOf(const Tensor<float, N>& tensor, int64_t row, int64_t width) {
  Bits out;
  for (int64_t i = row * width; i < (row + 1) * width; ++i) {
    uint32_t bits;
    std::memcpy(&bits, &tensor.at(i), sizeof(bits));
    out.push_back(bits);
  }
  return out;
}

// Row m of the tensor holds the content that ids[m] names.
template <int N>
void FillRows(Tensor<float, N>& tensor, const std::vector<int64_t>& ids, int64_t width,
              uint64_t salt, double scale = 1.0) {
  for (size_t m = 0; m < ids.size(); ++m) {
    KeyedRandom random = TestRandom(static_cast<uint64_t>(ids[m]) * 1000 + salt);
    for (int64_t i = 0; i < width; ++i) {
      tensor.at(static_cast<int64_t>(m) * width + i) = static_cast<float>(random.Normal() * scale);
    }
  }
}

void ExpectInvariant(const char* op, const Run& run) {
  const int64_t count = 33;
  std::vector<int64_t> all, reversed;
  for (int64_t id = 0; id < count; ++id) all.push_back(id);
  reversed.assign(all.rbegin(), all.rend());
  for (const BackendInfo& info : ListBackends()) {
    if (!info.runs_here) continue;
    const Table& table = *FindBackend(info.name)->table;
    const std::vector<Bits> want = run(table, all);
    std::vector<std::vector<int64_t>> batches = {reversed, {7, 7, 7, 3}};
    for (int64_t size : {1, 2, 3, 5, 8, 15, 16, 29}) {  // slices of every size at every place
      for (int64_t first = 0; first + size <= count; first += size) {
        batches.emplace_back(all.begin() + first, all.begin() + first + size);
      }
    }
    batches.emplace_back();
    for (int64_t i = 0; i < 300; ++i) batches.back().push_back((i * 17 + 5) % count);
    for (const std::vector<int64_t>& batch : batches) {
      const std::vector<Bits> got = run(table, batch);
      for (size_t m = 0; m < batch.size(); ++m) {
        ASSERT_EQ(got[m], want[static_cast<size_t>(batch[m])])
            << info.name << " " << op << ": row " << batch[m] << " at place " << m << " of "
            << batch.size();
      }
    }
  }
}

TEST(RowBits, OfMatmulDependOnTheRowAlone) {
  for (int64_t in : {3, 65, 300}) {
    for (int64_t out : {1, 40, 130}) {
      Tensor<float, 2> w({out, in});
      w.Random(5);
      ExpectInvariant("matmul", [&](const Table& t, const std::vector<int64_t>& ids) {
        const int64_t rows = static_cast<int64_t>(ids.size());
        Tensor<float, 2> x({rows, in}), y({rows, out});
        FillRows(x, ids, in, 1);
        std::vector<float> packed(static_cast<size_t>(t.packed_size(out, in)), NAN);
        t.pack(nullptr, {w.row(0), w.view().stride[0], 1, out, in, packed.data()});
        t.matmul(nullptr, {x.view(), {packed.data(), out, in}, y.view(), false});
        std::vector<Bits> bits;
        for (int64_t m = 0; m < rows; ++m) bits.push_back(BitsOf(y, m, out));
        return bits;
      });
    }
  }
}

TEST(RowBits, OfMatmulColumnsDoNotDependOnHowManyThereAre) {
  for (const BackendInfo& info : ListBackends()) {
    if (!info.runs_here) continue;
    const Table& t = *FindBackend(info.name)->table;
    const int64_t rows = 9, in = 126, widest = 150;
    Tensor<float, 2> x({rows, in}), w({widest, in});
    x.Random(1);
    w.Random(2);
    std::vector<Bits> want;
    for (int64_t out : {widest, int64_t{1}, int64_t{15}, int64_t{17}, int64_t{64}, int64_t{100}}) {
      Tensor<float, 2> y({rows, out});
      std::vector<float> packed(static_cast<size_t>(t.packed_size(out, in)), NAN);
      t.pack(nullptr, {w.row(0), w.view().stride[0], 1, out, in, packed.data()});
      t.matmul(nullptr, {x.view(), {packed.data(), out, in}, y.view(), false});
      for (int64_t m = 0; m < rows; ++m) {
        Bits bits = BitsOf(y, m, out);
        if (out == widest) {
          want.push_back(bits);
        } else {
          bits.resize(static_cast<size_t>(out));
          ASSERT_TRUE(std::equal(bits.begin(), bits.end(), want[static_cast<size_t>(m)].begin()))
              << info.name << " of " << out;
        }
      }
    }
  }
}

TEST(RowBits, OfGroupedMatmulDependOnTheSlotAlone) {
  const int64_t in = 63, out = 37, experts = 4;
  Tensor<float, 3> w({experts, out, in}, 0);
  w.Random(5);
  ExpectInvariant("grouped matmul", [&](const Table& t, const std::vector<int64_t>& ids) {
    const int64_t rows = static_cast<int64_t>(ids.size());
    Tensor<int32_t, 2> choice({rows, 1}), row_slot({rows, 1});
    Tensor<int32_t, 1> offsets({experts + 1}), slot_row({rows});
    Tensor<float, 2> x({rows, in}), xg({rows, in}), y({rows, out}), h({rows, out});
    FillRows(x, ids, in, 1);
    for (int64_t m = 0; m < rows; ++m) {
      choice.at(m) = static_cast<int32_t>(ids[static_cast<size_t>(m)] % experts);
    }
    t.moe_plan(nullptr, {choice.view(), offsets.view(), slot_row.view(), row_slot.view()});
    t.moe_gather(nullptr, {x.view(), slot_row.view(), xg.view()});
    const int64_t stride = t.packed_size(out, in);
    std::vector<float> packed(static_cast<size_t>(stride * experts), NAN);
    for (int64_t e = 0; e < experts; ++e) {
      t.pack(nullptr, {w.row(e), in, 1, out, in, packed.data() + e * stride});
    }
    t.grouped_matmul(nullptr,
                     {xg.view(), offsets.view(), packed.data(), stride, out, in, y.view()});
    Tensor<float, 2> ones({rows, 1});
    ones.Fill(0.75f);
    t.moe_combine(nullptr, {y.view(), row_slot.view(), ones.view(), h.view(), false});
    std::vector<Bits> bits;
    for (int64_t m = 0; m < rows; ++m) bits.push_back(BitsOf(h, m, out));
    return bits;
  });
}

TEST(RowBits, OfElementwiseKernelsDependOnTheRowAlone) {
  for (int64_t width : OddSizes()) {
    const int64_t even = width + width % 2;
    Tensor<float, 1> weight({width});
    Tensor<float, 3> angles({64, even / 2, 2}, 0);
    weight.Random(3);
    angles.Random(4);
    ExpectInvariant("rmsnorm, rope, swiglu", [&](const Table& t, const std::vector<int64_t>& ids) {
      const int64_t rows = static_cast<int64_t>(ids.size());
      Tensor<float, 2> x({rows, width}), y({rows, width}), z({rows, width});
      Tensor<float, 3> pairs({rows, 1, even});
      Tensor<int32_t, 1> positions({rows});
      FillRows(x, ids, width, 1, 5.0);
      FillRows(pairs, ids, even, 2);
      for (int64_t m = 0; m < rows; ++m) {
        positions.at(m) = static_cast<int32_t>(ids[static_cast<size_t>(m)]);
      }
      t.rmsnorm(nullptr, {x.view(), weight.view(), 1e-6f, y.view()});
      t.swiglu(nullptr, {x.view(), y.view(), z.view()});
      t.add(nullptr, {y.view(), z.view()});
      for (RopePairing pairing : {RopePairing::kAdjacent, RopePairing::kHalves}) {
        t.rope(nullptr,
               {pairs.view(), positions.view(), angles.view(), false, pairing, pairs.view()});
      }
      std::vector<Bits> bits;
      for (int64_t m = 0; m < rows; ++m) {
        bits.push_back(BitsOf(z, m, width));
        const Bits more = BitsOf(pairs, m, even);
        bits.back().insert(bits.back().end(), more.begin(), more.end());
      }
      return bits;
    });
  }
}

TEST(RowBits, OfRouterDependOnTheRowAlone) {
  for (RouterKind kind : {RouterKind::kSoftmax, RouterKind::kSigmoid}) {
    ExpectInvariant("route", [&](const Table& t, const std::vector<int64_t>& ids) {
      const int64_t rows = static_cast<int64_t>(ids.size()), experts = 18, chosen = 4;
      RouterConfig config;
      config.kind = kind;
      config.experts = 18;
      config.chosen = 4;
      config.groups = 3;
      config.topk_groups = 2;
      Tensor<float, 2> logits({rows, experts}), weights({rows, chosen});
      Tensor<int32_t, 2> picked({rows, chosen});
      FillRows(logits, ids, experts, 1);
      t.route(nullptr, {config, logits.view(), {}, {}, picked.view(), weights.view()});
      std::vector<Bits> bits;
      for (int64_t m = 0; m < rows; ++m) {
        bits.push_back(BitsOf(weights, m, chosen));
        for (int64_t k = 0; k < chosen; ++k) {
          bits.back().push_back(static_cast<uint32_t>(picked.row(m)[k]));
        }
      }
      return bits;
    });
  }
}

TEST(RowBits, OfSamplingDependOnTheRowAlone) {
  for (int64_t width : {65, 700}) {
    ExpectInvariant("sample", [&](const Table& t, const std::vector<int64_t>& ids) {
      const int64_t rows = static_cast<int64_t>(ids.size());
      Tensor<float, 2> logits({rows, width});
      Tensor<float, 1> logprobs({rows}), entropy({rows});
      Tensor<int32_t, 1> tokens({rows});
      std::vector<SampleRow> how(ids.size());
      FillRows(logits, ids, width, 1, 2.0);
      for (size_t m = 0; m < ids.size(); ++m) {
        how[m].key[0] = static_cast<uint32_t>(ids[m]);
        how[m].temperature = ids[m] % 4 == 0 ? 0.0f : 0.9f;
        how[m].top_p = ids[m] % 3 == 0 ? 0.8f : 1.0f;
      }
      t.sample(nullptr, {logits.view(), static_cast<int32_t>(width) - 3,
                         View<const SampleRow, 1>(how.data(), {rows}), tokens.view(),
                         logprobs.view(), entropy.view()});
      std::vector<Bits> bits;
      for (int64_t m = 0; m < rows; ++m) {
        bits.push_back({static_cast<uint32_t>(tokens.at(m)), BitsOf(logprobs, m, 1)[0],
                        BitsOf(entropy, m, 1)[0]});
      }
      return bits;
    });
  }
}

// A row of attention is (sequence, length): decode reads one, prefill and scoring many in a row.
std::vector<Bits> Attend(const Table& t, const std::vector<std::pair<int64_t, int64_t>>& rows,
                         const CacheRow& cache, uint64_t page_salt) {
  const int64_t heads = 6, page = 8, sequences = 4, longest = 70, per_sequence = 9;
  const int64_t count = static_cast<int64_t>(rows.size());
  Tensor<float, 3> q({count, heads, cache.key_width}), out({count, heads, cache.value_width});
  Tensor<float, 2> lse({count, heads});
  Tensor<float, 2> key_pages({sequences * per_sequence * page, cache.Width()});
  Tensor<int32_t, 1> row_sequence({count}), row_length({count});
  Tensor<int32_t, 2> pages({sequences, per_sequence});
  std::vector<int64_t> ids;
  std::vector<int64_t> reach(static_cast<size_t>(sequences), 0);
  for (size_t m = 0; m < rows.size(); ++m) {
    ids.push_back(rows[m].first * 100 + rows[m].second);
    row_sequence.at(static_cast<int64_t>(m)) = static_cast<int32_t>(rows[m].first);
    row_length.at(static_cast<int64_t>(m)) = static_cast<int32_t>(rows[m].second);
    int64_t& so_far = reach[static_cast<size_t>(rows[m].first)];
    so_far = std::max(so_far, rows[m].second);
  }
  FillRows(q, ids, heads * cache.key_width, 1);
  pages.Fill(Poison<int32_t>());
  for (int64_t b = 0; b < sequences; ++b) {
    KeyedRandom random = TestRandom(static_cast<uint64_t>(b) + 50);
    for (int64_t i = 0; i < longest; ++i) {
      // Only what is in the cache by then: keys past the longest row of this call stay NaN.
      const int64_t place = (i / page * 5 + b + static_cast<int64_t>(page_salt)) % per_sequence;
      const int64_t row = (b * per_sequence + place) * page + i % page;
      for (int64_t c = 0; c < cache.Width(); ++c) {
        const float value = static_cast<float>(random.Normal());
        if (i < reach[static_cast<size_t>(b)]) key_pages.row(row)[c] = value;
      }
      if (i < reach[static_cast<size_t>(b)]) {
        pages.row(b)[i / page] = static_cast<int32_t>(b * per_sequence + place);
      }
    }
  }
  t.attention(nullptr, {cache, q.view(), row_sequence.view(), row_length.view(), pages.view(),
                        key_pages.view(), static_cast<int32_t>(page), static_cast<int32_t>(longest),
                        0.3f, out.view(), lse.view()});
  std::vector<Bits> bits;
  for (int64_t m = 0; m < count; ++m) {
    bits.push_back(BitsOf(out, m, heads * cache.value_width));
    const Bits more = BitsOf(lse, m, heads);
    bits.back().insert(bits.back().end(), more.begin(), more.end());
    for (uint32_t word : bits.back()) {
      float value;
      std::memcpy(&value, &word, sizeof(value));
      EXPECT_TRUE(std::isfinite(value)) << t.name;
    }
  }
  return bits;
}

TEST(RowBits, OfAttentionAreThoseOfDecodeInPrefillScoringAndAnyBatchOrPaging) {
  std::vector<std::pair<int64_t, int64_t>> everything;
  for (int64_t b = 0; b < 4; ++b) {
    for (int64_t length = 1; length <= 17 + 15 * b; ++length) everything.push_back({b, length});
  }
  for (const BackendInfo& info : ListBackends()) {
    if (!info.runs_here) continue;
    const Table& t = *FindBackend(info.name)->table;
    for (const CacheRow& cache : {CacheRow{1, 9, 3, 0}, CacheRow{1, 71, 65, 0},
                                  CacheRow{2, 16, 16, 32}, CacheRow{6, 5, 7, 30}}) {
      const std::vector<Bits> want = Attend(t, everything, cache, 0);
      for (size_t m = 0; m < everything.size(); m += 3) {  // one at a time
        ASSERT_EQ(Attend(t, {everything[m]}, cache, 1)[0], want[m]) << info.name << " row " << m;
      }
      std::vector<std::pair<int64_t, int64_t>> shuffled;  // decode rows of mixed sequences
      std::vector<size_t> source;
      for (size_t i = 0; i < everything.size(); ++i) {
        source.push_back(i * 31 % everything.size());
        shuffled.push_back(everything[source.back()]);
      }
      const std::vector<Bits> got = Attend(t, shuffled, cache, 2);
      for (size_t i = 0; i < shuffled.size(); ++i) {
        ASSERT_EQ(got[i], want[source[i]]) << info.name << " shuffled row " << i;
      }
    }
  }
}

}  // namespace
}  // namespace hone::kernels
