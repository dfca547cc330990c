// SPDX-License-Identifier: Apache-2.0
//
// hone generate: completions of prompts.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"
#include "services/cli/policy_source.h"
#include "services/cli/token_rows.h"

namespace hone::cli {
namespace {

struct GenerateFlags {
  PolicyFlags policy;
  std::string in = "-";
  std::string prompt;
  bool jsonl = false;
  int max_tokens = 0;
  double temperature = 1.0;
  double top_p = 1.0;
  int top_k = 0;
  int n = 1;
  uint64_t seed = 0;
};

// row[key] as a number of the given type, or the flag's value; errors name line and key.
template <typename T>
absl::Status Take(const JsonlRow& row, const char* key, T* value) {
  const auto found = row.value.find(key);
  if (found == row.value.end() || found->is_null()) return absl::OkStatus();
  const bool whole = std::is_integral_v<T>;
  if (!(whole ? found->is_number_integer() : found->is_number())) {
    return absl::InvalidArgumentError(absl::StrCat("line ", row.line, ": \"", key, "\" is not a ",
                                                   whole ? "whole number" : "number"));
  }
  *value = found->get<T>();
  return absl::OkStatus();
}

absl::StatusOr<GenerateRequest> RequestOf(const JsonlRow& row, const GenerateFlags& flags,
                                          const LoadedPolicy& policy) {
  auto tokens = TokensOf(row, "prompt", policy);
  if (!tokens.ok()) return tokens.status();
  GenerateRequest request;
  request.request_id = absl::StrCat(row.line);
  request.prompt = *std::move(tokens);
  const int32_t room = policy.info.context_tokens - static_cast<int32_t>(request.prompt.size());
  request.n = flags.n;
  request.key.purpose = Purpose::kEval;
  request.key.run_seed = flags.seed;
  request.sampling.max_tokens = flags.max_tokens > 0 ? flags.max_tokens : std::max(1, room);
  request.sampling.temperature = static_cast<float>(flags.temperature);
  request.sampling.top_p = static_cast<float>(flags.top_p);
  request.sampling.top_k = flags.top_k;
  for (const absl::Status& taken :
       {Take(row, "max_tokens", &request.sampling.max_tokens),
        Take(row, "temperature", &request.sampling.temperature),
        Take(row, "top_p", &request.sampling.top_p), Take(row, "top_k", &request.sampling.top_k),
        Take(row, "n", &request.n), Take(row, "seed", &request.key.run_seed)}) {
    if (!taken.ok()) return taken;
  }
  request.stop_tokens = policy.info.stop_tokens;
  return request;
}

void WriteCompletion(const Json& id, size_t sample, const Completion& completion,
                     const LoadedPolicy& policy) {
  Json row;
  row["id"] = id;
  row["sample"] = sample;
  row["token_ids"] = completion.tokens;
  if (policy.tokenizer != nullptr) {
    absl::Span<const TokenId> text = completion.tokens;
    if (completion.stop_reason == StopReason::kStopToken) text.remove_suffix(1);
    row["text"] = policy.tokenizer->Decode(text);
  } else {
    row["text"] = nullptr;
  }
  Json logprobs = Json::array();
  for (float logprob : completion.logprobs) logprobs.push_back(ExactFloat(logprob));
  row["logprobs"] = std::move(logprobs);
  row["stop_reason"] = StopReasonName(completion.stop_reason);
  if (completion.stop_reason == StopReason::kStopToken)
    row["stop_token"] = completion.tokens.back();
  WriteRow(row);
}

void WriteError(const Json& id, const absl::Status& status) {
  WriteRow({{"id", id}, {"error", std::string(status.message())}});
}

absl::Status GenerateBatch(LoadedPolicy& policy, const GenerateFlags& flags,
                           std::vector<JsonlRow> rows, bool* failed) {
  std::vector<GenerateRequest> requests;
  std::vector<absl::Status> faults;
  for (const JsonlRow& row : rows) {
    auto request = RequestOf(row, flags, policy);
    faults.push_back(request.status());
    if (request.ok()) requests.push_back(*std::move(request));
  }
  auto all = GenerateAll(*policy.generator, requests);
  size_t next = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Json id = IdOf(rows[i].value);
    if (!faults[i].ok()) {
      *failed = true;
      WriteError(id, faults[i]);
      continue;
    }
    // One bad request fails the whole call: ask for each alone, so that only its row fails.
    auto alone = all.ok() ? absl::StatusOr<std::vector<std::vector<Completion>>>(
                                std::vector<std::vector<Completion>>{(*all)[next]})
                          : GenerateAll(*policy.generator, {&requests[next], 1});
    ++next;
    if (!alone.ok()) {
      *failed = true;
      WriteError(id, alone.status());
      continue;
    }
    for (size_t s = 0; s < (*alone)[0].size(); ++s) {
      WriteCompletion(id, s, (*alone)[0][s], policy);
    }
  }
  return absl::OkStatus();
}

int GenerateOne(LoadedPolicy& policy, const GenerateFlags& flags, const Globals& globals) {
  JsonlRow row;
  row.line = 1;
  row.value["prompt"] = flags.prompt;
  auto request = RequestOf(row, flags, policy);
  if (!request.ok()) return Fail(request.status(), globals);
  auto all = GenerateAll(*policy.generator, {&*request, 1});
  if (!all.ok()) return Fail(all.status(), globals);
  for (size_t s = 0; s < (*all)[0].size(); ++s) {
    const Completion& completion = (*all)[0][s];
    if (globals.json || flags.jsonl) {
      WriteCompletion(Json(), s, completion, policy);
      continue;
    }
    absl::Span<const TokenId> text = completion.tokens;
    if (completion.stop_reason == StopReason::kStopToken) text.remove_suffix(1);
    std::cout << Sanitise(policy.tokenizer->Decode(text)) << "\n";
  }
  return kDone;
}

int Generate(const GenerateFlags& flags, const Globals& globals) {
  auto policy =
      flags.prompt.empty() ? LoadPolicy(flags.policy) : LoadPolicyWithTokenizer(flags.policy);
  if (!policy.ok()) return Fail(policy.status(), globals);
  if (!flags.prompt.empty()) return GenerateOne(*policy, flags, globals);
  bool failed = false;
  absl::Status read = ReadJsonl(flags.in, 64, [&](std::vector<JsonlRow> rows) {
    return GenerateBatch(*policy, flags, std::move(rows), &failed);
  });
  if (!read.ok()) return Fail(read, globals);
  return failed ? kFailed : kDone;
}

}  // namespace

