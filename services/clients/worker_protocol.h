// SPDX-License-Identifier: Apache-2.0
//
// What is said between Hone and a verifier worker, one JSON object a line: docs/custom_verifiers.md
// has the protocol. Both sides' reading and writing; no processes here.
#ifndef HONE_SERVICES_CLIENTS_WORKER_PROTOCOL_H_
#define HONE_SERVICES_CLIENTS_WORKER_PROTOCOL_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "verifier/verifier.h"

namespace hone {

inline constexpr int kWorkerProtocolVersion = 1;

struct WorkerHello {
  std::string name;     // 1..256 bytes, no blanks, no '/'
  std::string version;  // the same
  std::string description;
  bool deterministic = true;
  std::optional<double> min, max, threshold;
};

// What a worker says about one item: exactly one of score, skipped, outage.
struct WorkerReply {
  enum class Kind { kScore, kSkipped, kOutage };
  Kind kind = Kind::kOutage;
  double score = 0;                // kScore; finite
  std::string why;                 // kSkipped, kOutage: a sentence
  std::vector<VerdictPart> parts;  // beside the score, at most 62
  std::string extracted;
  std::string detail;
};

// Errors of every reader are INVALID_ARGUMENT: a sentence that quotes the line's beginning. Lines
// are UTF-8, nested at most 32 deep; unknown keys are refused.
absl::StatusOr<WorkerHello> ParseHello(absl::string_view line);

// The item_id of a reply, before anything else in it is believed.
absl::StatusOr<std::string> ParseReplyId(absl::string_view line);
absl::StatusOr<WorkerReply> ParseReply(absl::string_view line);

// ASCII, without newline. item_id is Hone's own name of the asking, unique per worker.
std::string FormatItem(const std::string& item_id, const Question& question);

// The worker's side.
std::string FormatHello(const VerifierInfo& info);
std::string FormatReply(const std::string& item_id, const Verdict& verdict);
absl::StatusOr<std::pair<std::string, Question>> ParseItem(absl::string_view line);

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_WORKER_PROTOCOL_H_
