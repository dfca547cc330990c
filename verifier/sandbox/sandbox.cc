// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "verifier/sandbox/control_groups.h"
#include "verifier/sandbox/jail_run.h"
#include "verifier/sandbox/self_test.h"
#include "verifier/sandbox/slots.h"
#include "verifier/sandbox/spawner_client.h"

namespace hone {
namespace {

constexpr uint32_t kFirstHostUid = 61184;  // of slot 0; nobody's on a usual system
constexpr int32_t kMaxSlots = 1024;

// What contest programs import, and what they import in turn.
constexpr const char* kContestModules[] = {
    "array",     "atexit",      "bisect",   "builtins",  "cmath", "collections", "copy",
    "ctypes",    "dataclasses", "datetime", "decimal",   "enum",  "errno",       "fractions",
    "functools", "heapq",       "io",       "itertools", "json",  "math",        "numbers",
    "operator",  "os",          "queue",    "random",    "re",    "statistics",  "string",
    "struct",    "sys",         "textwrap", "threading", "time",  "traceback",   "typing"};

// Jails whose candidate has ended and whose mounts the kernel takes down, which waits for all
// processors: milliseconds, or many on a busy machine. Runs need not wait with it, but no more
// than `most` are ever left. Thread-safe.
class Leaving {
 public:
  explicit Leaving(int32_t most) : most_(static_cast<size_t>(most)) {}
  ~Leaving() { Reduce(0); }
  void Add(Descriptor pidfd) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      pidfds_.push_back(std::move(pidfd));
    }
    Reduce(most_);
  }

 private:
  // Lets go of those that are gone; waits for the oldest beyond `most`, a minute at the longest.
  void Reduce(size_t most) {
    for (;;) {
      Descriptor oldest;
      bool wait = false;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (pidfds_.empty()) return;
        wait = pidfds_.size() > most;
        oldest = std::move(pidfds_.front());
        pidfds_.pop_front();
      }
      pollfd gone = {oldest.get(), POLLIN, 0};
      if (poll(&gone, 1, wait ? 60000 : 0) != 0) continue;
      if (wait) continue;
      const std::lock_guard<std::mutex> lock(mutex_);
      pidfds_.push_front(std::move(oldest));
      return;
    }
  }

  const size_t most_;
  std::mutex mutex_;
  std::deque<Descriptor> pidfds_;
};

class JailSandbox : public Sandbox {
 public:
  // `options` with nothing left to guess.
  JailSandbox(SandboxOptions options, std::unique_ptr<ControlGroups> groups)
      : options_(std::move(options)),
        slots_(options_.slots),
        leaving_(4 * options_.slots),
        groups_(std::move(groups)) {}

  absl::StatusOr<SandboxReport> Run(const SandboxProgram& program) override {
    absl::StatusOr<std::vector<SandboxReport>> reports = RunAll({&program});
    if (!reports.ok()) return reports.status();
    return std::move((*reports)[0]);
  }

  absl::StatusOr<std::vector<SandboxReport>> RunPair(const SandboxProgram& tester,
                                                     const SandboxProgram& candidate) override {
    if (options_.slots < 2) {
      return absl::InvalidArgumentError("sandbox: a pair takes two slots; this sandbox has one");
    }
    return RunAll({&tester, &candidate});
  }

  // The spawner that runs use now; a new one where the old is dead, distrusted or old.
  absl::StatusOr<std::shared_ptr<SpawnerClient>> CurrentSpawner() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (spawner_ == nullptr || !spawner_->usable() ||
        spawner_->launched() >= options_.runs_per_spawner) {
      spawner_.reset();  // lives on in the runs that hold it
      absl::StatusOr<std::shared_ptr<SpawnerClient>> started =
          SpawnerClient::Start(options_.executable, options_.warm_modules, groups_->folders());
      if (!started.ok()) return started.status();
      spawner_ = *std::move(started);
    }
    return spawner_;
  }

 private:
  absl::StatusOr<std::vector<SandboxReport>> RunAll(
      const std::vector<const SandboxProgram*>& programs) {
    for (const SandboxProgram* program : programs) {
      if (absl::Status status = CheckProgram(*program); !status.ok()) return status;
    }
    const std::vector<int32_t> slots = slots_.Take(programs.size());
    absl::StatusOr<std::vector<SandboxReport>> reports = RunInSlots(programs, slots);
    slots_.Give(slots);
    return reports;
  }

  absl::StatusOr<std::vector<SandboxReport>> RunInSlots(
      const std::vector<const SandboxProgram*>& programs, const std::vector<int32_t>& slots);

  const SandboxOptions options_;
  Slots slots_;
  Leaving leaving_;
  std::unique_ptr<ControlGroups> groups_;
  std::mutex mutex_;
  std::shared_ptr<SpawnerClient> spawner_;
};

