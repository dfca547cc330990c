// SPDX-License-Identifier: Apache-2.0
//
// How before and after read: a summary, then the trajectories that changed most.
#ifndef HONE_SERVICES_CLI_OUTCOME_TABLE_H_
#define HONE_SERVICES_CLI_OUTCOME_TABLE_H_

#include <cstdint>

#include "services/cli/jsonl.h"
#include "services/replay/outcomes.h"

namespace hone::cli {

Json OutcomesJson(const OutcomeSummary& summary, int64_t limit);
// `limit` rows of changed trajectories. Text from outside is made safe for a terminal.
void PrintOutcomes(const OutcomeSummary& summary, int64_t limit);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_OUTCOME_TABLE_H_
