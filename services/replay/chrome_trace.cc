// SPDX-License-Identifier: Apache-2.0
#include "services/replay/chrome_trace.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "rollout/store/browse.h"

namespace hone {
namespace {

using Json = nlohmann::ordered_json;

enum Process : int { kTrainer = 1, kWorkers = 2, kStore = 3 };
constexpr int kLoop = 1, kStoreWait = 2;  // threads of kTrainer
constexpr int64_t kMaxEvents = 10000;     // of the run's own, the latest
constexpr int kMaxLanes = 4096;
constexpr double kClockTolerance = 1e-3;  // seconds
constexpr const char* kCounters[] = {"reward/mean",    "accuracy/mean",
                                     "tokens/per_s",   "completion/length_mean",
                                     "policy/entropy", "memory/rss_bytes"};

// What one iteration says of its time: seconds; absent: it says nothing.
using Figures = std::map<std::string, double>;

// Since 1970, UTC; 0 or less: it is not known.
double Seconds(absl::Time time) {
  return static_cast<double>(absl::ToUnixMicros(time)) * 1e-6;
}

std::optional<double> Find(const Figures& figures, const std::string& name) {
  const auto found = figures.find(name);
  if (found == figures.end() || !std::isfinite(found->second)) return std::nullopt;
  return found->second;
}

class ChromeTrace {
 public:
  explicit ChromeTrace(double began_s) : began_s_(began_s), now_s_(began_s) {}

  void AddIteration(int64_t iteration, const Figures& figures, Json facts);
  void AddAttempt(const AttemptRecord& attempt);
  void AddEvent(const RunEvent& event);
  void Write(const std::string& run, std::ostream& out);

 private:
  struct Phase {
    const char* name;
    double begin = 0, seconds = 0;
    bool laid = false;
  };

  double Microseconds(double at_s) const { return (at_s - began_s_) * 1e6; }
  void Span(const std::string& name, int process, int thread, double begin_s, double seconds,
            Json args);
  void Instant(const std::string& name, double at_s, Json args);
  void Name(const char* what, int process, int thread, const std::string& name);
  std::vector<Phase> PhasesOf(const Figures& figures);
  void AddWork(const Figures& figures, const Phase& rollout, int64_t iteration);
  void AddStore(const Figures& figures, double begin_s, double end_s, int64_t iteration);

