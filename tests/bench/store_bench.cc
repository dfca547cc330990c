// SPDX-License-Identifier: Apache-2.0
//
// store_bench RUN/store.sqlite [BATCH [PASSES]]: reads groups and iteration records of a run's
// store and puts them into a new one, BATCH groups a transaction; prints the CPU time of a
// trajectory, best of PASSES (5).
//
// store_bench --text FILE TOKENIZER_DIR [TRAJECTORIES [TOKENS]]: puts so many (1,000) trajectories
// of so many (2,000) tokens, cut from a text, in groups of eight, with logprobs and entropies drawn
// at random; prints CPU seconds, the full-text index included, and bytes a token.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/tokenizer.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}

struct Iteration {
  std::vector<Group> groups;
  IterationRecord record;
};

absl::Status PutIteration(Store& store, const Iteration& iteration, size_t batch) {
  for (size_t i = 0; i < iteration.groups.size(); i += batch) {
    const size_t count = std::min(batch, iteration.groups.size() - i);
    const absl::Status status = store.PutGroups(absl::MakeConstSpan(&iteration.groups[i], count));
    if (!status.ok()) return status;
  }
  return store.PutIteration(iteration.record);
}

absl::StatusOr<Iteration> ReadIteration(Store& store, int64_t number) {
  Iteration iteration;
  const auto summaries = store.Groups(number, number);
  if (!summaries.ok()) return summaries.status();
  for (const GroupSummary& summary : *summaries) {
    auto group = store.GetGroup(summary.id);
    if (!group.ok()) return group.status();
    iteration.groups.push_back(**std::move(group));
  }
  iteration.record.iteration = number;
  auto updates = store.Updates(number);
  if (!updates.ok()) return updates.status();
  iteration.record.updates = *std::move(updates);
  auto metrics = store.Metrics(number);
  if (!metrics.ok()) return metrics.status();
  iteration.record.metrics = *std::move(metrics);
  return iteration;
}

double PutAll(const std::vector<Iteration>& iterations, size_t batch, absl::Status* status) {
  const std::string path = "/tmp/store_bench." + std::to_string(getpid()) + ".sqlite";
  double seconds = 0;
  {
    auto store = Store::Open(path, Store::Mode::kCreate);
    if (!store.ok()) {
      *status = store.status();
      return 0;
    }
    const double began = CpuSeconds();
    for (const Iteration& iteration : iterations) {
      if (status->ok()) *status = PutIteration(**store, iteration, batch);
    }
    seconds = CpuSeconds() - began;
  }
  for (const char* suffix : {"", "-wal", "-shm"}) unlink((path + suffix).c_str());
  return seconds;
}

// Tokens in, one group of eight; logprobs as a policy's: most near 0, mantissas full.
Group LongGroup(const Tokenizer& tokenizer, absl::Span<const TokenId> tokens, size_t length,
                uint64_t ordinal) {
  std::mt19937_64 random(ordinal);
  std::uniform_real_distribution<double> uniform(0, 1);
  Group group;
  group.id = absl::StrCat(absl::Hex(ordinal + 1, absl::kZeroPad16), absl::Hex(0, absl::kZeroPad16));
  group.task.id = absl::StrCat("task/", ordinal);
  group.task.prompt = "a text";
  group.key.group_ordinal = ordinal;
  group.iteration = 1;
  group.asked = 8;
  for (uint32_t i = 0; i < 8; ++i) {
    Trajectory& t = group.trajectories.emplace_back();
    t.id =
        absl::StrCat(absl::Hex(ordinal + 1, absl::kZeroPad16), absl::Hex(i + 1, absl::kZeroPad16));
    t.group_id = group.id;
    t.key = group.key;
    t.key.sample = i;
    t.backend = "bench";
    t.tokens.assign(tokens.begin() + static_cast<int64_t>(i * length),
                    tokens.begin() + static_cast<int64_t>((i + 1) * length));
    for (size_t at = 0; at < length; ++at) {
      t.behaviour_logprobs.push_back(static_cast<float>(-std::pow(uniform(random), 6) * 8));
      t.entropy.push_back(static_cast<float>(std::pow(uniform(random), 3) * 4));
    }
    Segment& segment = t.segments.emplace_back();
    segment.kind = SegmentKind::kModel;
    segment.role = "assistant";
    segment.token_count = static_cast<int32_t>(length);
    segment.loss_mask = true;
    segment.text = tokenizer.Decode(t.tokens);
    t.verdict.outcome = Outcome::kWrong;
    t.verdict.verifier = "bench/1/0";
    t.reward.parts.push_back({"accuracy", 0.0, 1.0, false, {}});
  }
  return group;
}

