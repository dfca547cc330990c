// SPDX-License-Identifier: Apache-2.0
//
// A device for tests whose memory nobody can touch except kernels and copies: it is PROT_NONE at
// all other times, so a stray read by model code stops the test at the very instruction.
// Wraps the kernels of a host backend. Header only, so that any test program can use it.
#ifndef HONE_TESTS_POLICY_FAKE_DEVICE_H_
#define HONE_TESTS_POLICY_FAKE_DEVICE_H_

#include <sys/mman.h>

#include <cassert>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "absl/strings/str_cat.h"
#include "policy/kernels/backend.h"

namespace hone::kernels {

class FakeDevice final : public Device {
 public:
  // One for the process; its memory is one region of address space, opened and closed at once.
  static FakeDevice& Get() {
    static FakeDevice* const device = new FakeDevice;
    return *device;
  }

  // Opens the region while it lives; nests, and may be used by several threads.
  class Open {
   public:
    Open() { Get().Enter(); }
    ~Open() { Get().Leave(); }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
  };

  const char* name() const override { return "fake"; }
  void* Allocate(size_t bytes) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t size = (bytes / kPage + 2) * kPage;  // at least one page past the end
    auto reusable = free_.find(size);
    if (reusable != free_.end()) {
      char* data = reusable->second;
      free_.erase(reusable);
      live_[data] = size;
      return data;
    }
    if (size > kRegionBytes - used_) return nullptr;
    char* data = region_ + used_;
    used_ += size;
    live_[data] = size;
    return data;
  }
  void Free(void* pointer) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto it = live_.find(static_cast<char*>(pointer));
    assert(it != live_.end() && "freed twice, or never allocated here");
    free_.insert({it->second, it->first});
    live_.erase(it);
  }
  void CopyIn(void* to, const void* from, size_t bytes, Stream*) override {
    assert(Owns(to) && !Owns(from));
    const Open open;
    std::memcpy(to, from, bytes);
  }
  void CopyOut(void* to, const void* from, size_t bytes, Stream*) override {
    assert(!Owns(to) && Owns(from));
    const Open open;
    std::memcpy(to, from, bytes);
  }
  void CopyWithin(void* to, const void* from, size_t bytes, Stream*) override {
    assert(Owns(to) && Owns(from));
    const Open open;
    std::memmove(to, from, bytes);
  }
  void Zero(void* to, size_t bytes, Stream*) override {
    assert(Owns(to));
    const Open open;
    std::memset(to, 0, bytes);
  }
  void Synchronize(Stream*) override {}

  bool Owns(const void* pointer) const {
    const char* p = static_cast<const char*>(pointer);
    return p >= region_ && p < region_ + kRegionBytes;
  }
  size_t live_buffers() const { return live_.size(); }

 private:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kRegionBytes = size_t{1} << 30;  // of address space, not of memory

  FakeDevice() {
    void* region =
        mmap(nullptr, kRegionBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert(region != MAP_FAILED);
    region_ = static_cast<char*>(region);
  }
  void Enter() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (open_++ == 0) Protect(PROT_READ | PROT_WRITE);
  }
  void Leave() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--open_ == 0) Protect(PROT_NONE);
  }
  void Protect(int protection) {
    const int failed = used_ == 0 ? 0 : mprotect(region_, used_, protection);
    assert(failed == 0);
    (void)failed;
  }

  std::mutex mutex_;
  char* region_ = nullptr;
  size_t used_ = 0;
  int open_ = 0;
  std::map<char*, size_t> live_;
  std::multimap<size_t, char*> free_;
};

namespace fake {

inline const KernelTable<float>*& Inner() {
  static const KernelTable<float>* inner = nullptr;
  return inner;
}

template <auto member, typename Args>
void Guarded(Stream* stream, const Args& args) {
  const FakeDevice::Open open;
  (Inner()->*member)(stream, args);
}

template <auto member, typename Args>
void Wrap(Kernel<Args> KernelTable<float>::*, KernelTable<float>* table) {
  table->*member = &Guarded<member, Args>;
}
template <auto... members>
void WrapAll(KernelTable<float>* table) {
  (Wrap<members>(members, table), ...);
}

}  // namespace fake

// A backend on the fake device with `inner`'s kernels. One inner table at a time.
inline Backend MakeFakeBackend(const KernelTable<float>& inner) {
  using T = KernelTable<float>;
  static T table;
  fake::Inner() = &inner;
  table.name = "fake";
  table.packed_size = inner.packed_size;
  fake::WrapAll<&T::embedding, &T::embedding_backward, &T::rmsnorm, &T::rmsnorm_backward, &T::pack,
                &T::matmul, &T::weight_grad, &T::merge, &T::rope, &T::cache_append, &T::attention,
                &T::attention_backward, &T::swiglu, &T::swiglu_backward, &T::add, &T::route,
                &T::route_backward, &T::balance_loss, &T::route_count, &T::moe_plan, &T::moe_gather,
                &T::grouped_matmul, &T::grouped_weight_grad, &T::moe_combine, &T::moe_weigh,
                &T::moe_scatter, &T::sample, &T::logprob, &T::logprob_backward, &T::decode_advance,
                &T::accumulate, &T::sum_squares, &T::adamw>(&table);
  Backend backend;
  backend.name = absl::StrCat("fake/", inner.name);
  backend.id = backend.name;
  backend.device = &FakeDevice::Get();
  backend.table = &table;
  return backend;
}

}  // namespace hone::kernels

#endif  // HONE_TESTS_POLICY_FAKE_DEVICE_H_
