// SPDX-License-Identifier: Apache-2.0
#include "rollout/single_turn.h"

#include <cassert>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "rollout/prompt_template.h"
#include "rollout/tasks/jsonl_file.h"

namespace hone {
namespace {

constexpr size_t kMaxExtractedBytes = 4096;
constexpr size_t kMaxParts = 64;

Verdict Outage(std::string detail) {
  Verdict verdict;
  verdict.outcome = Outcome::kOutage;
  verdict.detail = std::move(detail);
  return verdict;
}

// Why a reply cannot be believed; empty: it can.
std::string Nonsense(const Verdict& verdict) {
  if (verdict.outcome == Outcome::kUnspecified || verdict.outcome > Outcome::kOutage) {
    return "the verdict has no outcome";
  }
  if (verdict.parts.size() > kMaxParts) return absl::StrCat(verdict.parts.size(), " parts");
  for (const VerdictPart& part : verdict.parts) {
    if (part.raw.has_value() && !std::isfinite(*part.raw)) {
      return absl::StrCat("part '", part.name, "' is not finite");
    }
  }
  return "";
}

}  // namespace

SingleTurn::SingleTurn(std::vector<std::shared_ptr<Verifier>> verifiers, SingleTurnOptions options)
    : verifiers_(std::move(verifiers)), options_(std::move(options)) {
  assert(!verifiers_.empty());
}

absl::StatusOr<std::vector<Segment>> SingleTurn::Reset(const Task& task) {
  absl::StatusOr<PromptText> prompt = RenderPrompt(options_.prompt_template, task.prompt);
  if (!prompt.ok()) return prompt.status();
  task_ = task;
  prompt_ = std::move(prompt->text);
  Segment segment;
  segment.role = "user";
  segment.kind = SegmentKind::kPrompt;
  segment.text = prompt_;
  segment.literal = std::move(prompt->literal);
  return std::vector<Segment>{segment};
}

absl::StatusOr<StepResult> SingleTurn::Step(const std::string& completion_text,
                                            StopReason stop_reason) {
  StepResult result;
  result.done = true;
  if (stop_reason == StopReason::kCancelled) {
    result.verify_attempts = 0;
    result.verdict = Outage("the completion was cancelled before its end");
    return result;
  }
  Question question;
  question.item_id = options_.item_id;
  question.segments = {{"user", "prompt", prompt_}, {"assistant", "model", completion_text}};
  question.stop_reason = StopReasonName(stop_reason);
  question.truncated = IsTruncated(stop_reason);
  question.answer = task_.answer;
  question.tests_json = task_.tests_json;
  question.metadata = task_.metadata;
  // As it was before the template: programs may continue it, and tests may use its helpers.
  question.metadata.emplace("prompt", JsonText(task_.prompt));
  question.lenient = options_.lenient;
  question.seed = options_.seed;
  for (int32_t attempt = 0; attempt < options_.verify_attempts; ++attempt) {
    result.verify_attempts = attempt + 1;
    result.verdict = Ask(attempt, question);
    if (result.verdict.outcome != Outcome::kOutage) break;
  }
  return result;
}

Verdict SingleTurn::Ask(int32_t attempt, const Question& question) {
  Question asked = question;
  asked.attempt = attempt;
  const absl::Time begin = absl::Now();
  asked.deadline = begin + options_.verify_deadline;
  const size_t first = static_cast<uint64_t>(options_.seed) % verifiers_.size();
  Verifier& verifier = *verifiers_[(first + static_cast<size_t>(attempt)) % verifiers_.size()];
  absl::StatusOr<std::vector<Verdict>> reply = verifier.Verify(absl::MakeConstSpan(&asked, 1));
  if (!reply.ok()) return Outage(reply.status().ToString());
  if (reply->size() != 1) {
    return Outage(absl::StrCat("the verifier gave ", reply->size(), " verdicts on one question"));
  }
  Verdict verdict = std::move((*reply)[0]);
  const std::string nonsense = Nonsense(verdict);
  if (!nonsense.empty()) return Outage(absl::StrCat("the verifier's reply: ", nonsense));
  if (verdict.extracted.size() > kMaxExtractedBytes) {
    verdict.extracted.resize(kMaxExtractedBytes);
    verdict.extracted_truncated = true;
  }
  if (verdict.elapsed_us == 0) {
    verdict.elapsed_us = absl::ToInt64Microseconds(absl::Now() - begin);
  }
  return verdict;
}

}  // namespace hone
