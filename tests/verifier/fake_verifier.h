// SPDX-License-Identifier: Apache-2.0
//
// A verifier that does as it is told: answers, fails, hangs, answers nonsense. For tests of
// whatever stands on the other side of the interface.
//
//   FakeVerifier fake;                             // correct where completion == answer
//   fake.Script({FakeAct::Fail(absl::UnavailableError("gone")), FakeAct::Answer()});
//   // first call fails, every later call answers (the last act of a script repeats)
#ifndef HONE_TESTS_VERIFIER_FAKE_VERIFIER_H_
#define HONE_TESTS_VERIFIER_FAKE_VERIFIER_H_

#include <algorithm>
#include <cassert>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "verifier/verifier.h"

namespace hone {

// What one call of Verify does.
struct FakeAct {
  enum class Kind { kAnswer, kOutage, kSkip, kFail, kHang, kTooFew, kTooMany, kNothingSaid };

  Kind kind = Kind::kAnswer;
  absl::Status status;                         // kFail
  absl::Duration hang = absl::ZeroDuration();  // kHang

  static FakeAct Answer() { return {}; }
  // Every item comes back as Outcome::kOutage.
  static FakeAct Outage() { return {Kind::kOutage, absl::OkStatus(), {}}; }
  static FakeAct Skip() { return {Kind::kSkip, absl::OkStatus(), {}}; }
  // The call itself fails.
  static FakeAct Fail(absl::Status why) { return {Kind::kFail, std::move(why), {}}; }
  // Sleeps (until Release, at most `how_long`), then answers: too late.
  static FakeAct Hang(absl::Duration how_long) { return {Kind::kHang, absl::OkStatus(), how_long}; }
  // Nonsense: one verdict less or more than questions.
  static FakeAct TooFew() { return {Kind::kTooFew, absl::OkStatus(), {}}; }
  static FakeAct TooMany() { return {Kind::kTooMany, absl::OkStatus(), {}}; }
  // Nonsense: verdicts whose outcome was never set.
  static FakeAct NothingSaid() { return {Kind::kNothingSaid, absl::OkStatus(), {}}; }
};

// Thread-safe.
class FakeVerifier : public Verifier {
 public:
  using JudgeFunction = std::function<Outcome(const Question&)>;

  // Without a function: correct where the completion equals the answer, skipped without a gold.
  explicit FakeVerifier(JudgeFunction judge = nullptr) : judge_(std::move(judge)) {}
  ~FakeVerifier() override { Release(); }

  // One act per call; the last one repeats. Restarts the script.
  void Script(std::vector<FakeAct> acts) {
    assert(!acts.empty());
    std::lock_guard<std::mutex> lock(mutex_);
    acts_ = std::move(acts);
    next_ = 0;
  }
  // Ends every hang, now and later.
  void Release() {
    std::lock_guard<std::mutex> lock(mutex_);
    released_ = true;
    wake_.notify_all();
  }
  int64_t calls() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return calls_;
  }
  // Every question ever asked, in order of arrival.
  std::vector<Question> seen() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return seen_;
  }

  VerifierInfo Describe() const override {
    return {"fake", "1", "0000000000000000", "Does as the test tells it.", true};
  }

  absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) override {
    const FakeAct act = NextAct(questions);
    if (act.kind == FakeAct::Kind::kFail) return act.status;
    if (act.kind == FakeAct::Kind::kHang) Sleep(act.hang);
    std::vector<Verdict> verdicts;
    for (const Question& question : questions) verdicts.push_back(VerdictFor(act, question));
    if (act.kind == FakeAct::Kind::kTooFew && !verdicts.empty()) verdicts.pop_back();
    if (act.kind == FakeAct::Kind::kTooMany) verdicts.emplace_back();
    return verdicts;
  }

 private:
  FakeAct NextAct(absl::Span<const Question> questions) {
    std::lock_guard<std::mutex> lock(mutex_);
    ++calls_;
    seen_.insert(seen_.end(), questions.begin(), questions.end());
    if (acts_.empty()) return FakeAct::Answer();
    const FakeAct act = acts_[next_];
    if (next_ + 1 < acts_.size()) ++next_;
    return act;
  }

  void Sleep(absl::Duration how_long) {
    std::unique_lock<std::mutex> lock(mutex_);
    const absl::Duration bounded = std::min(how_long, absl::Hours(1));
    wake_.wait_for(lock, absl::ToChronoNanoseconds(bounded), [this] { return released_; });
  }

  Verdict VerdictFor(const FakeAct& act, const Question& question) const {
    Verdict verdict;
    if (act.kind == FakeAct::Kind::kNothingSaid) return verdict;
    verdict.verifier = "fake/1/0000000000000000";
    if (act.kind == FakeAct::Kind::kOutage) {
      verdict.outcome = Outcome::kOutage;
      verdict.detail = "the test asked for an outage";
      return verdict;
    }
    if (act.kind == FakeAct::Kind::kSkip) {
      verdict.outcome = Outcome::kSkipped;
    } else if (judge_) {
      verdict.outcome = judge_(question);
    } else if (question.answer.empty()) {
      verdict.outcome = Outcome::kSkipped;
    } else {
      verdict.outcome =
          question.completion() == question.answer ? Outcome::kCorrect : Outcome::kWrong;
    }
    verdict.extracted = std::string(question.completion().substr(0, 4096));
    verdict.detail = absl::StrCat("fake: ", OutcomeName(verdict.outcome));
    if (IsVerdict(verdict.outcome)) {
      const double raw = verdict.outcome == Outcome::kCorrect ? 1.0 : 0.0;
      verdict.parts.push_back({"accuracy", raw, std::nullopt});
    }
    return verdict;
  }

  const JudgeFunction judge_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<FakeAct> acts_;
  size_t next_ = 0;
  bool released_ = false;
  int64_t calls_ = 0;
  std::vector<Question> seen_;
};

// A question as the trainer asks it: one prompt, one completion.
inline Question MakeQuestion(std::string completion, std::string answer) {
  Question question;
  question.item_id = "test/0";
  question.segments = {{"user", "prompt", "What is it?"},
                       {"assistant", "model", std::move(completion)}};
  question.stop_reason = "stop_token";
  question.answer = std::move(answer);
  return question;
}

}  // namespace hone

#endif  // HONE_TESTS_VERIFIER_FAKE_VERIFIER_H_
