// SPDX-License-Identifier: Apache-2.0
//
// tokenizer_bench MODEL FILE...: megabytes a second of CPU time that one thread encodes, each file
// as one text and line by line; the best of three. MODEL holds a tokenizer.json.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "policy/tokenizer/tokenizer.h"

namespace hone {
namespace {

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Seconds for all of `texts`; negative when one cannot be encoded.
double BestOfThree(const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  double best = 1e30;
  for (int round = 0; round < 3; ++round) {
    const double begin = CpuSeconds();
    for (const std::string& text : texts) {
      const auto ids = tokenizer.Encode(text);
      if (ids.ok()) continue;
      std::fprintf(stderr, "%s\n", ids.status().ToString().c_str());
      return -1;
    }
    best = std::min(best, CpuSeconds() - begin);
  }
  return best;
}

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    lines.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return lines;
}

int Run(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "usage: tokenizer_bench MODEL FILE...\n");
    return 2;
  }
  const double begin = CpuSeconds();
  const auto tokenizer = ReadTokenizer(arguments[1]);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
    return 1;
  }
  std::printf("load %.3f s\n", CpuSeconds() - begin);
  for (int i = 2; i < count; ++i) {
    std::ifstream in(arguments[i], std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const double whole = BestOfThree(**tokenizer, {text});
    const double lines = BestOfThree(**tokenizer, LinesOf(text));
    if (whole < 0 || lines < 0) return 1;
    const double megabytes = static_cast<double>(text.size()) * 1e-6;
    std::printf("%s: %.1f MB/s whole, %.1f MB/s by lines\n", arguments[i], megabytes / whole,
                megabytes / lines);
  }
  return 0;
}

}  // namespace
}  // namespace hone

int main(int count, char** arguments) {
  return hone::Run(count, arguments);
}
