// SPDX-License-Identifier: Apache-2.0
//
// Groups on their way into the store. They are written beside the work that makes them and learns
// from them: a thread takes whatever has arrived and puts it in one transaction, so that many
// short groups share a commit and a long one is stored as soon as it is there.
#ifndef HONE_ROLLOUT_STORE_STORE_WRITER_H_
#define HONE_ROLLOUT_STORE_STORE_WRITER_H_

#include <memory>

#include "absl/status/status.h"
#include "rollout/store/store.h"

namespace hone {

// Thread-safe. The store must outlive it.
class StoreWriter {
 public:
  explicit StoreWriter(Store& store);
  ~StoreWriter();  // what was put and can be written is written

  // Waits while kMaxQueued groups are on their way.
  void Put(Group group);

  // Waits until every group put so far is in the store. The first error since the last Flush;
  // after it the groups put behind the failed ones are not stored either, so stop and resume.
  absl::Status Flush();

  double waited_seconds() const;  // what Put and Flush have cost their callers

  static constexpr size_t kMaxQueued = 1024;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_STORE_WRITER_H_
