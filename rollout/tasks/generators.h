// SPDX-License-Identifier: Apache-2.0
//
// The procedural generators and traces there are. Each reads its own options; mistakes stay in
// the reader until Finish, so a Make function always returns something.
#ifndef HONE_ROLLOUT_TASKS_GENERATORS_H_
#define HONE_ROLLOUT_TASKS_GENERATORS_H_

#include <memory>
#include <string>
#include <vector>

#include "rollout/tasks/problems.h"

namespace hone {

std::unique_ptr<Problems> MakeMiniCountdown(OptionReader& options);
std::unique_ptr<Problems> MakeRunningSum(OptionReader& options);
std::unique_ptr<Problems> MakeParity(OptionReader& options);
std::unique_ptr<Problems> MakeChainSum(OptionReader& options);
std::unique_ptr<Problems> MakeGcd(OptionReader& options);
std::unique_ptr<Problems> MakeLcm(OptionReader& options);
std::unique_ptr<Problems> MakeCountdown(OptionReader& options);
std::unique_ptr<Problems> MakeSpellBackward(OptionReader& options);
std::unique_ptr<Problems> MakeProducts(OptionReader& options);
std::unique_ptr<Problems> MakeCountBits(OptionReader& options);
std::unique_ptr<Problems> MakeTinyPrograms(OptionReader& options);

// Writes a completion for a problem: a trace to pretrain on. Immutable, thread-safe.
class Traces {
 public:
  virtual ~Traces() = default;
  // The problems to write about, where they do not come from the generator; else null.
  virtual const Problems* own_problems() const { return nullptr; }
  // "plain", or the template that prompts are wrapped in.
  virtual std::string template_name() const { return "plain"; }
  virtual std::string Write(const Problem& problem, KeyedRandom& random) const = 0;
};

std::unique_ptr<Traces> MakeMiniCountdownTraces(OptionReader& options);
std::unique_ptr<Traces> MakeRunningSumTraces(OptionReader& options);  // parity too
std::unique_ptr<Traces> MakeChainSumTraces(OptionReader& options);
std::unique_ptr<Traces> MakeCountdownTraces(OptionReader& options);
std::unique_ptr<Traces> MakeTinyProgramTraces(OptionReader& options);

// Every word of prompts and traces. `options` are the generator's.
std::vector<std::string> MiniCountdownWords(OptionReader& options);
std::vector<std::string> RunningSumWords(OptionReader& options);
std::vector<std::string> ParityWords(OptionReader& options);
std::vector<std::string> ChainSumWords(OptionReader& options);
std::vector<std::string> TinyProgramWords(OptionReader& options);

}  // namespace hone

#endif  // HONE_ROLLOUT_TASKS_GENERATORS_H_
