// SPDX-License-Identifier: Apache-2.0
//
// Stored trajectories in the forms of other tools, or as a page to read.
#ifndef HONE_SERVICES_REPLAY_TRACE_EXPORT_H_
#define HONE_SERVICES_REPLAY_TRACE_EXPORT_H_

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "services/replay/recorded_run.h"

namespace hone {

// Text as HTML shows it: markup, and control and direction characters, become visible.
std::string HtmlText(absl::string_view text);

class TraceExport {
 public:
  // Redacted: prompts, answers, completions and what verifiers said of them are left out.
  TraceExport(const RecordedRun& run, int64_t first, int64_t last, bool redact)
      : run_(run), first_(first), last_(last), redact_(redact) {}

  // {"input", "output", "gts", "score", "step", "uid", "acc", "advantage", a key for each reward
  // part, ...}: a line a completion.
  absl::Status WriteVerlRows(std::ostream& out) const;
  // One Inspect log (version 2): a sample a completion, with its scores.
  absl::Status WriteInspectLog(std::ostream& out) const;
  // No script, no outside resource; texts are escaped, and a policy says so to the browser.
  absl::Status WriteHtml(std::ostream& out) const;

 private:
  using Take = std::function<void(const Group& group, const Trajectory& trajectory)>;
  absl::Status ForEach(const Take& take) const;
  std::string Shown(const std::string& text) const;

  const RecordedRun& run_;
  const int64_t first_;
  const int64_t last_;
  const bool redact_;
};

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_TRACE_EXPORT_H_
