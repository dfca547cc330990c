// SPDX-License-Identifier: Apache-2.0
//
// sandbox_bench [RUNS [CALLERS [python|true]]]: isolated runs a second, in ten windows, and what a
// long row of them leaves behind: memory, descriptors, mounts, control groups.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "verifier/sandbox/read_file.h"
#include "verifier/sandbox/sandbox.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
constexpr int kWindows = 10;

// A small solution with the imports that such programs begin with.
constexpr char kSolution[] = R"(
import sys, math, re, random, time, json
from collections import *
from heapq import *
from bisect import *
from itertools import *
from functools import *
from string import *
from operator import *
from copy import *
from datetime import *
from statistics import *
from fractions import *
from decimal import *
from typing import *
from io import *
def solve():
    n = int(input())
    values = list(map(int, input().split()))
    seen = Counter(values)
    print(n, sum(values), max(seen.values()))
solve()
)";

// By read: a stream throws where a process dies between open and read.
long Count(const std::string& folder) {
  std::error_code error;
  return std::distance(fs::directory_iterator(folder, error), fs::directory_iterator());
}

std::string Field(const std::string& path, const std::string& key) {
  const std::string text = ReadFile(path);
  const size_t at = text.find(key);
  return at == std::string::npos ? "?" : text.substr(at, text.find('\n', at) - at);
}

void PrintFootprint(const char* when) {
  std::string spawner;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    if (std::atoi(entry.path().filename().c_str()) == 0) continue;
    const std::string stat = ReadFile(entry.path().string() + "/stat");
    if (absl::StrContains(stat, absl::StrCat("(hone-sandbox) S ", getpid(), " "))) {
      spawner = entry.path().string();
    }
  }
  // The kernel's own count: it knows groups that are removed and yet not gone.
  const std::vector<std::string> groups = absl::StrSplit(Field("/proc/cgroups", "memory"), '\t');
  const std::string mounts = ReadFile("/proc/self/mountinfo") + ReadFile(spawner + "/mountinfo");
  std::printf(
      "%s: service %s, %ld descriptors; spawner %s, %ld descriptors; %ld mounts, "
      "%s memory control groups\n",
      when, Field("/proc/self/status", "VmRSS").c_str(), Count("/proc/self/fd"),
      Field(spawner + "/status", "VmRSS").c_str(), Count(spawner + "/fd"),
      static_cast<long>(std::count(mounts.begin(), mounts.end(), '\n')),
      groups.size() > 2 ? groups[2].c_str() : "?");
}

// Returns runs a second.
double Window(Sandbox* sandbox, const SandboxProgram& program, int runs, int callers,
              std::atomic<int64_t>* cpu_us) {
  std::atomic<int> left{runs};
  std::vector<std::thread> threads;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < callers; ++i) {
    threads.emplace_back([&] {
      while (left.fetch_sub(1) > 0) {
        const auto report = sandbox->Run(program);
        if (!report.ok() || report->ending != SandboxEnding::kExited || report->exit_code != 0) {
          std::fprintf(
              stderr, "a run failed: %s\n",
              report.ok() ? report->stderr_bytes.c_str() : report.status().ToString().c_str());
          std::exit(1);
        }
        *cpu_us += report->cpu_us;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return runs / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int Main(int argc, char** argv) {
  const int runs = argc > 1 ? std::atoi(argv[1]) : 2000;
  const int callers = argc > 2 ? std::atoi(argv[2]) : 4;
  SandboxProgram program;
  if (argc > 3 && std::string(argv[3]) == "true") {
    program.argv = {"/bin/true"};
  } else {
    program.python_source = kSolution;
    program.stdin_bytes = "5\n3 1 4 1 5\n";
  }
  SandboxOptions options;
  options.slots = callers;
  options.runs_per_spawner = int64_t{1} << 40;  // it is this one's growth that is asked about
  auto sandbox = StartSandbox(options);
  if (!sandbox.ok()) {
    std::fprintf(stderr, "%s\n", sandbox.status().ToString().c_str());
    return 1;
  }
  std::atomic<int64_t> cpu_us{0};
  Window(sandbox->get(), program, 100, callers, &cpu_us);
  PrintFootprint("before");
  cpu_us = 0;
  std::vector<double> rates;
  for (int i = 0; i < kWindows; ++i) {
    rates.push_back(Window(sandbox->get(), program, runs / kWindows, callers, &cpu_us));
  }
  PrintFootprint("after");
  std::sort(rates.begin(), rates.end());
  std::printf(
      "%d runs, %d callers: best %.0f, median %.0f, worst %.0f runs/s; CPU of the program "
      "itself %.2f ms\n",
      runs, callers, rates.back(), rates[kWindows / 2], rates.front(),
      static_cast<double>(cpu_us) / 1000 / (runs / kWindows * kWindows));
  return 0;
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) {
  return hone::Main(argc, argv);
}
