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

struct Word {
  absl::string_view word;
  std::vector<absl::string_view> patterns;
};

// Projections that may have adapters.
const std::vector<Word>& ProjectionWords() {
  static const std::vector<Word>* const words =
      new std::vector<Word>{{"attention", {"*.self_attn.*_proj.*", "*.kv_a_proj_with_mqa.*"}},
                            {"mlp", {"*.mlp.????_proj.weight", "*.mlp.up_proj.weight"}},
                            {"experts", {"*.mlp.experts.*"}},
                            {"shared_experts", {"*.mlp.shared_experts.*"}}};
  return *words;
}
const std::vector<Word>& OtherWords() {
  static const std::vector<Word>* const words =
      new std::vector<Word>{{"embeddings", {"*.embed_tokens.weight", "lm_head.weight"}},
                            {"norms", {"*norm.weight"}},
                            {"router", {"*.mlp.gate.*"}}};
  return *words;
}

// The patterns that an entry stands for.
std::vector<absl::string_view> PatternsOf(absl::string_view entry) {
  for (const auto* words : {&ProjectionWords(), &OtherWords()}) {
    for (const Word& word : *words) {
      if (word.word == entry) return word.patterns;
    }
  }
  return {entry};
}

bool MatchesAny(const std::vector<absl::string_view>& patterns, absl::string_view name) {
  for (const absl::string_view pattern : patterns) {
    if (MatchesPattern(pattern, name)) return true;
  }
  return false;
}

// A matrix that activations are multiplied with, the router's and the head's apart.
bool TakesAdapter(const ParameterInfo& info) {
  const absl::string_view module = absl::StripSuffix(info.name, kWeight);
  return info.shape.size() == 2 &&
         (absl::EndsWith(module, "_proj") || absl::EndsWith(module, "_proj_with_mqa"));
}

bool IsTarget(absl::string_view target, const ParameterInfo& info) {
  if (!TakesAdapter(info)) return false;
  for (const Word& word : ProjectionWords()) {
    if (word.word == target) return MatchesAny(word.patterns, info.name);
  }
  const absl::string_view module = absl::StripSuffix(info.name, kWeight);
  return module == target || absl::EndsWith(module, absl::StrCat(".", target));
}

bool IsTarget(const LoraOptions& lora, const ParameterInfo& info) {
  for (const std::string& target : lora.target_modules) {
    if (IsTarget(target, info)) return true;
  }
  return false;
}

bool IsFrozen(const AdaptationOptions& options, const ParameterInfo& info) {
  if (options.lora.r > 0) return true;
  for (const std::string& entry : options.freeze) {
    if (MatchesAny(PatternsOf(entry), info.name)) return true;
  }
  return false;
}

absl::string_view LastWord(absl::string_view module) {
  const size_t dot = module.rfind('.');
  return dot == absl::string_view::npos ? module : module.substr(dot + 1);
}

// What experts of one projection of one layer share; empty: not an expert's.
std::string BankOf(absl::string_view name) {
  const size_t at = name.find(".experts.");
  if (at == absl::string_view::npos) return "";
  return absl::StrCat(name.substr(0, at), ".experts.*.",
                      LastWord(absl::StripSuffix(name, kWeight)));
}

std::string Words(const std::vector<Word>& words) {
  std::vector<absl::string_view> names;
  for (const Word& word : words) names.push_back(word.word);
  return absl::StrJoin(names, ", ");
}

absl::Status CheckLora(const LoraOptions& lora, const std::vector<ParameterInfo>& all) {
  if (lora == LoraOptions()) return absl::OkStatus();
  if (lora.r < 1 || lora.r > kMaxRank) {
    return Refuse(absl::StrCat("lora.r is ", lora.r, "; it must be in [1, ", kMaxRank, "]"));
  }
  if (!(lora.lora_alpha > 0 && lora.lora_alpha <= 1e6)) {
    return Refuse(absl::StrCat("lora.lora_alpha is ", lora.lora_alpha, "; it must be in (0, 1e6]"));
  }
  if (lora.target_modules.empty()) return Refuse("lora.target_modules names no projection");
  std::set<absl::string_view> known;
  for (const ParameterInfo& info : all) {
    if (TakesAdapter(info)) known.insert(LastWord(absl::StripSuffix(info.name, kWeight)));
  }
  for (const std::string& target : lora.target_modules) {
    bool found = false;
    for (const ParameterInfo& info : all) found |= IsTarget(target, info);
    if (found) continue;
    return Refuse(absl::StrCat("lora.target_modules: the model has no projection called \"", target,
                               "\"; it has ", absl::StrJoin(known, ", "),
                               ", and the words for several are ", Words(ProjectionWords())));
  }
  return absl::OkStatus();
}

absl::Status CheckFreeze(const AdaptationOptions& options, const std::vector<ParameterInfo>& all) {
  if (options.lora.r > 0 && !options.freeze.empty()) {
    return Refuse("freeze does not apply: lora freezes every weight of the model already");
  }
  for (const std::string& entry : options.freeze) {
    bool found = false;
    for (const ParameterInfo& info : all) found |= MatchesAny(PatternsOf(entry), info.name);
    if (found) continue;
    return Refuse(absl::StrCat("freeze: no parameter is called \"", entry, "\"; say ",
                               Words(ProjectionWords()), ", ", Words(OtherWords()),
                               " or a pattern such as \"*.layers.0.*\" (the first parameter is ",
                               all.front().name, ")"));
  }
  return absl::OkStatus();
}

ParameterInfo Adapter(const ParameterInfo& weight, char which, std::vector<int64_t> shape) {
  ParameterInfo info;
  info.name = LoraName(weight.name, which);
  info.shape = std::move(shape);
  info.group = ParameterGroup::kLora;
  return info;
}

}  // namespace

double LoraOptions::Scale() const {
  if (r == 0) return 0;
  return lora_alpha / (use_rslora ? std::sqrt(static_cast<double>(r)) : r);
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
  if (options == AdaptationOptions()) return absl::OkStatus();
  const std::vector<ParameterInfo> all = ParameterRegistry::Of(config, DType::kFloat32).all();
  absl::Status status = CheckLora(options.lora, all);
  if (status.ok()) status = CheckFreeze(options, all);
  if (!status.ok()) return status;
  bool any = options.lora.r > 0;
  std::map<std::string, bool> banks;
  for (const ParameterInfo& info : all) {
    if (!info.trainable) continue;
    const bool frozen = IsFrozen(options, info), target = IsTarget(options.lora, info);
    any |= !frozen;
    const std::string bank = BankOf(info.name);
    if (bank.empty()) continue;
    const bool changes = !frozen || target;
    if (banks.emplace(bank, changes).first->second != changes) {
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
    info.frozen = IsFrozen(options, info);
    info.trainable = info.trainable && !info.frozen;
    if (options.lora.r == 0 || !IsTarget(options.lora, info)) continue;
    // The adapters of a projection's experts lie side by side too: every A, then every B.
    if (BankOf(info.name) != bank || bank.empty()) end_bank();
    bank = BankOf(info.name);
    adapters.push_back(Adapter(info, 'A', {options.lora.r, info.shape[1]}));
    bank_b.push_back(Adapter(info, 'B', {info.shape[0], options.lora.r}));
  }
  end_bank();
  for (ParameterInfo& info : adapters) parameters->push_back(std::move(info));
}

}  // namespace hone
