// SPDX-License-Identifier: Apache-2.0
//
// hone grade: answers offline. Lenient by default; training is strict.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"
#include "services/clients/verifier_spec.h"
#include "verifier/verifier.h"

namespace hone::cli {
namespace {

struct GradeFlags {
  std::string verifier = "exact";
  std::string in = "-";
  std::string rule;
  bool jsonl = false;
  bool bare = false;
  bool strict = false;
  bool list = false;
  bool why = false;
  std::vector<std::string> options;
};

absl::StatusOr<VerifierOptions> OptionsOf(const GradeFlags& flags) {
  auto options = ParseKeyValues("--option", flags.options);
  if (options.ok() && !flags.rule.empty()) (*options)["rule"] = flags.rule;
  return options;
}

Question QuestionOf(const Json& row, const GradeFlags& flags) {
  Question question;
  question.item_id = TextOf(row, "id");
  if (row.contains("prompt")) {
    question.segments.push_back({"user", "prompt", TextOf(row, "prompt")});
  }
  question.segments.push_back({"assistant", "model", TextOf(row, "completion")});
  question.stop_reason = TextOf(row, "stop_reason");
  question.answer = TextOf(row, "answer");
  question.tests_json = row.contains("tests") ? row["tests"].dump() : "";
  for (const auto& [key, value] : row.items()) {
    question.metadata[key] = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  question.metadata.erase("completion");
  question.lenient = !flags.strict;
  question.bare = flags.bare;
  return question;
}

Json RowOf(const Json& id, const Verdict& verdict, bool why) {
  Json row;
  row["id"] = id;
  row["outcome"] = OutcomeName(verdict.outcome);
  row["reward"] = nullptr;
  if (IsVerdict(verdict.outcome)) {
    row["reward"] = verdict.outcome == Outcome::kCorrect ? 1.0 : 0.0;
    for (const VerdictPart& part : verdict.parts) {  // a fraction, where the verifier gives one
      if (part.name == "accuracy" && part.raw) row["reward"] = *part.raw;
    }
  }
  row["extracted"] = verdict.extracted;
  row["detail"] = verdict.detail;
  if (!why) return row;
  row["verifier"] = verdict.verifier;
  Json parts = Json::object();
  for (const VerdictPart& part : verdict.parts) {
    parts[part.name] = part.raw ? Json(*part.raw) : Json();
  }
  row["parts"] = std::move(parts);
  row["evidence"] = verdict.evidence;
  return row;
}

// A row that is no row has nothing to judge: skipped, with the reason.
Verdict SkippedRow(const std::string& why) {
  Verdict verdict;
  verdict.outcome = Outcome::kSkipped;
  verdict.detail = why;
  return verdict;
}

std::string WhyNotGradable(const JsonlRow& row) {
  if (!row.error.empty()) return row.error;
  const auto completion = row.value.find("completion");
  if (completion == row.value.end()) {
    return absl::StrCat("line ", row.line, ": no \"completion\"");
  }
  if (!completion->is_string()) {
    return absl::StrCat("line ", row.line, ": \"completion\" is not a string");
  }
  return "";
}

absl::Status GradeBatch(Verifier& verifier, const GradeFlags& flags, std::vector<JsonlRow> rows,
                        bool* outage) {
  std::vector<Question> questions;
  std::vector<Verdict> verdicts(rows.size());
  std::vector<size_t> place;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string why = WhyNotGradable(rows[i]);
    if (!why.empty()) {
      verdicts[i] = SkippedRow(why);
      continue;
    }
    questions.push_back(QuestionOf(rows[i].value, flags));
    place.push_back(i);
  }
  auto judged = verifier.Verify(questions);
  if (absl::IsFailedPrecondition(judged.status())) return judged.status();
  if (judged.ok() && judged->size() != questions.size()) {
    judged = absl::InternalError("the verifier answered another number of questions");
  }
  for (size_t j = 0; j < place.size(); ++j) {
    if (judged.ok()) {
      verdicts[place[j]] = std::move((*judged)[j]);
    } else {
      verdicts[place[j]].outcome = Outcome::kOutage;
      verdicts[place[j]].detail = std::string(judged.status().message());
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    *outage |= verdicts[i].outcome == Outcome::kOutage;
    WriteRow(RowOf(IdOf(rows[i].value), verdicts[i], flags.why));
  }
  return absl::OkStatus();
}

int Grade(const GradeFlags& flags, const Globals& globals) {
  if (flags.list) {
    for (const VerifierInfo& info : ListVerifiers()) {
      std::cout << info.name << "  " << info.description << "\n";
    }
    return kDone;
  }
  auto options = OptionsOf(flags);
  if (!options.ok()) return Fail(options.status(), globals);
  auto verifier = OpenVerifier(flags.verifier, *options);
  if (!verifier.ok()) return Fail(verifier.status(), globals);
  bool outage = false;
  absl::Status read = ReadJsonl(flags.in, 256, [&](std::vector<JsonlRow> rows) {
    return GradeBatch(**verifier, flags, std::move(rows), &outage);
  });
  if (absl::IsFailedPrecondition(read)) {  // no isolation here: nothing was judged
    Fail(read, globals);
    return kMachineLacks;
  }
  if (!read.ok()) return Fail(read, globals);
  return outage ? kFailed : kDone;
}

}  // namespace

Action SetUpGrade(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<GradeFlags>();
  app.add_option("--verifier", flags->verifier,
                 "a name of --list, or rules:, python:, exec:, grpc: (hone verifier --help)")
      ->capture_default_str();
  app.add_option(
         "--in", flags->in,
         "JSON Lines: {\"id\",\"answer\"|\"tests\"|\"nums\"+\"target\",\"completion\"}; - is stdin")
      ->capture_default_str();
  app.add_flag("--jsonl", flags->jsonl, "one row out per row in (the only form there is)");
  app.add_flag("--bare", flags->bare, "the completion is the answer itself");
  app.add_flag("--strict", flags->strict, "extract as training does");
  app.add_option("--rule", flags->rule, "of format: strict, strict_prefilled, think_only");
  app.add_option("--option", flags->options, "of the verifier, KEY=VALUE; repeat for more");
  app.add_flag("--why", flags->why, "also what the verdict rests on: parts, evidence, verifier");
  app.add_flag("--list", flags->list, "the verifiers of this build");
  app.footer(
      "Rows out: {\"id\",\"outcome\",\"reward\",\"extracted\",\"detail\"}. Outcomes: correct, "
      "wrong,\n"
      "unparsable, limit_exceeded, violation, skipped (gold unreadable, reward null), outage\n"
      "(reward null). Exit 0 when every row was judged, 1 when there was an outage.");
  return [flags, &globals] { return Grade(*flags, globals); };
}

}  // namespace hone::cli
