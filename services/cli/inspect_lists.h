// SPDX-License-Identifier: Apache-2.0
//
// hone inspect's lists: trajectories and groups of a run, filtered, sorted, in pages.
#ifndef HONE_SERVICES_CLI_INSPECT_LISTS_H_
#define HONE_SERVICES_CLI_INSPECT_LISTS_H_

#include <cstdint>
#include <string>

#include "rollout/store/store.h"
#include "services/cli/command.h"

namespace hone::cli {

struct ListFlags {
  std::string filter;     // rollout/store/row_filter.h
  int64_t iteration = 0;  // further conditions, here and below; 0: any
  std::string outcome, source;
  std::string search;  // an FTS5 query
  std::string sort = "iteration";
  bool ascending = false;
  int64_t limit = 10, offset = 0;
};

// Both print and return the exit code. Texts from the store reach the terminal through Sanitise.
int ListTrajectories(Store& store, const ListFlags& flags, const Globals& globals);
// A group is listed when one of its completions matches.
int ListGroups(Store& store, const ListFlags& flags, const Globals& globals);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_INSPECT_LISTS_H_
