// SPDX-License-Identifier: Apache-2.0
//
// Is this completion right? Implementations: answers (exact, numeric, countdown; math next),
// rules, code (next), and clients of somebody else's (services/clients). The registry finds them
// by name. The same contract tests run against all (tests/verifier/verifier_contract.h).
#ifndef HONE_VERIFIER_VERIFIER_H_
#define HONE_VERIFIER_VERIFIER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "verifier/verdict.h"

namespace hone {

// A piece of a trajectory's text. Plain mirror of rollout's segments.
struct QuestionSegment {
  std::string role;  // "user", "assistant", "tool"
  std::string kind;  // "prompt", "model", "tool", "environment"
  std::string text;
};

struct Question {
  std::string item_id;
  std::vector<QuestionSegment> segments;  // the last model segment is the completion judged
  std::string stop_reason;                // StopReasonName; empty when unknown (offline grading)
  bool truncated = false;
  std::string answer;                           // the gold as text; or
  std::string tests_json;                       // tests as JSON, for code
  std::map<std::string, std::string> metadata;  // task metadata ("nums", "target", ...) as JSON
  bool lenient = false;                         // offline grading is lenient, training strict
  bool bare = false;                            // the completion is the answer itself
  int64_t seed = 0;  // for verifiers that draw; the same seed, same verdict
  absl::Time deadline = absl::InfiniteFuture();  // backstop; passing it is an outage
  int32_t attempt = 0;

  absl::string_view completion() const;  // the last model segment's text, or empty
};

struct VerifierInfo {
  std::string name;
  std::string version;
  std::string config_hash;
  std::string description;    // one sentence
  bool deterministic = true;  // same question, same verdict
};

// Thread-safe. Verifying twice is harmless: the same question gives the same verdict.
class Verifier {
 public:
  virtual ~Verifier() = default;

  virtual VerifierInfo Describe() const = 0;

  // One verdict per question, same order: always questions.size() of them. Machinery that fails
  // for one item gives that item Outcome::kOutage; a failed Status is an outage of all of them
  // (UNAVAILABLE: retry elsewhere; DEADLINE_EXCEEDED; RESOURCE_EXHAUSTED: retry later).
  virtual absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) = 0;
};

using VerifierOptions = std::map<std::string, std::string>;

// Finds a verifier by name: "exact", "numeric", "countdown", "format"; later "math", "code",
// "custom". NOT_FOUND lists what there is; INVALID_ARGUMENT for an unknown option or value.
absl::StatusOr<std::unique_ptr<Verifier>> MakeVerifier(absl::string_view name,
                                                       const VerifierOptions& options);
// Name and one sentence each.
std::vector<VerifierInfo> ListVerifiers();

}  // namespace hone

#endif  // HONE_VERIFIER_VERIFIER_H_
