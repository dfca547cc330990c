// SPDX-License-Identifier: Apache-2.0
//
// A fixed team of threads. Who computes never changes what is computed: callers cut the work into
// pieces that do not depend on the team's size.
#ifndef HONE_POLICY_PARALLEL_H_
#define HONE_POLICY_PARALLEL_H_

#include <cstdint>
#include <functional>
#include <memory>

namespace hone {

class ThreadTeam {
 public:
  // threads >= 1; the caller of Run is one of them.
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int threads() const { return threads_; }

  // Calls work(piece, thread) for every piece in [0, pieces), each exactly once, and returns when
  // all are done. thread in [0, threads()) names the runner, for per-thread scratch. Pieces are
  // taken in ascending order by whoever is free. Calls from several threads take turns.
  void Run(int pieces, const std::function<void(int piece, int thread)>& work);

  // To be called inside a piece: work(first, count) for ranges that together are [0, items), each
  // item once, here and on the threads of this team that have no piece left; returns when all are
  // done. How the items are cut depends on who is free, so no result may depend on it; ranges have
  // at least `grain` items, but for the last. Outside a piece, or with nobody free, one call for
  // all. `work` calls no Share.
  static void Share(int64_t items, int64_t grain,
                    const std::function<void(int64_t first, int64_t count)>& work);

 private:
  struct State;
  int threads_;
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_POLICY_PARALLEL_H_
