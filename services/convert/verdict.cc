// SPDX-License-Identifier: Apache-2.0
#include "services/convert/verdict.h"

#include <string>
#include <utility>

#include "hone/v1/trajectory.pb.h"
#include "hone/v1/verifier_service.pb.h"
#include "policy/types.h"
#include "services/convert/check.h"
#include "services/convert/limits.h"
#include "services/convert/values.h"

namespace hone::convert {
namespace {

static_assert(static_cast<int>(Outcome::kCorrect) == v1::Verdict::OUTCOME_CORRECT);
static_assert(static_cast<int>(Outcome::kViolation) == v1::Verdict::OUTCOME_VIOLATION);

using Parts = google::protobuf::RepeatedPtrField<v1::Verdict::Part>;
using Evidence = google::protobuf::Map<std::string, std::string>;

void PartsToProto(const std::vector<VerdictPart>& from, Parts* to) {
  for (const VerdictPart& part : from) {
    v1::Verdict::Part* added = to->Add();
    added->set_name(part.name);
    if (part.raw) added->set_raw(*part.raw);
    if (part.segment) added->set_segment(*part.segment);
  }
}

std::vector<VerdictPart> PartsFromProto(const Parts& from, Checker& check) {
  std::vector<VerdictPart> to;
  check.Range("number of parts", from.size(), 0, kMaxParts);
  for (int i = 0; i < from.size(); ++i) {
    VerdictPart part;
    part.name = from[i].name();
    check.Name(At("parts", i), part.name);
    if (from[i].has_raw()) {
      part.raw = from[i].raw();
      check.Finite(absl::StrCat(At("parts", i), ".raw"), *part.raw);
    }
    if (from[i].has_segment()) {
      part.segment = from[i].segment();
      check.Range(absl::StrCat(At("parts", i), ".segment"), *part.segment, 0, kMaxSegments);
    }
    to.push_back(std::move(part));
  }
  return to;
}

template <typename Map>
int64_t EvidenceBytes(const Map& evidence) {
  int64_t bytes = 0;
  for (const auto& [name, value] : evidence) {
    bytes += static_cast<int64_t>(name.size() + value.size());
  }
  return bytes;
}

std::map<std::string, std::string> EvidenceFromProto(const Evidence& from, Checker& check) {
  check.Range("evidence entries", static_cast<int64_t>(from.size()), 0, kMaxMapEntries);
  check.Range("evidence bytes", EvidenceBytes(from), 0, kMaxEvidenceBytes);
  return {from.begin(), from.end()};
}

// What does not fit the wire, or OK.
absl::Status CheckLimits(const Verdict& verdict) {
  Checker check;
  check.Range("number of parts", static_cast<int64_t>(verdict.parts.size()), 0, kMaxParts);
  for (const VerdictPart& part : verdict.parts) {
    check.Name("parts.name", part.name);
    if (part.raw) check.Finite(absl::StrCat("part '", part.name, "'"), *part.raw);
  }
  check.Bytes("extracted", verdict.extracted, kMaxExtractedBytes);
  check.Bytes("detail", verdict.detail, kMaxDetailBytes);
  check.Name("verifier", verdict.verifier);
  check.Range("evidence entries", static_cast<int64_t>(verdict.evidence.size()), 0, kMaxMapEntries);
  check.Range("evidence bytes", EvidenceBytes(verdict.evidence), 0, kMaxEvidenceBytes);
  check.Require(verdict.elapsed_us >= 0, "elapsed_us", "is negative");
  return check.status();
}

template <typename Message>
void CommonToProto(const Verdict& from, Message* to) {
  PartsToProto(from.parts, to->mutable_parts());
  to->set_extracted(from.extracted);
  to->set_extracted_truncated(from.extracted_truncated);
  to->mutable_evidence()->insert(from.evidence.begin(), from.evidence.end());
  to->set_verifier(from.verifier);
  to->set_elapsed_us(from.elapsed_us);
}

// Evidence, verifier, time; `why` is the detail or the reason.
template <typename Message>
void TailFromProto(const Message& from, const std::string& why, Checker& check, Verdict* to) {
  to->detail = why;
  check.Bytes("detail", why, kMaxDetailBytes);
  to->evidence = EvidenceFromProto(from.evidence(), check);
  to->verifier = from.verifier();
  check.Name("verifier", to->verifier);
  to->elapsed_us = from.elapsed_us();
  check.Require(to->elapsed_us >= 0, "elapsed_us", "is negative");
}

template <typename Message>
void CommonFromProto(const Message& from, const std::string& why, Checker& check, Verdict* to) {
  to->parts = PartsFromProto(from.parts(), check);
  to->extracted = from.extracted();
  check.Bytes("extracted", to->extracted, kMaxExtractedBytes);
  to->extracted_truncated = from.extracted_truncated();
  TailFromProto(from, why, check, to);
}

}  // namespace

void ToProto(const Verdict& from, v1::Judgement* to) {
  to->Clear();
  const absl::Status limits = CheckLimits(from);
  if (!limits.ok()) {
    to->mutable_outage()->set_reason(
        absl::StrCat("the verdict does not fit the wire: ", limits.message()));
    return;
  }
  if (IsVerdict(from.outcome)) {
    v1::Verdict* verdict = to->mutable_verdict();
    verdict->set_outcome(static_cast<v1::Verdict::Outcome>(from.outcome));
    verdict->set_detail(from.detail);
    CommonToProto(from, verdict);
  } else if (from.outcome == Outcome::kSkipped) {
    to->mutable_skipped()->set_reason(from.detail);
    CommonToProto(from, to->mutable_skipped());
  } else if (from.outcome == Outcome::kOutage) {
    v1::Outage* outage = to->mutable_outage();
    outage->set_reason(from.detail);
    outage->mutable_evidence()->insert(from.evidence.begin(), from.evidence.end());
    outage->set_verifier(from.verifier);
    outage->set_elapsed_us(from.elapsed_us);
  }
}

absl::StatusOr<Verdict> FromProto(const v1::Judgement& from) {
  Checker check;
  Verdict to;
  switch (from.kind_case()) {
    case v1::Judgement::kVerdict:
      check.Range("outcome", from.verdict().outcome(), v1::Verdict::OUTCOME_CORRECT,
                  v1::Verdict::OUTCOME_VIOLATION);
      if (check.ok()) to.outcome = static_cast<Outcome>(from.verdict().outcome());
      CommonFromProto(from.verdict(), from.verdict().detail(), check, &to);
      break;
    case v1::Judgement::kSkipped:
      to.outcome = Outcome::kSkipped;
      CommonFromProto(from.skipped(), from.skipped().reason(), check, &to);
      break;
    case v1::Judgement::kOutage:
      to.outcome = Outcome::kOutage;
      TailFromProto(from.outage(), from.outage().reason(), check, &to);
      break;
    case v1::Judgement::KIND_NOT_SET:
      check.Fail("judgement", "is neither a verdict nor skipped nor an outage");
      break;
  }
  if (!check.ok()) return check.status();
  return to;
}

void ToProto(const Question& from, absl::Time now, v1::Question* to) {
  to->Clear();
  to->set_item_id(from.item_id);
  for (const QuestionSegment& segment : from.segments) {
    v1::Question::Segment* added = to->add_segments();
    added->set_role(segment.role);
    added->set_kind(segment.kind);
    added->set_text(segment.text);
  }
  to->set_stop_reason(from.stop_reason);
  to->set_truncated(from.truncated);
  to->set_answer(from.answer);
  to->set_tests_json(from.tests_json);
  to->mutable_metadata()->insert(from.metadata.begin(), from.metadata.end());
  to->set_lenient(from.lenient);
  to->set_bare(from.bare);
  to->set_seed(from.seed);
  if (from.deadline != absl::InfiniteFuture()) {
    to->set_time_left_us(MicrosLeft(from.deadline, now));
  }
  to->set_attempt(from.attempt);
}

absl::StatusOr<Question> FromProto(const v1::Question& from, absl::Time now) {
  Checker check;
  Question to;
  check.Name("item_id", from.item_id());
  check.Range("number of segments", from.segments_size(), 0, kMaxSegments);
  for (const v1::Question::Segment& segment : from.segments()) {
    const std::string& kind = segment.kind();
    check.Require(kind == "prompt" || kind == "model" || kind == "tool" || kind == "environment",
                  "segments.kind", "is not prompt, model, tool or environment");
    check.Name("segments.role", segment.role());
    to.segments.push_back({segment.role(), kind, segment.text()});
  }
  check.Require(
      from.stop_reason().empty() || StopReasonFromName(from.stop_reason()) != StopReason::kNone,
      "stop_reason", "is not one of stop_token, length, context, cancelled");
  check.Range("metadata entries", static_cast<int64_t>(from.metadata_size()), 0, kMaxMapEntries);
  check.Require(from.attempt() >= 0, "attempt", "is negative");
  if (!check.ok()) return check.status();
  to.item_id = from.item_id();
  to.stop_reason = from.stop_reason();
  to.truncated = from.truncated();
  to.answer = from.answer();
  to.tests_json = from.tests_json();
  to.metadata = {from.metadata().begin(), from.metadata().end()};
  to.lenient = from.lenient();
  to.bare = from.bare();
  to.seed = from.seed();
  if (from.has_time_left_us()) to.deadline = DeadlineOf(from.time_left_us(), now);
  to.attempt = from.attempt();
  return to;
}

void ToProto(const VerifierInfo& from, v1::VerifierInfo* to) {
  to->set_name(from.name);
  to->set_version(from.version);
  to->set_config_hash(from.config_hash);
  to->set_description(from.description);
  to->set_deterministic(from.deterministic);
}

absl::StatusOr<VerifierInfo> FromProto(const v1::VerifierInfo& from) {
  Checker check;
  check.Require(!from.name().empty(), "name", "is empty");
  check.Name("name", from.name());
  check.Name("version", from.version());
  check.Name("config_hash", from.config_hash());
  check.Bytes("description", from.description(), kMaxDetailBytes);
  if (!check.ok()) return check.status();
  return VerifierInfo{from.name(), from.version(), from.config_hash(), from.description(),
                      from.deterministic()};
}

void ToProto(const Reward& from, v1::Reward* to) {
  to->Clear();
  for (const RewardPart& part : from.parts) {
    v1::Reward::Part* added = to->add_parts();
    added->set_name(part.name);
    if (part.raw) added->set_raw(*part.raw);
    added->set_weight(part.weight);
    added->set_gated(part.gated);
    if (part.segment) added->set_segment(*part.segment);
  }
  to->set_total(from.total);
}

absl::StatusOr<Reward> FromProto(const v1::Reward& from) {
  Checker check;
  Reward to;
  check.Range("number of parts", from.parts_size(), 0, kMaxParts);
  for (const v1::Reward::Part& part : from.parts()) {
    RewardPart added;
    added.name = part.name();
    check.Name("parts.name", part.name());
    if (part.has_raw()) {
      added.raw = part.raw();
      check.Finite("parts.raw", part.raw());
    }
    added.weight = part.weight();
    check.Finite("parts.weight", part.weight());
    added.gated = part.gated();
    if (part.has_segment()) {
      added.segment = part.segment();
      check.Range("parts.segment", part.segment(), 0, kMaxSegments);
    }
    to.parts.push_back(std::move(added));
  }
  to.total = from.total();
  check.Finite("total", to.total);
  if (!check.ok()) return check.status();
  return to;
}

}  // namespace hone::convert
