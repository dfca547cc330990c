// SPDX-License-Identifier: Apache-2.0
#include "verifier/code/code_verifier.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "verifier/answer/text.h"
#include "verifier/code/code_tests.h"
#include "verifier/code/code_text.h"
#include "verifier/code/judges.h"
#include "verifier/pure_verifier.h"

namespace hone {
namespace {

constexpr absl::string_view kVersion = "1";

// FNV-1a, 64 bits: names a configuration, protects nothing.
std::string HashOptions(const VerifierOptions& values) {
  std::string text = absl::StrCat("code/", kVersion, "\n");
  for (const auto& [name, value] : values) {
    if (name != "sandbox" && name != "slots") absl::StrAppend(&text, name, "=", value, "\n");
  }
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return absl::StrCat(absl::Hex(hash, absl::kZeroPad16));
}

VerifierInfo InfoOf(const VerifierOptions& values) {
  return {"code", std::string(kVersion), HashOptions(values),
          "Does the program pass the tests? It runs in a sandbox that no test enters.",
          /*deterministic=*/true};
}

// One sandbox for all verifiers that want the same: each has processes and warmed interpreters.
absl::StatusOr<std::shared_ptr<Sandbox>> SharedSandbox(const CodeOptions& options) {
  static std::mutex* const mutex = new std::mutex();
  static auto* const alive = new std::map<std::string, std::weak_ptr<Sandbox>>();
  const std::lock_guard<std::mutex> lock(*mutex);
  std::weak_ptr<Sandbox>& known = (*alive)[absl::StrCat(options.slots, " ", options.sandbox)];
  if (std::shared_ptr<Sandbox> sandbox = known.lock()) return sandbox;
  SandboxOptions wanted;
  wanted.executable = options.sandbox;
  wanted.slots = static_cast<int32_t>(options.slots);
  absl::StatusOr<std::unique_ptr<Sandbox>> started = StartSandbox(wanted);
  if (!started.ok()) return started.status();
  std::shared_ptr<Sandbox> sandbox = std::move(*started);
  known = sandbox;
  return sandbox;
}

class CodeVerifier : public Verifier {
 public:
  // sandbox: null to start one when it is needed.
  CodeVerifier(std::shared_ptr<Sandbox> sandbox, CodeOptions options, VerifierInfo info)
      : options_(std::move(options)), info_(std::move(info)), sandbox_(std::move(sandbox)) {}

  VerifierInfo Describe() const override { return info_; }
  absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) override;

 private:
  absl::StatusOr<Sandbox*> StartedSandbox();
  Verdict JudgeOne(Sandbox& sandbox, const Question& question);
  void Judge(Sandbox& sandbox, const Question& question, Verdict* verdict);

  const CodeOptions options_;
  const VerifierInfo info_;
  CompiledDrivers drivers_;
  std::mutex mutex_;
  std::shared_ptr<Sandbox> sandbox_;  // guarded by mutex_ while null, then never changed
};

absl::StatusOr<Sandbox*> CodeVerifier::StartedSandbox() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (sandbox_ == nullptr) {
    absl::StatusOr<std::shared_ptr<Sandbox>> started = SharedSandbox(options_);
    if (!started.ok()) return started.status();
    sandbox_ = std::move(*started);
  }
  return sandbox_.get();
}

// Questions are judged side by side, as many as the sandbox has slots: each mostly waits.
absl::StatusOr<std::vector<Verdict>> CodeVerifier::Verify(absl::Span<const Question> questions) {
  std::vector<Verdict> verdicts(questions.size());
  if (questions.empty()) return verdicts;
  const absl::StatusOr<Sandbox*> sandbox = StartedSandbox();
  if (!sandbox.ok()) return sandbox.status();
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < questions.size(); i = next++) {
      verdicts[i] = JudgeOne(**sandbox, questions[i]);
    }
  };
  const size_t slots = options_.slots > 0 ? static_cast<size_t>(options_.slots)
                                          : 2 * std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < std::min(slots, questions.size()); ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  return verdicts;
}

Verdict CodeVerifier::JudgeOne(Sandbox& sandbox, const Question& question) {
  const absl::Time start = absl::Now();
  Verdict verdict;
  verdict.verifier = absl::StrCat(info_.name, "/", info_.version, "/", info_.config_hash);
  if (start > question.deadline) {
    Conclude(Outcome::kOutage, "the deadline had passed before this item's turn", &verdict);
    return verdict;
  }
  Judge(sandbox, question, &verdict);
  if (verdict.outcome != Outcome::kOutage && verdict.parts.empty()) {
    const std::optional<double> zero =
        IsVerdict(verdict.outcome) ? std::optional<double>(0.0) : std::nullopt;
    verdict.parts = {{"accuracy", zero, std::nullopt}, {"tests_passed", zero, std::nullopt}};
  }
  verdict.elapsed_us = absl::ToInt64Microseconds(absl::Now() - start);
  return verdict;
}

void CodeVerifier::Judge(Sandbox& sandbox, const Question& question, Verdict* verdict) {
  const absl::StatusOr<CodeTests> tests = ReadCodeTests(question, options_);
  if (!tests.ok()) return Conclude(Outcome::kSkipped, tests.status().message(), verdict);
  if (HitsLimit(question, verdict)) return;
  const CodeText text = FindCode(question, tests->entry_point);
  if (IsBlank(text.code)) return Conclude(Outcome::kUnparsable, text.why, verdict);
  SetExtracted(text.code, verdict);
  const std::string readable = ReadableUtf8(text.code, 4 * text.code.size(), nullptr);
  if (readable != text.code) {
    Tally tally;
    tally.failure = {TestKind::kCompileError, "the code is no UTF-8, or it has a NUL byte", "", "",
                     ""};
    return ConcludeTally(tally, verdict);
  }
  const CodeJob job = {sandbox, drivers_, options_, *tests, text.code, question.deadline};
  switch (tests->form) {
    case CodeTests::Form::kStdin:
      JudgeStdin(job, verdict);
      break;
    case CodeTests::Form::kCalls:
      JudgeCalls(job, verdict);
      break;
    case CodeTests::Form::kAsserts:
      JudgeAsserts(job, verdict);
      break;
  }
  if (tests->left_out > 0) {
    absl::StrAppend(&verdict->detail, "; ", tests->left_out,
                    " more tests were left out (max_tests)");
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Verifier>> MakeCodeVerifier(const VerifierOptions& options) {
  return NewCodeVerifier(nullptr, options);
}

absl::StatusOr<std::unique_ptr<Verifier>> NewCodeVerifier(std::shared_ptr<Sandbox> sandbox,
                                                          const VerifierOptions& options) {
  VerifierOptions values;
  const absl::StatusOr<CodeOptions> read = ReadCodeOptions(options, &values);
  if (!read.ok()) return read.status();
  return std::make_unique<CodeVerifier>(std::move(sandbox), *read, InfoOf(values));
}

}  // namespace hone
