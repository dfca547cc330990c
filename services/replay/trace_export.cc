// SPDX-License-Identifier: Apache-2.0
#include "services/replay/trace_export.h"

#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "policy/hash.h"

namespace hone {
namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The whole style sheet; its hash stands in the page's policy.
constexpr char kStyle[] =
    "body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;"
    "color:#1a1a1a;background:#fff}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.2rem .6rem;"
    "border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f5f5f5;padding:.6rem;margin:.3rem "
    "0}summary{cursor:pointer;padding:.2rem 0}.correct{color:#0a6b2d}.wrong{color:#a3220b}"
    "@media (prefers-color-scheme:dark){body{color:#e6e6e6;background:#16181b}"
    "pre{background:#22252a}th,td{border-color:#3a3f46}.correct{color:#5fd08a}"
    ".wrong{color:#ff8f7a}}";

std::string StyleHash() {
  Sha256 hash;
  hash.Update(kStyle);
  const std::array<uint8_t, 32> digest = hash.Finish();
  return absl::Base64Escape(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

// Length of the UTF-8 sequence at the front and its code point; 1 and -1 where it is none.
size_t NextCode(absl::string_view text, int32_t* code) {
  const uint8_t lead = static_cast<uint8_t>(text[0]);
  *code = lead;
  if (lead < 0x80) return 1;
  const size_t length = (lead >> 5) == 6 ? 2 : (lead >> 4) == 14 ? 3 : (lead >> 3) == 30 ? 4 : 0;
  *code = -1;
  if (length == 0 || text.size() < length) return 1;
  int32_t value = lead & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<uint8_t>(text[i]) >> 6) != 2) return 1;
    value = value << 6 | (text[i] & 0x3f);
  }
  constexpr int32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
    return 1;
  }
  *code = value;
  return length;
}

bool IsHidden(int32_t code) {
  return (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7f && code < 0xa0) ||
         (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
}

void WriteHead(std::ostream& out, const std::string& title) {
  out << "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>" << title
      << "</title><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
         "style-src 'sha256-"
      << StyleHash()
      << "'; base-uri 'none'; form-action 'none'\"><meta name=\"referrer\" content=\"no-referrer\">"
         "<style>"
      << kStyle << "</style></head><body>\n<h1>" << title << "</h1>\n";
}

void WriteCurves(std::ostream& out, Store& store, int64_t first, int64_t last) {
  const char* names[] = {"reward/mean",      "accuracy/mean",  "completion/length_mean",
                         "group/flat_share", "policy/entropy", "policy/grad_norm"};
  out << "<table><tr><th>iteration</th>";
  for (const char* name : names) out << "<th>" << name << "</th>";
  out << "</tr>\n";
  for (int64_t i = first; i <= last; ++i) {
    const auto metrics = store.Metrics(i);
    if (!metrics.ok()) continue;
    out << "<tr><td><a href=\"#i" << i << "\">" << i << "</a></td>";
    for (const char* name : names) {
      const auto found = metrics->find(name);
      out << "<td>" << (found == metrics->end() ? "" : absl::StrFormat("%.4g", found->second))
          << "</td>";
    }
    out << "</tr>\n";
  }
  out << "</table>\n";
}

}  // namespace

std::string HtmlText(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    int32_t code = 0;
    const size_t length = NextCode(text, &code);
    if (code == '<') {
      out += "&lt;";
    } else if (code == '>') {
      out += "&gt;";
    } else if (code == '&') {
      out += "&amp;";
    } else if (code == '"') {
      out += "&quot;";
    } else if (code == '\'') {
      out += "&#39;";
    } else if (code < 0) {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<uint8_t>(text[0]));
    } else if (IsHidden(code)) {
      absl::StrAppendFormat(&out, "\\u{%04x}", code);
    } else {
      out.append(text.data(), length);
    }
    text.remove_prefix(length);
  }
  return out;
}

std::string TraceExport::Shown(const std::string& text) const {
  return redact_ ? absl::StrCat("[", text.size(), " bytes]") : text;
}

absl::Status TraceExport::ForEach(const Take& take) const {
  for (int64_t iteration = first_; iteration <= last_; ++iteration) {
    auto groups = run_.Groups(iteration);
    if (!groups.ok()) return groups.status();
    for (const StoredGroup& stored : *groups) {
      if (!stored.damage.ok()) return stored.damage;
      for (const Trajectory& t : stored.group.trajectories) take(stored.group, t);
    }
  }
  return absl::OkStatus();
}

absl::Status TraceExport::WriteVerlRows(std::ostream& out) const {
  return ForEach([&](const Group& group, const Trajectory& t) {
    std::string prompt;
    for (const Segment& segment : t.segments) {
      if (segment.kind == SegmentKind::kPrompt) prompt += segment.text;
    }
    Json row;
    row["input"] = Shown(prompt);
    row["output"] = Shown(t.completion());
    row["gts"] = Shown(group.task.answer);
    row["score"] = t.reward.total;
    row["step"] = group.iteration;
    row["request_id"] = t.id;
    row["uid"] = group.id;
    row["data_source"] = group.task.source;
    row["acc"] = t.verdict.outcome == Outcome::kCorrect ? 1.0 : 0.0;
    row["pred"] = Shown(t.verdict.extracted);
    row["outcome"] = OutcomeName(t.verdict.outcome);
    row["advantage"] = t.advantage;
    row["response_length"] = t.completion_tokens();
    row["stop_reason"] = StopReasonName(t.stop_reason);
    for (const RewardPart& part : t.reward.parts) {
      row["reward_" + part.name] = part.raw ? Json(*part.raw) : Json();
    }
    out << Dump(row) << "\n";
  });
}

