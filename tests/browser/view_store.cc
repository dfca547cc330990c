// SPDX-License-Identifier: Apache-2.0
//
// Makes the runs that view_browser.py looks at, or that speeds are measured on:
//   view_store RUN                 hostile texts, two evaluations, a trace of 32,000 tokens
//   view_store RUN ITERATIONS      as many iterations of 100 groups of 10
//   view_store RUN grow            as the first, then an iteration for each line read
#include <cstdlib>
#include <iostream>
#include <string>

#include "tests/services/view/view_run.h"

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  hone::view::ViewRun run(argv[1], "<b>run</b>");
  const std::string what = argc > 2 ? argv[2] : "";
  const int iterations = std::atoi(what.c_str());
  if (iterations > 0) {
    for (int i = 0; i < iterations; ++i) run.AddIteration(100, 10);
    run.End();
    return 0;
  }
  run.AddIteration(22, 4);
  run.AddIteration(6, 4);
  run.AddLongTrace(32000);
  run.AddIteration(6, 4);
  run.AddEvaluation(0, "held", {true, false, false, false, false, false, false, true});
  run.AddEvaluation(3, "held", {true, true, true, true, true, true, true, false});
  std::string line;
  if (what == "grow") {
    std::cout << "ready" << std::endl;
    while (std::getline(std::cin, line)) {
      run.AddIteration(4, 4);
      std::cout << "added" << std::endl;
    }
  }
  run.End();
  return 0;
}
