// SPDX-License-Identifier: Apache-2.0
#include "services/clients/process_verifier.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "policy/hash.h"
#include "services/clients/worker_protocol.h"
#include "verifier/answer/text.h"

namespace hone {
namespace {

constexpr size_t kMaxDetailBytes = 4096;

std::string Number(double value) {
  return absl::StrCat(value);
}

absl::Status CheckOptions(const ProcessVerifierOptions& options) {
  if (options.workers < 1 || options.workers > 64) {
    return absl::InvalidArgumentError(absl::StrCat("workers: ", options.workers, ", 1 to 64"));
  }
  if (options.in_flight < 1 || options.in_flight > 256) {
    return absl::InvalidArgumentError(absl::StrCat("in_flight: ", options.in_flight, ", 1 to 256"));
  }
  if (options.item_timeout <= absl::ZeroDuration() ||
      options.start_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("timeout_s and start_timeout_s must be above 0");
  }
  return absl::OkStatus();
}

// Of the item's line; only an upper bound where that is plainly within the limit.
size_t LineBytes(const Question& question) {
  size_t bytes = 1024 + question.answer.size() + question.tests_json.size();
  for (const QuestionSegment& segment : question.segments) bytes += segment.text.size();
  for (const auto& [key, value] : question.metadata) bytes += key.size() + value.size() + 8;
  bytes *= 6;  // a byte is at most \u00XX
  if (bytes <= WorkerProcess::kMaxLineBytes) return bytes;
  return FormatItem("00000000000000000000", question).size();
}

struct Range {
  double min = 0, max = 1, threshold = 1;
  friend bool operator==(const Range&, const Range&) = default;
};

absl::StatusOr<Range> RangeOf(const ProcessVerifierOptions& options, const WorkerHello& hello) {
  Range range;
  range.min = options.min.value_or(hello.min.value_or(0));
  range.max = options.max.value_or(hello.max.value_or(1));
  range.threshold = options.threshold.value_or(hello.threshold.value_or(range.max));
  if (!(range.min < range.max) || !(range.threshold > range.min && range.threshold <= range.max)) {
    return absl::InvalidArgumentError(
        absl::StrCat("min ", Number(range.min), ", max ", Number(range.max), ", threshold ",
                     Number(range.threshold), ": want min < threshold <= max"));
  }
  return range;
}

}  // namespace

struct ProcessVerifier::State {
  // What one call of Verify asks, handed out in order to whichever worker has room.
  struct Call {
    absl::Span<const Question> questions;
    std::vector<size_t> todo;
    std::atomic<size_t> next{0};
    std::vector<Verdict>* verdicts;
  };
  struct Slot {
    std::unique_ptr<WorkerProcess> worker;  // null: to be started
    bool greeted = false;                   // its hello was heard
    absl::Time started;
    int64_t items = 0;  // sent so far: the last item_id
  };
  struct Waiting {
    size_t question = 0;
    absl::Time since;
  };

  ProcessVerifierOptions options;
  WorkerHello hello;
  Range range;
  VerifierInfo info;
  std::mutex mutex;
  std::condition_variable freed;
  std::vector<std::unique_ptr<Slot>> free;
  std::atomic<int64_t> starts{0};

  Verdict Plain(Outcome outcome, absl::string_view detail) const {
    Verdict verdict;
    verdict.outcome = outcome;
    verdict.detail = ReadableUtf8(detail, kMaxDetailBytes, nullptr);
    verdict.verifier = absl::StrCat(info.name, "/", info.version, "/", info.config_hash);
    return verdict;
  }

  absl::StatusOr<std::unique_ptr<WorkerProcess>> StartJailed() const {
    SandboxProgram program;
    program.argv = options.argv;
    program.files = options.files;
    program.limits = options.limits;
    return WorkerProcess::StartJailed(options.sandbox, std::move(program), options.log);
  }