Action SetUpGenerate(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<GenerateFlags>();
  AddPolicyFlags(app, flags->policy);
  app.add_option("--prompt", flags->prompt, "one prompt; completions are printed as text");
  app.add_option(
         "--in", flags->in,
         "JSON Lines: {\"id\",\"prompt\"|\"token_ids\",\"max_tokens\",\"temperature\",\"top_p\","
         "\"top_k\",\"seed\",\"n\"}; - is stdin")
      ->capture_default_str();
  app.add_flag("--jsonl", flags->jsonl, "one row out per sample");
  app.add_option("--max-tokens", flags->max_tokens, "of a completion; 0: what the context holds");
  app.add_option("--temperature", flags->temperature, "0 is greedy")->capture_default_str();
  app.add_option("--top-p", flags->top_p, "in (0, 1]")->capture_default_str();
  app.add_option("--top-k", flags->top_k, "0: all")->capture_default_str();
  app.add_option("--seed", flags->seed, "the same seed gives the same completions")
      ->capture_default_str();
  app.add_option("-n,--samples", flags->n, "completions a prompt")->capture_default_str();
  app.footer(
      "Rows out: {\"id\",\"sample\",\"token_ids\",\"text\",\"logprobs\",\"stop_reason\"}; "
      "stop_reason is\n"
      "stop_token, length, context or cancelled; with stop_token, \"stop_token\" is the token that "
      "ended\n"
      "it, any of the model's ends. Values in a row win over flags.");
  return [flags, &globals] { return Generate(*flags, globals); };
}

}  // namespace hone::cli