  const double began_s_;
  double now_s_;  // end of the last phase of the loop
  double waited_until_s_ = 0, wrote_until_s_ = 0;
  std::map<int, double> lane_end_s_;  // of kWorkers
  bool laid_ = false, measured_ = false;
  std::vector<Json> events_;
};

void ChromeTrace::Span(const std::string& name, int process, int thread, double begin_s,
                       double seconds, Json args) {
  events_.push_back({{"ph", "X"},
                     {"name", name},
                     {"cat", "hone"},
                     {"ts", Microseconds(begin_s)},
                     {"dur", seconds * 1e6},
                     {"pid", process},
                     {"tid", thread},
                     {"args", std::move(args)}});
}

void ChromeTrace::Instant(const std::string& name, double at_s, Json args) {
  events_.push_back({{"ph", "i"},
                     {"s", "g"},
                     {"name", name},
                     {"cat", "hone"},
                     {"ts", Microseconds(at_s)},
                     {"pid", kTrainer},
                     {"tid", kLoop},
                     {"args", std::move(args)}});
}

void ChromeTrace::Name(const char* what, int process, int thread, const std::string& name) {
  events_.push_back(
      {{"ph", "M"}, {"name", what}, {"pid", process}, {"tid", thread}, {"args", {{"name", name}}}});
}

// The loop's phases, which follow one another.
std::vector<ChromeTrace::Phase> ChromeTrace::PhasesOf(const Figures& figures) {
  std::vector<Phase> phases;
  for (const char* name : {"rollout", "update", "evaluate"}) {
    const std::optional<double> seconds = Find(figures, absl::StrCat("time/", name, "_s"));
    if (!seconds || *seconds < 0) continue;
    const std::optional<double> clock = Find(figures, absl::StrCat("clock/", name, "_s"));
    // A clock that was set back would put phases over one another. Durations are another clock's,
    // so that a beginning may seem to be a little before the end of what it follows.
    const bool laid = !clock || *clock < now_s_ - kClockTolerance;
    phases.push_back({name, laid ? now_s_ : std::max(*clock, now_s_), *seconds, laid});
    (laid ? laid_ : measured_) = true;
    now_s_ = phases.back().begin + *seconds;
  }
  return phases;
}

// What the workers did within a rollout, on as few lanes as hold it: of each lane the same part.
void ChromeTrace::AddWork(const Figures& figures, const Phase& rollout, int64_t iteration) {
  const double generate = std::max(0.0, Find(figures, "time/generate_s").value_or(0));
  const double verify = std::max(0.0, Find(figures, "time/verify_s").value_or(0));
  const double work = generate + verify;
  if (work <= 0) return;
  const double wanted = rollout.seconds > 0 ? std::ceil(work / rollout.seconds) : 1;
  const int lanes = static_cast<int>(std::clamp(wanted, 1.0, double{kMaxLanes}));
  for (int lane = 1; lane <= lanes; ++lane) {
    const double begin = std::max(rollout.begin, lane_end_s_[lane]);
    const Json args{{"iteration", iteration}, {"start", "laid"}, {"lanes", lanes}};
    Span("generate", kWorkers, lane, begin, generate / lanes, args);
    Span("verify", kWorkers, lane, begin + generate / lanes, verify / lanes, args);
    const double end = begin + work / lanes;
    const double idle = rollout.begin + rollout.seconds - end;
    if (idle > 0) Span("queue", kWorkers, lane, end, idle, args);
    lane_end_s_[lane] = std::max(end, rollout.begin + rollout.seconds);
  }
}

void ChromeTrace::AddStore(const Figures& figures, double begin_s, double end_s,
                           int64_t iteration) {
  const std::optional<double> waited = Find(figures, "time/store_wait_s");
  if (waited && *waited > 0) {
    const double clock = Find(figures, "clock/store_s").value_or(end_s);
    const double begin = std::max(clock, waited_until_s_);
    Span("wait for the store", kTrainer, kStoreWait, begin, *waited,
         {{"iteration", iteration}, {"start", "laid"}});
    waited_until_s_ = begin + *waited;
  }
  const std::optional<double> wrote = Find(figures, "time/store_s");
  if (wrote && *wrote > 0) {
    const double begin = std::max(begin_s, wrote_until_s_);
    Span("store", kStore, 1, begin, *wrote, {{"iteration", iteration}, {"start", "laid"}});
    wrote_until_s_ = begin + *wrote;
  }
}

void ChromeTrace::AddIteration(int64_t iteration, const Figures& figures, Json facts) {
  const std::vector<Phase> phases = PhasesOf(figures);
  const double begin = phases.empty() ? now_s_ : phases.front().begin;
  facts["start"] = phases.empty() || phases.front().laid ? "laid" : "measured";
  Span(absl::StrCat("iteration ", iteration), kTrainer, kLoop, begin, now_s_ - begin, facts);
  for (const Phase& phase : phases) {
    Span(phase.name, kTrainer, kLoop, phase.begin, phase.seconds,
         {{"iteration", iteration}, {"start", phase.laid ? "laid" : "measured"}});
    if (std::string(phase.name) == "rollout") AddWork(figures, phase, iteration);
  }
  AddStore(figures, begin, now_s_, iteration);
  for (const char* name : kCounters) {
    const std::optional<double> value = Find(figures, name);
    if (!value) continue;
    events_.push_back({{"ph", "C"},
                       {"name", name},
                       {"ts", Microseconds(now_s_)},
                       {"pid", kTrainer},
                       {"args", {{"value", *value}}}});
  }
  // Without clocks the loop's own wait stands between two iterations.
  if (laid_) now_s_ = std::max(now_s_, waited_until_s_);
}

void ChromeTrace::AddAttempt(const AttemptRecord& attempt) {
  const Json args{{"host", attempt.host}, {"pid", attempt.pid}};
  Instant("attempt begins", Seconds(attempt.started), args);
  if (Seconds(attempt.ended) <= 0) return;
  Instant(absl::StrCat("attempt ends: ", attempt.end_reason), Seconds(attempt.ended), args);
}

void ChromeTrace::AddEvent(const RunEvent& event) {
  if (event.at_us <= 0) return;
  Instant(event.kind, static_cast<double>(event.at_us) * 1e-6,
          {{"iteration", event.iteration}, {"text", event.text}});
}

void ChromeTrace::Write(const std::string& run, std::ostream& out) {
  Name("process_name", kTrainer, kLoop, absl::StrCat("trainer of ", run));
  Name("thread_name", kTrainer, kLoop, "loop");
  Name("thread_name", kTrainer, kStoreWait, "waits for the store");
  Name("process_name", kWorkers, 1, "rollout workers, summed");
  for (const auto& [lane, end] : lane_end_s_) {
    Name("thread_name", kWorkers, lane, absl::StrCat("lane ", lane));
  }
  Name("process_name", kStore, 1, "store");
  Name("thread_name", kStore, 1, "writes");
  const auto text = [](const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  out << "{\"displayTimeUnit\":\"ms\",\"otherData\":"
      << text({{"run", run},
               {"began_unix_s", began_s_},
               {"starts", measured_ && laid_ ? "some measured, some laid"
                          : measured_        ? "measured"
                                             : "laid one after another"}})
      << ",\"traceEvents\":[\n";
  for (size_t i = 0; i < events_.size(); ++i) {
    out << (i == 0 ? "" : ",\n") << text(events_[i]);
  }
  out << "\n]}\n";
}

// Groups, completions and what became of them.
Json FactsOf(const TrajectoryIndex& index, int64_t iteration) {
  int64_t groups = 0, flat = 0, completions = 0, outages = 0;
  for (const size_t at : index.GroupsOf(iteration)) {
    const IndexedGroup& group = index.groups()[at];
    ++groups;
    flat += group.flat;
    completions += group.got;
    outages += group.outages;
  }
  return {{"iteration", iteration},
          {"groups", groups},
          {"flat", flat},
          {"completions", completions},
          {"outages", outages}};
}

// By iteration.
std::map<int64_t, Figures> FiguresOf(const TrajectoryIndex& index, int64_t first, int64_t last) {
  const std::set<std::string> counters(std::begin(kCounters), std::end(kCounters));
  std::map<int64_t, Figures> figures;
  for (const auto& [name, points] : index.metrics()) {
    const bool wanted = absl::StartsWith(name, "time/") || absl::StartsWith(name, "clock/") ||
                        counters.count(name) > 0;
    for (const MetricPoint& point : points) {
      if (point.iteration < first || point.iteration > last) continue;
      Figures& of = figures[point.iteration];
      if (wanted) of[name] = point.value;
    }
  }
  return figures;
}

}  // namespace

absl::Status WriteChromeTrace(Store& store, const TrajectoryIndex& index, int64_t first,
                              int64_t last, std::ostream& out) {
  const std::map<int64_t, Figures> figures = FiguresOf(index, first, last);
  if (figures.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no iteration from ", first, " to ", last, " has a record"));
  }
  const absl::StatusOr<RunRecord> run = store.GetRun();
  if (!run.ok()) return run.status();
  const absl::StatusOr<std::vector<AttemptRecord>> attempts = store.Attempts();
  if (!attempts.ok()) return attempts.status();
  const absl::StatusOr<std::vector<RunEvent>> events = ReadEvents(store, kMaxEvents);
  if (!events.ok()) return events.status();
  const auto clock = figures.begin()->second.find("clock/rollout_s");
  double began = clock != figures.begin()->second.end() ? clock->second : 0;
  if (!attempts->empty() && (began <= 0 || first <= 1)) {
    began = Seconds(attempts->front().started);
  }
  ChromeTrace trace(began);
  for (const AttemptRecord& attempt : *attempts) trace.AddAttempt(attempt);
  for (const RunEvent& event : *events) trace.AddEvent(event);
  for (const auto& [iteration, of] : figures) {
    trace.AddIteration(iteration, of, FactsOf(index, iteration));
  }
  trace.Write(run->name, out);
  return absl::OkStatus();
}

}  // namespace hone