absl::Status TraceExport::WriteInspectLog(std::ostream& out) const {
  Json samples = Json::array();
  double correct = 0;
  double reward = 0;
  const absl::Status read = ForEach([&](const Group& group, const Trajectory& t) {
    const bool right = t.verdict.outcome == Outcome::kCorrect;
    correct += right ? 1 : 0;
    Json sample;
    sample["id"] = absl::StrCat(group.iteration, "/", group.id.substr(0, 12));
    sample["epoch"] = t.key.sample + 1;
    sample["uuid"] = t.id;
    sample["input"] = Shown(group.task.prompt);
    sample["target"] = Shown(group.task.answer);
    // Inspect's tables are made by ids.
    const Json question = {
        {"id", t.id + "-0"}, {"role", "user"}, {"content", Shown(group.task.prompt)}};
    const Json answer = {
        {"id", t.id + "-1"}, {"role", "assistant"}, {"content", Shown(t.completion())}};
    sample["messages"] = Json::array({question, answer});
    sample["output"] = {
        {"model", "hone"},
        {"choices",
         {{{"message", answer},
           {"stop_reason", t.stop_reason == StopReason::kStopToken ? "stop" : "max_tokens"}}}}};
    Json metadata = {{"trajectory", t.id},       {"iteration", group.iteration},
                     {"version", group.version}, {"reward", t.reward.total},
                     {"advantage", t.advantage}, {"outcome", OutcomeName(t.verdict.outcome)}};
    sample["scores"]["verifier"] = {{"value", right ? "C" : "I"},
                                    {"answer", Shown(t.verdict.extracted)},
                                    {"explanation", Shown(t.verdict.detail)}};
    sample["scores"]["reward"] = {{"value", t.reward.total}};
    reward += t.reward.total;
    sample["metadata"] = std::move(metadata);
    samples.push_back(std::move(sample));
  });
  if (!read.ok()) return read;
  const double n = static_cast<double>(samples.size());
  // An export has no clock of its own.
  const char* created = "1970-01-01T00:00:00+00:00";
  Json log;
  log["version"] = 2;
  log["status"] = "success";
  log["eval"] = {{"eval_id", run_.record().id},
                 {"run_id", run_.record().id},
                 {"created", created},
                 {"task", run_.config().name()},
                 {"task_id", run_.record().id},
                 {"dataset", {{"name", run_.config().name()}, {"samples", samples.size()}}},
                 {"model", "hone"},
                 {"config", Json::object()}};
  log["plan"] = {{"name", "plan"}, {"steps", Json::array()}, {"config", Json::object()}};
  Json accuracy = {{"name", "accuracy"}, {"value", n > 0 ? correct / n : 0.0}};
  Json mean = {{"name", "mean"}, {"value", n > 0 ? reward / n : 0.0}};
  const auto score = [](const char* name, const char* metric, const Json& value) {
    return Json{{"name", name}, {"scorer", name}, {"metrics", {{metric, value}}}};
  };
  log["results"] = {{"total_samples", samples.size()},
                    {"completed_samples", samples.size()},
                    {"scores", Json::array({score("verifier", "accuracy", accuracy),
                                            score("reward", "mean", mean)})}};
  log["stats"] = {{"started_at", created}, {"completed_at", created}};
  log["samples"] = std::move(samples);
  out << Dump(log) << "\n";
  return absl::OkStatus();
}

absl::Status TraceExport::WriteHtml(std::ostream& out) const {
  WriteHead(out,
            HtmlText(absl::StrCat(run_.config().name(), ", iterations ", first_, " to ", last_)));
  out << "<p>run " << run_.record().id << "</p>\n";
  WriteCurves(out, run_.store(), first_, last_);
  int64_t iteration = 0;
  std::string group_id;
  const absl::Status read = ForEach([&](const Group& group, const Trajectory& t) {
    if (group.iteration != iteration) {
      iteration = group.iteration;
      out << "<h2 id=\"i" << iteration << "\">iteration " << iteration << "</h2>\n";
    }
    if (group.id != group_id) {
      group_id = group.id;
      out << absl::StrFormat("<h3>group %s, mean reward %.3f%s</h3>\n<pre>%s</pre>\n",
                             group.id.substr(0, 12), group.baseline, group.flat ? ", flat" : "",
                             HtmlText(Shown(group.task.prompt)));
    }
    const bool right = t.verdict.outcome == Outcome::kCorrect;
    out << absl::StrFormat(
        "<details><summary><span class=\"%s\">%s</span> reward %.3f, advantage %+.3f, %d tokens, "
        "%s</summary>\n<pre>%s</pre>\n<p>extracted %s; gold %s; %s</p>\n<p>",
        right ? "correct" : "wrong", OutcomeName(t.verdict.outcome), t.reward.total, t.advantage,
        t.completion_tokens(), t.id.substr(0, 12), HtmlText(Shown(t.completion())),
        HtmlText(Shown(t.verdict.extracted)), HtmlText(Shown(group.task.answer)),
        HtmlText(Shown(t.verdict.detail)));
    for (const RewardPart& part : t.reward.parts) {
      out << absl::StrFormat("%s %s × %g%s &nbsp; ", HtmlText(part.name),
                             part.raw ? absl::StrFormat("%.4g", *part.raw) : "none", part.weight,
                             part.gated ? " (gate closed)" : "");
    }
    out << "</p></details>\n";
  });
  out << "</body></html>\n";
  return read;
}

}  // namespace hone
