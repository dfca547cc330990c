// SPDX-License-Identifier: Apache-2.0
//
// Lines of a verifier worker, specs and declared rules from outside: read or refused, and a reply
// that is read keeps its promises.
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "services/clients/verifier_spec.h"
#include "services/clients/worker_protocol.h"
#include "verifier/rules/declarative.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view line(reinterpret_cast<const char*>(data), size);
  (void)hone::ParseHello(line);
  (void)hone::ParseReplyId(line);
  const auto reply = hone::ParseReply(line);
  if (reply.ok()) {
    assert(std::isfinite(reply->score) && reply->parts.size() <= 62);
    for (const auto& part : reply->parts) assert(part.raw && std::isfinite(*part.raw));
  }
  const auto item = hone::ParseItem(line);
  if (item.ok()) {
    const auto again = hone::ParseItem(hone::FormatItem(item->first, item->second));
    assert(again.ok() && again->second.completion() == item->second.completion());
  }
  (void)hone::ParseVerifierSpec(line);
  const auto declared = hone::MakeDeclarativeVerifier(line);
  if (declared.ok()) {
    hone::Question question;
    question.segments.push_back({"assistant", "model", "<think>a</think><answer>1</answer>"});
    question.answer = "1";
    const auto verdicts = (*declared)->Verify({question});
    assert(verdicts.ok() && verdicts->front().outcome != hone::Outcome::kUnspecified);
  }
  return 0;
}
