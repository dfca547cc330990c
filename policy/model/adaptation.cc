// SPDX-License-Identifier: Apache-2.0
#include "policy/model/adaptation.h"

#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "policy/model/parameters.h"

namespace hone {
namespace {

constexpr int32_t kMaxRank = 1024;
constexpr absl::string_view kWeight = ".weight";

absl::Status Refuse(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("adaptation: ", what));
}

// "q_proj" of "model.layers.0.self_attn.q_proj.weight".
absl::string_view LastWord(absl::string_view name) {
  name = absl::StripSuffix(name, kWeight);
  const size_t dot = name.rfind('.');
  return dot == absl::string_view::npos ? name : name.substr(dot + 1);
}

// A projection: a matrix that a Linear or an ExpertBank multiplies with.
bool TakesAdapter(const ParameterInfo& info) {
  const absl::string_view word = LastWord(info.name);
  return info.shape.size() == 2 &&
         (absl::EndsWith(word, "_proj") || absl::EndsWith(word, "_proj_with_mqa"));
}

bool IsTarget(const ParameterInfo& info, const LoraOptions& lora) {
  if (lora.rank == 0 || !TakesAdapter(info)) return false;
  for (const std::string& target : lora.targets) {
    if (LastWord(info.name) == target) return true;
  }
  return false;
}

bool MatchesAny(const std::vector<std::string>& patterns, absl::string_view name) {
  for (const std::string& pattern : patterns) {
    if (MatchesPattern(pattern, name)) return true;
  }
  return false;
}

bool Trains(const ParameterInfo& info, const AdaptationOptions& options) {
  const bool wanted =
      options.trainable.empty() ? options.lora.rank == 0 : MatchesAny(options.trainable, info.name);
  return wanted && !MatchesAny(options.frozen, info.name);
}

// What experts of one projection of one layer share; empty: not an expert's.
std::string BankOf(const std::string& name) {
  const size_t at = name.find(".experts.");
  if (at == std::string::npos) return "";
  return absl::StrCat(name.substr(0, at), " ", LastWord(name));
}

absl::Status CheckLora(const LoraOptions& lora, const std::vector<ParameterInfo>& all) {
  if (lora.rank == 0) {
    const bool empty = lora.alpha == 0 && lora.targets.empty() && !lora.rank_stabilised;
    return empty ? absl::OkStatus() : Refuse("lora has settings but its rank is 0");
  }
  if (lora.rank < 1 || lora.rank > kMaxRank) {
    return Refuse(absl::StrCat("lora.rank is ", lora.rank, "; it must be in [1, ", kMaxRank, "]"));
  }
  if (!(lora.alpha > 0 && lora.alpha <= 1e6)) {
    return Refuse(absl::StrCat("lora.alpha is ", lora.alpha, "; it must be in (0, 1e6]"));
  }
  if (lora.targets.empty()) return Refuse("lora.targets names no projection");
  std::set<std::string> known;
  for (const ParameterInfo& info : all) {
    if (TakesAdapter(info)) known.insert(std::string(LastWord(info.name)));
  }
  for (const std::string& target : lora.targets) {
    if (known.count(target) > 0) continue;
    return Refuse(absl::StrCat("lora.targets: the model has no projection called \"", target,
                               "\"; it has ", absl::StrJoin(known, ", ")));
  }
  return absl::OkStatus();
}

absl::Status CheckPatterns(absl::string_view field, const std::vector<std::string>& patterns,
                           const std::vector<ParameterInfo>& all) {
  for (const std::string& pattern : patterns) {
    bool found = false;
    for (const ParameterInfo& info : all) found |= MatchesPattern(pattern, info.name);
    if (!found) {
      return Refuse(absl::StrCat(field, ": no parameter is called \"", pattern, "\" (the first is ",
                                 all.front().name, ")"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

double LoraOptions::Scale() const {
  if (rank == 0) return 0;
  return alpha / (rank_stabilised ? std::sqrt(static_cast<double>(rank)) : rank);
}

bool MatchesPattern(absl::string_view pattern, absl::string_view name) {
  size_t p = 0, n = 0, star = absl::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != absl::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string LoraName(absl::string_view weight, char which) {
  return absl::StrCat(absl::StripSuffix(weight, kWeight), ".lora_", absl::string_view(&which, 1),
                      ".weight");
}

absl::Status CheckAdaptation(const ModelConfig& config, const AdaptationOptions& options) {
  const std::vector<ParameterInfo> all = ParameterRegistry::Of(config, DType::kFloat32).all();
  absl::Status status = CheckLora(options.lora, all);
  if (status.ok()) status = CheckPatterns("trainable", options.trainable, all);
  if (status.ok()) status = CheckPatterns("frozen", options.frozen, all);
  if (!status.ok()) return status;
  bool any = options.lora.rank > 0;
  std::map<std::string, bool> banks;
  for (const ParameterInfo& info : all) {
    if (!info.trainable) continue;
    const bool trains = Trains(info, options);
    any |= trains;
    if (trains && IsTarget(info, options.lora)) {
      return Refuse(absl::StrCat(info.name, " has an adapter and would train as well; freeze it, ",
                                 "or leave its name out of lora.targets"));
    }
    const std::string bank = BankOf(info.name);
    if (bank.empty()) continue;
    if (banks.emplace(bank, trains).first->second != trains) {
      return Refuse(absl::StrCat("of ", bank, " some experts would train and some not (", info.name,
                                 "); name all of them or none"));
    }
  }
  if (!any) return Refuse("nothing is left to train");
  return absl::OkStatus();
}

void Adapt(const AdaptationOptions& options, std::vector<ParameterInfo>* parameters) {
  std::vector<ParameterInfo> adapters, bank_b;
  std::string bank;
  const auto end_bank = [&] {
    for (ParameterInfo& info : bank_b) adapters.push_back(std::move(info));
    bank_b.clear();
  };
  for (ParameterInfo& info : *parameters) {
    info.frozen = !Trains(info, options);
    info.trainable = info.trainable && !info.frozen;
    if (!IsTarget(info, options.lora)) continue;
    // The adapters of a projection's experts lie side by side too: every A, then every B.
    if (BankOf(info.name) != bank || bank.empty()) end_bank();
    bank = BankOf(info.name);
    ParameterInfo a;
    a.group = ParameterGroup::kLora;
    ParameterInfo b = a;
    a.name = LoraName(info.name, 'A');
    a.shape = {options.lora.rank, info.shape[1]};
    b.name = LoraName(info.name, 'B');
    b.shape = {info.shape[0], options.lora.rank};
    adapters.push_back(std::move(a));
    bank_b.push_back(std::move(b));
  }
  end_bank();
  for (ParameterInfo& info : adapters) parameters->push_back(std::move(info));
}

}  // namespace hone