  // Starts the slot's worker where there is none, and hears its hello. DEADLINE_EXCEEDED: it is
  // still starting at `limit`, and stays. Every other error ends it.
  absl::Status Greet(Slot& slot, WorkerHello* said, absl::Time limit) {
    if (slot.worker == nullptr) {
      starts.fetch_add(1);
      auto worker = options.sandbox == nullptr ? WorkerProcess::Start(options.argv, options.log)
                                               : StartJailed();
      if (!worker.ok()) return worker.status();
      slot.worker = *std::move(worker);
      slot.greeted = false;
      slot.started = absl::Now();
    }
    const absl::Time latest = slot.started + options.start_timeout;
    auto line = slot.worker->ReadLine(std::min(limit, latest));
    if (absl::IsDeadlineExceeded(line.status()) && absl::Now() < latest) {
      return absl::DeadlineExceededError("the worker was still starting at the deadline");
    }
    std::string why;
    if (absl::IsDeadlineExceeded(line.status())) {
      why = absl::StrCat("no hello within ", absl::FormatDuration(options.start_timeout));
    } else if (!line.ok()) {
      why = absl::StrCat("before its hello, ", line.status().message());
    } else {
      auto parsed = ParseHello(*line);
      if (parsed.ok()) {
        *said = *std::move(parsed);
        slot.greeted = true;
        return absl::OkStatus();
      }
      why = std::string(parsed.status().message());
    }
    slot.worker.reset();
    return absl::FailedPreconditionError(absl::StrCat(options.argv[0], ": ", why));
  }

  // A worker is there and is the one that we know, or why not.
  absl::Status Ready(Slot& slot, absl::Time limit) {
    if (slot.worker != nullptr && slot.greeted) return absl::OkStatus();
    WorkerHello said;
    const absl::Status greeted = Greet(slot, &said, limit);
    if (!greeted.ok()) return greeted;
    auto said_range = RangeOf(options, said);
    if (said.name == hello.name && said.version == hello.version && said_range.ok() &&
        *said_range == range) {
      return absl::OkStatus();
    }
    slot.worker.reset();
    return absl::FailedPreconditionError(
        absl::StrCat("the program changed while it was in use: it was ", hello.name, "/",
                     hello.version, " and says that it is ", said.name, "/", said.version));
  }

  // Is this an item that nobody needs to be asked about? Then *verdict is set.
  bool JudgeUnasked(const Question& question, Verdict* verdict) const {
    if (absl::Now() > question.deadline) {
      *verdict = Plain(Outcome::kOutage, "the deadline had passed before this item's turn");
      return true;
    }
    if (question.completion().size() <= WorkerProcess::kMaxLineBytes) {
      if (LineBytes(question) <= WorkerProcess::kMaxLineBytes) return false;
      Question without = question;
      for (QuestionSegment& segment : without.segments) {
        if (segment.kind == "model") segment.text.clear();
      }
      const size_t rest = LineBytes(without);
      if (rest > WorkerProcess::kMaxLineBytes / 2) {
        *verdict = Plain(Outcome::kSkipped, absl::StrCat("prompt, gold and metadata take ", rest,
                                                         " bytes of a line of 1 MiB"));
        return true;
      }
    }
    *verdict = Plain(Outcome::kLimitExceeded,
                     absl::StrCat("the completion has ", question.completion().size(),
                                  " bytes and does not fit the protocol's line of 1 MiB as JSON"));
    verdict->parts.push_back({"accuracy", range.min, std::nullopt});
    return true;
  }

  Verdict VerdictOf(const WorkerReply& reply, absl::Time asked) const {
    Verdict verdict;
    if (reply.kind == WorkerReply::Kind::kSkipped) {
      verdict = Plain(Outcome::kSkipped, reply.why.empty() ? "the verifier skipped it" : reply.why);
    } else if (reply.kind == WorkerReply::Kind::kOutage) {
      verdict = Plain(Outcome::kOutage, reply.why.empty() ? "the verifier says so" : reply.why);
    } else if (reply.score < range.min || reply.score > range.max) {
      verdict = Plain(Outcome::kOutage,
                      absl::StrCat("protocol error: the score ", Number(reply.score),
                                   " is outside the declared range [", Number(range.min), ", ",
                                   Number(range.max), "]; declare it with min and max"));
    } else {
      const bool correct = reply.score >= range.threshold;
      verdict =
          Plain(correct ? Outcome::kCorrect : Outcome::kWrong,
                !reply.detail.empty() ? reply.detail
                                      : absl::StrCat("it scores ", Number(reply.score),
                                                     "; correct from ", Number(range.threshold)));
      verdict.parts.push_back({"accuracy", reply.score, std::nullopt});
      verdict.parts.insert(verdict.parts.end(), reply.parts.begin(), reply.parts.end());
      verdict.extracted =
          ReadableUtf8(reply.extracted, kMaxExtractedBytes, &verdict.extracted_truncated);
    }
    verdict.elapsed_us = std::max<int64_t>(1, absl::ToInt64Microseconds(absl::Now() - asked));
    return verdict;
  }