int LongTraces(int argc, char** argv) {
  const size_t count = argc > 4 ? static_cast<size_t>(std::atoi(argv[4])) : 1000;
  const size_t length = argc > 5 ? static_cast<size_t>(std::atoi(argv[5])) : 2000;
  auto tokenizer = ReadTokenizer(argv[3]);
  if (!tokenizer.ok()) return Fail(tokenizer.status());
  std::ifstream file(argv[2], std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  std::vector<TokenId> tokens;
  for (size_t at = 0; at < text.size() && tokens.size() < count * length; at += 1 << 20) {
    auto piece = (*tokenizer)->Encode(text.substr(at, 1 << 20));
    if (!piece.ok()) return Fail(piece.status());
    tokens.insert(tokens.end(), piece->begin(), piece->end());
  }
  const size_t groups = std::min(count, tokens.size() / length) / 8;
  if (groups == 0) return Fail(absl::NotFoundError("the text is too short"));
  Iteration iteration;
  size_t text_bytes = 0;
  for (size_t g = 0; g < groups; ++g) {
    iteration.groups.push_back(LongGroup(
        **tokenizer, absl::MakeConstSpan(tokens).subspan(g * 8 * length, 8 * length), length, g));
    for (const Trajectory& t : iteration.groups.back().trajectories) {
      text_bytes += t.segments[0].text.size();
    }
  }
  iteration.record.iteration = 1;
  const std::string path = "/tmp/store_bench." + std::to_string(getpid()) + ".sqlite";
  auto store = Store::Open(path, Store::Mode::kCreate);
  if (!store.ok()) return Fail(store.status());
  const double began = CpuSeconds();
  const absl::Status status = PutIteration(**store, iteration, 1);
  const double seconds = CpuSeconds() - began;
  if (!status.ok()) return Fail(status);
  const auto sum = [&](const std::string& sql) {
    return static_cast<double>(*StoreAccess::Of(**store).db->Value(sql)) /
           static_cast<double>(groups * 8 * length);
  };
  std::printf("%zu trajectories of %zu tokens: %.3f s of CPU to compress, write and index\n",
              groups * 8, length, seconds);
  for (const char* name : {"token_ids", "behaviour_logprobs", "entropy"}) {
    std::printf(
        "  %-20s %.2f bytes a token\n", name,
        sum(absl::StrCat("SELECT sum(stored_bytes) FROM channels WHERE name = '", name, "'")));
  }
  std::printf("  %-20s %.2f\n  %-20s %.2f\n  %-20s %.2f\n", "text",
              static_cast<double>(text_bytes) / static_cast<double>(groups * 8 * length),
              "its index", sum("SELECT sum(length(block)) FROM text_index_data"), "whole file",
              sum("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"));
  store->reset();
  for (const char* suffix : {"", "-wal", "-shm"}) unlink((path + suffix).c_str());
  return 0;
}

int Main(int argc, char** argv) {
  if (argc > 3 && std::string(argv[1]) == "--text") return LongTraces(argc, argv);
  if (argc < 2) {
    std::fprintf(stderr, "usage: store_bench RUN/store.sqlite [groups a transaction [passes]]\n");
    return 2;
  }
  const size_t batch = argc > 2 ? static_cast<size_t>(std::atoi(argv[2])) : 32;
  auto from = Store::Open(argv[1], Store::Mode::kReadOnly);
  if (!from.ok()) return Fail(from.status());
  const int passes = argc > 3 ? std::atoi(argv[3]) : 5;
  const auto last = (*from)->LastIteration();
  if (!last.ok()) return Fail(last.status());
  std::vector<Iteration> iterations;
  size_t groups = 0;
  size_t trajectories = 0;
  for (int64_t number = 1; number <= *last; ++number) {
    auto iteration = ReadIteration(**from, number);
    if (!iteration.ok()) return Fail(iteration.status());
    groups += iteration->groups.size();
    for (const Group& group : iteration->groups) trajectories += group.trajectories.size();
    iterations.push_back(*std::move(iteration));
  }
  if (trajectories == 0 || batch == 0) return Fail(absl::NotFoundError("no groups to put"));
  double best = std::numeric_limits<double>::infinity();
  absl::Status status;
  for (int i = 0; i < passes && status.ok(); ++i) {
    best = std::min(best, PutAll(iterations, batch, &status));
  }
  if (!status.ok()) return Fail(status);
  std::printf(
      "%zu groups, %zu trajectories, %zu groups a transaction: %.1f us of CPU a trajectory\n",
      groups, trajectories, batch, 1e6 * best / static_cast<double>(trajectories));
  return 0;
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) {
  return hone::Main(argc, argv);
}
