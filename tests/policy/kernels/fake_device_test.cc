// SPDX-License-Identifier: Apache-2.0
#include "tests/policy/fake_device.h"

#include "tests/policy/kernels/kernel_testing.h"

namespace hone::kernels {
namespace {

TEST(FakeDevice, RunsKernelsAndCopiesAndStopsEverythingElse) {
  const Backend backend = MakeFakeBackend(ReferenceTable());
  absl::StatusOr<Buffer> x = Buffer::Allocate(*backend.device, 3 * sizeof(float));
  absl::StatusOr<Buffer> y = Buffer::Allocate(*backend.device, 3 * sizeof(float));
  ASSERT_TRUE(x.ok() && y.ok());
  const float ones[3] = {1, 2, 3};
  backend.device->CopyIn(x->data(), ones, sizeof(ones), nullptr);
  backend.device->CopyWithin(y->data(), x->data(), sizeof(ones), nullptr);
  backend.table->accumulate(
      nullptr, {View<const float, 1>(x->as<float>(), {3}), View<float, 1>(y->as<float>(), {3})});
  float out[3] = {};
  backend.device->CopyOut(out, y->data(), sizeof(out), nullptr);
  EXPECT_EQ(out[0], 2.0f);
  EXPECT_EQ(out[2], 6.0f);
  EXPECT_DEATH({ [[maybe_unused]] volatile float stray = *y->as<float>(); }, "");
}

TEST(FakeDevice, WrapsEveryEntryOfTheTable) {
  const Backend backend = MakeFakeBackend(ReferenceTable());
  const size_t entries = sizeof(KernelTable<float>) / sizeof(void*);
  const char* bytes = reinterpret_cast<const char*>(backend.table);
  for (size_t i = 0; i < entries; ++i) {
    void* entry;
    std::memcpy(&entry, bytes + i * sizeof(void*), sizeof(void*));
    EXPECT_NE(entry, nullptr) << "entry " << i;
  }
}

TEST(KernelTable, OfEveryBackendIsComplete) {
  for (const BackendInfo& info : ListBackends()) {
    if (!info.runs_here) continue;
    const char* bytes = reinterpret_cast<const char*>(FindBackend(info.name)->table);
    for (size_t i = 0; i < sizeof(KernelTable<float>) / sizeof(void*); ++i) {
      void* entry;
      std::memcpy(&entry, bytes + i * sizeof(void*), sizeof(void*));
      EXPECT_NE(entry, nullptr) << info.name << " entry " << i;
    }
  }
}

}  // namespace
}  // namespace hone::kernels