  void Send(Slot& slot, Call& call, size_t question, std::map<std::string, Waiting>* waiting) {
    const std::string id = absl::StrCat(++slot.items);
    waiting->emplace(id, Waiting{question, absl::Now()});
    slot.worker->Send(FormatItem(id, call.questions[question]));
  }

  // One answer of the worker, whoever it is for. An error: the worker is of no more use. A second
  // answer takes the first one's word away.
  absl::Status TakeAnswer(Slot& slot, Call& call, std::map<std::string, Waiting>* waiting,
                          std::map<std::string, size_t>* answered) {
    absl::Time limit = absl::Now() + options.item_timeout;
    for (const auto& [id, item] : *waiting) {
      limit = std::min(limit, call.questions[item.question].deadline);
    }
    auto line = slot.worker->ReadLine(limit);
    if (absl::IsDeadlineExceeded(line.status())) {
      return absl::DeadlineExceededError("the verifier hung: no answer in time");
    }
    if (!line.ok()) return line.status();
    auto id = ParseReplyId(*line);
    if (!id.ok()) return id.status();
    const auto found = waiting->find(*id);
    if (found == waiting->end()) {
      const absl::Status why = absl::InvalidArgumentError(
          absl::StrCat("an answer to an item that was not asked, or twice: \"",
                       ReadableUtf8(*id, 40, nullptr), "\""));
      if (const auto twice = answered->find(*id); twice != answered->end()) {
        (*call.verdicts)[twice->second] =
            Plain(Outcome::kOutage, absl::StrCat("protocol error: ", why.message()));
      }
      return why;
    }
    auto reply = ParseReply(*line);
    (*call.verdicts)[found->second.question] =
        reply.ok()
            ? VerdictOf(*reply, found->second.since)
            : Plain(Outcome::kOutage, absl::StrCat("protocol error: ", reply.status().message()));
    answered->emplace(*id, found->second.question);
    waiting->erase(found);
    return absl::OkStatus();
  }

  // The verdict of a question, or an outage that says what the worker did with it.
  void AskAlone(Slot& slot, Call& call, size_t question) {
    Verdict& verdict = (*call.verdicts)[question];
    if (absl::Now() >= call.questions[question].deadline) {
      verdict = Plain(Outcome::kOutage, "the verifier hung: the item's deadline passed");
      return;
    }
    absl::Status status = Ready(slot, call.questions[question].deadline);
    if (status.ok()) {
      std::map<std::string, Waiting> waiting;
      std::map<std::string, size_t> answered;
      Send(slot, call, question, &waiting);
      status = TakeAnswer(slot, call, &waiting, &answered);
      if (status.ok()) return;
      slot.worker.reset();
    }
    verdict = Plain(
        Outcome::kOutage,
        absl::StrCat(absl::IsInvalidArgument(status) ? "protocol error: " : "", status.message()));
  }

  // Until nothing is left to ask, or no worker starts.
  absl::Status Drive(Slot& slot, Call& call) {
    for (;;) {
      if (call.next.load() >= call.todo.size()) return absl::OkStatus();
      const size_t at = std::min(call.next.load(), call.todo.size() - 1);
      absl::Status status = Ready(slot, call.questions[call.todo[at]].deadline);
      if (!status.ok()) return status;
      std::map<std::string, Waiting> waiting;
      std::map<std::string, size_t> answered;
      do {
        while (waiting.size() < static_cast<size_t>(options.in_flight)) {
          const size_t next = call.next.fetch_add(1);
          if (next >= call.todo.size()) break;
          Send(slot, call, call.todo[next], &waiting);
        }
        if (!waiting.empty()) status = TakeAnswer(slot, call, &waiting, &answered);
      } while (status.ok() && !waiting.empty());
      if (status.ok()) return status;
      slot.worker.reset();
      std::vector<size_t> suspects;
      for (const auto& [id, item] : waiting) suspects.push_back(item.question);
      std::sort(suspects.begin(), suspects.end());
      for (const size_t suspect : suspects) AskAlone(slot, call, suspect);
    }
  }

