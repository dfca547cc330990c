// SPDX-License-Identifier: Apache-2.0
//
// hone score: logprobs of given tokens or texts.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"
#include "services/cli/policy_source.h"
#include "services/cli/token_rows.h"

namespace hone::cli {
namespace {

struct ScoreFlags {
  PolicyFlags policy;
  std::string in = "-";
  bool jsonl = false;
  bool as_policy = false;
  double temperature = 1.0;
};

Json ResultRow(const Json& id, const std::vector<TokenId>& tokens, const ScoreResult& scored,
               size_t index) {
  Json row;
  row["id"] = id;
  row["token_ids"] = tokens;
  Json logprobs = Json::array();
  Json argmax = Json::array();
  for (size_t t = 0; t < tokens.size(); ++t) {
    logprobs.push_back(t == 0 ? Json() : ExactFloat(scored.logprobs[index][t]));
    argmax.push_back(t == 0 ? Json() : Json(scored.argmax[index][t]));
  }
  row["logprobs"] = std::move(logprobs);
  row["argmax"] = std::move(argmax);
  return row;
}

absl::Status ScoreBatch(LoadedPolicy& policy, const ScoreFlags& flags, std::vector<JsonlRow> rows,
                        bool* failed) {
  ScoreRequest request;
  request.temperature = static_cast<float>(flags.temperature);
  request.mask_vocabulary = flags.as_policy;
  std::vector<absl::StatusOr<std::vector<TokenId>>> tokens;
  for (const JsonlRow& row : rows) {
    tokens.push_back(TokensOf(row, "text", policy));
    if (tokens.back().ok()) request.sequences.push_back(*tokens.back());
  }
  ScoreResult scored;
  if (!request.sequences.empty()) {
    auto result = policy.generator->Score(request);
    if (!result.ok()) return result.status();
    scored = *std::move(result);
  }
  size_t next = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (tokens[i].ok()) {
      WriteRow(ResultRow(IdOf(rows[i].value), *tokens[i], scored, next++));
    } else {
      *failed = true;
      WriteRow({{"id", IdOf(rows[i].value)}, {"error", std::string(tokens[i].status().message())}});
    }
  }
  return absl::OkStatus();
}

int Score(const ScoreFlags& flags, const Globals& globals) {
  auto policy = LoadPolicy(flags.policy);
  if (!policy.ok()) return Fail(policy.status(), globals);
  bool failed = false;
  absl::Status read = ReadJsonl(flags.in, 64, [&](std::vector<JsonlRow> rows) {
    return ScoreBatch(*policy, flags, std::move(rows), &failed);
  });
  if (!read.ok()) return Fail(read, globals);
  return failed ? kFailed : kDone;
}

}  // namespace

Action SetUpScore(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<ScoreFlags>();
  AddPolicyFlags(app, flags->policy);
  app.add_option("--in", flags->in,
                 "JSON Lines: {\"id\",\"token_ids\"} or {\"id\",\"text\"}; - is stdin")
      ->capture_default_str();
  app.add_flag("--jsonl", flags->jsonl, "one row out per row in (the only form there is)");
  app.add_flag("--as-policy", flags->as_policy,
               "mask rows past the tokenizer, as sampling and training do");
  app.add_option("--temperature", flags->temperature, "of the distribution")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.footer(
      "Rows out: {\"id\",\"token_ids\",\"logprobs\",\"argmax\"}; index t is about token t given "
      "those\n"
      "before it, the first is null; natural log; numbers read back to the same float.");
  return [flags, &globals] { return Score(*flags, globals); };
}

}  // namespace hone::cli
