// SPDX-License-Identifier: Apache-2.0
//
// The model on a device whose memory cannot be touched outside kernels and copies: the learner's
// pass and the decode engine run on it, so neither dereferences a device pointer.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <vector>

#include "policy/model/decode_engine.h"
#include "policy/model/packed_pass.h"
#include "tests/policy/model/tiny_models.h"

namespace hone {
namespace {

class GuardedDevice : public Device {
 public:
  // While one lives, memory can be touched.
  class Window {
   public:
    explicit Window(GuardedDevice& device) : device_(device) {
      device_.Protect(PROT_READ | PROT_WRITE);
    }
    ~Window() { device_.Protect(PROT_NONE); }

   private:
    GuardedDevice& device_;
  };

  static GuardedDevice& Get() {
    static GuardedDevice device;
    return device;
  }

  const char* name() const override { return "guarded"; }
  void* Allocate(size_t bytes) override {
    const size_t size = (bytes + 4095) / 4096 * 4096;
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    std::memset(memory, 0xFF, size);  // unread memory is NaN
    mprotect(memory, size, PROT_NONE);
    regions_[memory] = size;
    return memory;
  }
  void Free(void* pointer) override {
    munmap(pointer, regions_[pointer]);
    regions_.erase(pointer);
  }
  void CopyIn(void* to, const void* from, size_t bytes, Stream*) override { Copy(to, from, bytes); }
  void CopyOut(void* to, const void* from, size_t bytes, Stream*) override {
    Copy(to, from, bytes);
  }
  void CopyWithin(void* to, const void* from, size_t bytes, Stream*) override {
    Copy(to, from, bytes);
  }
  void Zero(void* to, size_t bytes, Stream*) override {
    const Window window(*this);
    std::memset(to, 0, bytes);
  }
  void Synchronize(Stream*) override {}

 private:
  void Copy(void* to, const void* from, size_t bytes) {
    const Window window(*this);
    std::memcpy(to, from, bytes);
  }
  void Protect(int how) {
    for (const auto& [memory, size] : regions_) ASSERT_EQ(mprotect(memory, size, how), 0);
  }

  std::map<void*, size_t> regions_;
};

// The reference table, each kernel inside a window.
using Table = kernels::KernelTable<float>;

template <auto kMember, typename Args>
void GuardAs(Table& table, kernels::Kernel<Args>) {
  table.*kMember = [](Stream* stream, const Args& args) {
    const GuardedDevice::Window window(GuardedDevice::Get());
    (kernels::ReferenceTable().*kMember)(stream, args);
  };
}

template <auto... kMembers>
void Guard(Table& table) {
  (GuardAs<kMembers>(table, table.*kMembers), ...);
}

Table GuardedTable() {
  Table t = kernels::ReferenceTable();
  Guard<&Table::embedding, &Table::embedding_backward, &Table::rmsnorm, &Table::rmsnorm_backward,
        &Table::pack, &Table::matmul, &Table::weight_grad, &Table::rope, &Table::cache_append,
        &Table::attention, &Table::attention_backward, &Table::swiglu, &Table::swiglu_backward,
        &Table::add, &Table::route, &Table::route_backward, &Table::balance_loss,
        &Table::route_count, &Table::moe_plan, &Table::moe_gather, &Table::grouped_matmul,
        &Table::grouped_weight_grad, &Table::moe_combine, &Table::moe_weigh, &Table::moe_scatter,
        &Table::sample, &Table::logprob, &Table::logprob_backward, &Table::decode_advance>(t);
  return t;
}

TEST(GuardedDevice, RunsLearningAndDecodingWithTheSameBits) {
  GuardedDevice& device = GuardedDevice::Get();
  const Table table = GuardedTable();
  const auto host = MakeModel<float>(TinyV3(), kernels::ReferenceTable());
  const auto guarded = MakeModel<float>(TinyV3(), table, device);
  ASSERT_NE(guarded, nullptr);
  const size_t size = static_cast<size_t>(host->registry().flat_elements());
  const std::vector<TokenId> tokens = RandomTokens(12, 37, 3);
  const PackedSequence sequence = {tokens, 1, nullptr};
  PackedOptions options;
  options.vocabulary = 37;
  options.keep_for_backward = options.want_argmax = options.want_routes = true;
  PackedPass<float>::Gradients gradients;
  gradients.d_logprobs = {std::vector<float>(12, 1.0f)};
  gradients.balance_alpha = {0.1f};

  std::vector<float> expected(size, 0.0f), got(size);
  PackedPass<float> host_pass(*host), guarded_pass(*guarded);
  const PackedResult<float> want = host_pass.Forward({&sequence, 1}, options);
  const PackedResult<float> have = guarded_pass.Forward({&sequence, 1}, options);
  for (size_t t = 1; t < 12; ++t) EXPECT_EQ(have.logprobs[0][t], want.logprobs[0][t]);
  EXPECT_EQ(have.routes[0].experts, want.routes[0].experts);
  EXPECT_EQ(guarded_pass.ExpertCounts(), host_pass.ExpertCounts());
  Buffer gradient = *Buffer::Allocate(device, size * sizeof(float));
  device.Zero(gradient.data(), size * sizeof(float), nullptr);
  EXPECT_EQ(guarded_pass.Backward(gradients, gradient.as<float>()),
            host_pass.Backward(gradients, expected.data()));
  device.CopyOut(got.data(), gradient.data(), size * sizeof(float), nullptr);
  EXPECT_EQ(got, expected);

  GenerateRequest request;
  request.prompt = {1, 2, 3, 4, 5};
  request.n = 3;
  request.sampling.max_tokens = 10;
  std::vector<std::vector<TokenId>> completions;
  for (const Model<float>* model : {host.get(), guarded.get()}) {
    DecodeEngine engine(*model, {37, 2, 4, 0});
    const absl::Status status = engine.Generate({&request, 1}, 0, [&](GenerateChunk chunk) {
      completions.push_back(chunk.tokens);
      return true;
    });
    EXPECT_TRUE(status.ok()) << status;
  }
  ASSERT_EQ(completions.size(), 6u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(completions[i], completions[i + 3]);
}

TEST(GuardedDeviceDeathTest, StopsAStrayRead) {
  Buffer buffer = *Buffer::Allocate(GuardedDevice::Get(), 64);
  EXPECT_DEATH(
      {
        volatile float value = *buffer.as<float>();
        (void)value;
      },
      "");
}

}  // namespace
}  // namespace hone