struct Crossing {  // [0] and [1]: descriptors 4 and 5 of each side
  std::vector<Descriptor> owned;
  std::vector<int> sides[2];
};

absl::StatusOr<Crossing> MakeCrossing() {
  Crossing crossing;
  int there[2], back[2];
  if (pipe2(there, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("sandbox: making a pipe: ", strerror(errno)));
  }
  crossing.owned.emplace_back(there[0]);
  crossing.owned.emplace_back(there[1]);
  if (pipe2(back, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("sandbox: making a pipe: ", strerror(errno)));
  }
  crossing.owned.emplace_back(back[0]);
  crossing.owned.emplace_back(back[1]);
  crossing.sides[0] = {back[0], there[1]};
  crossing.sides[1] = {there[0], back[1]};
  return crossing;
}

absl::StatusOr<std::vector<SandboxReport>> JailSandbox::RunInSlots(
    const std::vector<const SandboxProgram*>& programs, const std::vector<int32_t>& slots) {
  absl::StatusOr<std::shared_ptr<SpawnerClient>> spawner = CurrentSpawner();
  if (!spawner.ok()) return absl::UnavailableError(spawner.status().message());
  std::vector<std::unique_ptr<JailRun>> runs;
  {
    Crossing crossing;  // our ends close with this block, so that each side sees the other's end
    if (programs.size() == 2) {
      absl::StatusOr<Crossing> made = MakeCrossing();
      if (!made.ok()) return made.status();
      crossing = *std::move(made);
    }
    for (size_t i = 0; i < programs.size(); ++i) {
      const uint32_t slot = static_cast<uint32_t>(slots[i]);
      runs.push_back(std::make_unique<JailRun>(*programs[i], slot, kFirstHostUid + slot));
      absl::Status started = runs[i]->Start(spawner->get(), groups_.get(), crossing.sides[i]);
      if (started.ok()) continue;
      runs.pop_back();
      for (const auto& run : runs) run->Stop(SandboxEnding::kCancelled);
      Drive(runs);
      return started;
    }
  }
  Drive(runs);
  std::vector<SandboxReport> reports(runs.size());
  absl::Status status;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i]->lost()) (*spawner)->Distrust();
    status.Update(runs[i]->Finish(&reports[i]));
    leaving_.Add(runs[i]->TakePidfd());
  }
  if (!status.ok()) return status;
  return reports;
}

}  // namespace

const char* SandboxEndingName(SandboxEnding ending) {
  switch (ending) {
    case SandboxEnding::kExited:
      return "exited";
    case SandboxEnding::kSignalled:
      return "signalled";
    case SandboxEnding::kCpuLimit:
      return "cpu_limit";
    case SandboxEnding::kWallLimit:
      return "wall_limit";
    case SandboxEnding::kMemoryLimit:
      return "memory_limit";
    case SandboxEnding::kOutputLimit:
      return "output_limit";
    case SandboxEnding::kProcessLimit:
      return "process_limit";
    case SandboxEnding::kViolation:
      return "violation";
    case SandboxEnding::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

absl::StatusOr<std::unique_ptr<Sandbox>> StartSandbox(const SandboxOptions& options) {
  if (options.slots < 0 || options.slots > kMaxSlots) {
    return absl::InvalidArgumentError(
        absl::StrCat("sandbox: slots is ", options.slots, "; allowed: 0 to ", kMaxSlots));
  }
  if (options.runs_per_spawner < 1) {
    return absl::InvalidArgumentError("sandbox: runs_per_spawner must be at least 1");
  }
  for (const std::string& module : options.warm_modules) {
    if (module.empty() || module.find('\n') != std::string::npos) {
      return absl::InvalidArgumentError("sandbox: a warm module's name is empty or has a newline");
    }
  }
  SandboxOptions whole = options;
  if (whole.executable.empty()) {
    absl::StatusOr<std::string> found = FindSpawnerExecutable();
    if (!found.ok()) return found.status();
    whole.executable = *std::move(found);
  }
  if (whole.slots == 0) {
    whole.slots = 2 * std::max(1, static_cast<int32_t>(std::thread::hardware_concurrency()));
  }
  if (whole.warm_modules.empty()) {
    whole.warm_modules.assign(std::begin(kContestModules), std::end(kContestModules));
  }
  absl::StatusOr<std::unique_ptr<ControlGroups>> groups = ControlGroups::Make();
  if (!groups.ok()) return groups.status();
  auto sandbox = std::make_unique<JailSandbox>(std::move(whole), *std::move(groups));
  // Its refusal says more than that of the first run would.
  absl::Status spawner = sandbox->CurrentSpawner().status();
  if (!spawner.ok()) return spawner;
  if (absl::Status status = TestJail(sandbox.get()); !status.ok()) return status;
  return std::unique_ptr<Sandbox>(std::move(sandbox));
}

}  // namespace hone