  // Null when none is free in time.
  std::unique_ptr<Slot> Acquire(absl::Time deadline) {
    std::unique_lock<std::mutex> lock(mutex);
    while (free.empty()) {
      const absl::Duration left = std::min(deadline - absl::Now(), absl::Seconds(1));
      if (left <= absl::ZeroDuration()) return nullptr;
      freed.wait_for(lock, absl::ToChronoNanoseconds(left));
    }
    std::unique_ptr<Slot> slot = std::move(free.back());
    free.pop_back();
    return slot;
  }
  void Release(std::unique_ptr<Slot> slot) {
    std::lock_guard<std::mutex> lock(mutex);
    free.push_back(std::move(slot));
    freed.notify_one();
  }

  absl::Status DriveOne(std::unique_ptr<Slot> slot, Call& call) {
    const absl::Status status = Drive(*slot, call);
    Release(std::move(slot));
    return status;
  }

  // Spreads a call over one worker, and over others that are free at this moment.
  absl::Status Spread(Call& call, absl::Time deadline) {
    std::unique_ptr<Slot> first = Acquire(deadline);
    if (first == nullptr) {
      return absl::DeadlineExceededError("every worker was busy until the deadline");
    }
    std::vector<std::thread> others;
    absl::Status error;
    while (others.size() + 1 < call.todo.size()) {
      std::unique_ptr<Slot> slot = Acquire(absl::InfinitePast());
      if (slot == nullptr) break;
      others.emplace_back([this, &call, taken = std::move(slot)]() mutable {
        // A worker that does not start leaves its share to the others.
        (void)DriveOne(std::move(taken), call);
      });
    }
    error = DriveOne(std::move(first), call);
    for (std::thread& other : others) other.join();
    return error;
  }
};

ProcessVerifier::ProcessVerifier(std::unique_ptr<State> state) : state_(std::move(state)) {}
ProcessVerifier::~ProcessVerifier() = default;
VerifierInfo ProcessVerifier::Describe() const {
  return state_->info;
}
int64_t ProcessVerifier::starts() const {
  return state_->starts.load();
}

absl::StatusOr<std::unique_ptr<ProcessVerifier>> ProcessVerifier::Open(
    ProcessVerifierOptions options) {
  const absl::Status checked = CheckOptions(options);
  if (!checked.ok()) return checked;
  auto state = std::make_unique<State>();
  state->options = std::move(options);
  auto first = std::make_unique<State::Slot>();
  const absl::Status greeted = state->Greet(*first, &state->hello, absl::InfiniteFuture());
  if (!greeted.ok()) return greeted;
  auto range = RangeOf(state->options, state->hello);
  if (!range.ok()) return range.status();
  state->range = *range;
  VerifierInfo& info = state->info;
  info.name = state->options.name.empty() ? state->hello.name : state->options.name;
  info.version = state->hello.version;
  info.description = state->hello.description;
  if (info.description.empty()) {
    info.description = absl::StrCat("The program ", state->options.argv[0], ".");
  }
  info.deterministic = state->hello.deterministic;
  info.config_hash = Sha256Hex(absl::StrCat(state->options.identity, "\n", Number(range->min), " ",
                                            Number(range->max), " ", Number(range->threshold)))
                         .substr(0, 16);
  for (int i = 1; i < state->options.workers; ++i) {
    state->free.push_back(std::make_unique<State::Slot>());
  }
  state->free.push_back(std::move(first));
  return std::unique_ptr<ProcessVerifier>(new ProcessVerifier(std::move(state)));
}

absl::StatusOr<std::vector<Verdict>> ProcessVerifier::Verify(absl::Span<const Question> questions) {
  std::vector<Verdict> verdicts(questions.size());
  State::Call call;
  call.questions = questions;
  call.verdicts = &verdicts;
  absl::Time deadline = absl::InfinitePast();
  for (size_t i = 0; i < questions.size(); ++i) {
    if (state_->JudgeUnasked(questions[i], &verdicts[i])) continue;
    call.todo.push_back(i);
    deadline = std::max(deadline, questions[i].deadline);
  }
  if (call.todo.empty()) return verdicts;
  const absl::Status status = state_->Spread(call, deadline);
  for (Verdict& verdict : verdicts) {
    if (verdict.outcome != Outcome::kUnspecified) continue;
    verdict = state_->Plain(Outcome::kOutage, status.ok() ? "no worker took it" : status.message());
  }
  return verdicts;
}

}  // namespace hone
