// SPDX-License-Identifier: Apache-2.0
//
// What kernels stand on: scalar exp and log, device memory, backend names.
#include <cfloat>

#include "policy/kernels/scalar_math.h"
#include "policy/tensor/device.h"
#include "tests/policy/kernels/kernel_testing.h"

namespace hone::kernels {
namespace {

TEST(ScalarMath, ExpAndLogAreWithinTwoUnitsOfLibm) {
  KeyedRandom random = TestRandom(1);
  for (int i = 0; i < 100000; ++i) {
    const double x = (random.Uniform() - 0.5) * 1400;
    EXPECT_NEAR(Exp(x) / std::exp(x), 1.0, 4.5e-16) << x;
    const double y = std::exp(x);
    const double want = std::log(y);
    EXPECT_NEAR(Log(y), want, 4.5e-16 * std::abs(want)) << y;
    const double near_one = 1 + (random.Uniform() - 0.5) * 1e-3;
    EXPECT_NEAR(Log(near_one), std::log(near_one), 4.5e-16 * std::abs(std::log(near_one)));
  }
}

TEST(ScalarMath, HandlesTheEdgesOfDouble) {
  EXPECT_EQ(Exp(0.0), 1.0);
  EXPECT_EQ(Log(1.0), 0.0);
  EXPECT_EQ(Exp(-INFINITY), 0.0);
  EXPECT_EQ(Exp(1e6), INFINITY);
  EXPECT_EQ(Log(0.0), -INFINITY);
  EXPECT_EQ(Log(static_cast<double>(INFINITY)), INFINITY);
  EXPECT_TRUE(std::isnan(Exp(static_cast<double>(NAN))));
  EXPECT_TRUE(std::isnan(Log(-1.0)));
  EXPECT_NEAR(Log(5e-324), -744.4400719213812, 1e-12);
  EXPECT_NEAR(Exp(-740.0) / std::exp(-740.0), 1.0, 1e-2);  // subnormal
  EXPECT_EQ(Exp(-1000.0f), 0.0f);
}

TEST(ScalarMath, RoundsToBf16NearestEven) {
  EXPECT_EQ(RoundToBf16(1.0f), 1.0f);
  EXPECT_EQ(RoundToBf16(1.0f + 0x1p-8f), 1.0f);  // a tie goes to even
  EXPECT_EQ(RoundToBf16(1.0f + 3 * 0x1p-8f), 1.0f + 0x1p-6f);
  EXPECT_EQ(RoundToBf16(1.0f + 0x1p-8f + 0x1p-20f), 1.0f + 0x1p-7f);
  EXPECT_EQ(RoundToBf16(INFINITY), INFINITY);
  EXPECT_TRUE(std::isnan(RoundToBf16(NAN)));
}

TEST(Buffer, MovesItsMemoryAndFreesItOnce) {
  absl::StatusOr<Buffer> buffer = Buffer::Allocate(HostDevice(), 100);
  ASSERT_TRUE(buffer.ok());
  void* data = buffer->data();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
  Buffer other = *std::move(buffer);
  EXPECT_EQ(other.data(), data);
  EXPECT_EQ(other.bytes(), 100u);
}

TEST(Buffer, SaysHowMuchWasAskedWhenThereIsNoMemory) {
  const absl::StatusOr<Buffer> buffer = Buffer::Allocate(HostDevice(), size_t{1} << 60);
  ASSERT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(buffer.status().message().find("1152921504606846976 bytes"), std::string::npos);
}

TEST(Arena, GivesAlignedDisjointMemoryAndKeepsItOverReset) {
  Arena arena(HostDevice());
  for (int pass = 0; pass < 3; ++pass) {
    std::vector<std::pair<char*, size_t>> pieces;
    for (size_t bytes : {1u, 63u, 64u, 5000u, 3000000u, 17u}) {
      char* piece = static_cast<char*>(arena.AllocateBytes(bytes));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % 64, 0u);
      std::memset(piece, static_cast<int>(pieces.size()), bytes);
      pieces.push_back({piece, bytes});
    }
    for (size_t i = 0; i < pieces.size(); ++i) {
      EXPECT_EQ(pieces[i].first[0], static_cast<char>(i));
      EXPECT_EQ(pieces[i].first[pieces[i].second - 1], static_cast<char>(i));
    }
    arena.Reset();
  }
  const size_t reserved = arena.bytes_reserved();
  arena.AllocateBytes(1000000);
  EXPECT_EQ(arena.bytes_reserved(), reserved);
}

TEST(FindBackend, RefusesAnUnknownNameAndListsWhatThereIs) {
  const absl::StatusOr<Backend> backend = FindBackend("abacus");
  ASSERT_EQ(backend.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(backend.status().message().find("reference"), std::string::npos);
}

TEST(FindBackend, AutoIsTheFirstThatRunsHere) {
  const absl::StatusOr<Backend> best = FindBackend("auto");
  ASSERT_TRUE(best.ok());
  for (const BackendInfo& info : ListBackends()) {
    EXPECT_EQ(info.runs_here, info.why_not.empty());
    if (!info.runs_here) {
      EXPECT_EQ(FindBackend(info.name).status().code(), absl::StatusCode::kFailedPrecondition);
    }
  }
  for (const BackendInfo& info : ListBackends()) {
    if (!info.runs_here) continue;
    EXPECT_EQ(best->name, info.name);
    break;
  }
  EXPECT_EQ(FindBackend("reference")->table, &ReferenceTable());
}

}  // namespace
}  // namespace hone::kernels
