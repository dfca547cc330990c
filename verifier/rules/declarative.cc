// SPDX-License-Identifier: Apache-2.0
#include "verifier/rules/declarative.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "re2/re2.h"
#include "verifier/answer/extract.h"
#include "verifier/answer/number.h"
#include "verifier/answer/text.h"
#include "verifier/pure_verifier.h"

namespace hone {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxDeclarationBytes = 1 << 20;
constexpr size_t kMaxRules = 32;
constexpr size_t kMaxPatternBytes = 4096;
constexpr size_t kMaxElements = 1024;
constexpr size_t kMaxAnswerBytes = 64 * 1024;
constexpr double kMaxWeight = 1e6;

enum class RuleKind { kExact, kCasefold, kNumeric, kRegex, kSet, kList };
enum class Comparison { kExact, kCasefold, kNumeric };

struct Tolerance {
  Rational absolute, relative;
};

struct Rule {
  std::string name;
  RuleKind kind = RuleKind::kExact;
  std::shared_ptr<RE2> pattern;  // kRegex
  bool partial = false;          // kRegex
  Tolerance tolerance;           // kNumeric
  std::string separator = ",";   // kSet, kList
  Comparison elements = Comparison::kExact;
  bool of_completion = false;
  std::optional<std::string> gold;  // else the task's
  double weight = 1;
  int gate = -1;  // an earlier rule

  bool reads_task_gold() const { return kind != RuleKind::kRegex && !gold; }
};

struct Declaration {
  std::string name, version, description;
  std::shared_ptr<RE2> answer;  // null: the answer tag and its kin
  std::vector<Rule> rules;
  double threshold = 0;
};

// ---- Reading the declaration ----

absl::Status Bad(absl::string_view where, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("rules: ", where, ": ", what));
}

absl::Status CheckKeys(const Json& object, absl::string_view where,
                       std::initializer_list<absl::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string names;
    for (const absl::string_view name : known) {
      absl::StrAppend(&names, names.empty() ? "" : ", ", name);
    }
    return Bad(where, absl::StrCat("unknown key \"", key, "\"; there are ", names));
  }
  return absl::OkStatus();
}

absl::Status ReadText(const Json& object, absl::string_view where, const char* key,
                      std::string* text) {
  const auto found = object.find(key);
  if (found == object.end()) return absl::OkStatus();
  if (!found->is_string()) return Bad(where, absl::StrCat(key, " is not a string"));
  *text = found->get<std::string>();
  return absl::OkStatus();
}

absl::Status ReadDouble(const Json& object, absl::string_view where, const char* key,
                        double* value) {
  const auto found = object.find(key);
  if (found == object.end()) return absl::OkStatus();
  if (!found->is_number() || !(std::abs(found->get<double>()) <= kMaxWeight)) {
    return Bad(where, absl::StrCat(key, " is not a number within a million"));
  }
  *value = found->get<double>();
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<RE2>> ReadPattern(const Json& value, absl::string_view where) {
  if (!value.is_string()) return Bad(where, "regex is not a string");
  const std::string text = value.get<std::string>();
  if (text.size() > kMaxPatternBytes) return Bad(where, "a pattern of more than 4 KiB");
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  auto pattern = std::make_shared<RE2>(text, options);
  if (!pattern->ok()) return Bad(where, absl::StrCat("regex: ", pattern->error()));
  return pattern;
}

// A tolerance is exact: a string as `numeric` reads it, or a JSON number by its shortest digits.
absl::Status ReadTolerance(const Json& object, absl::string_view where, const char* key,
                           Rational* value) {
  const auto found = object.find(key);
  if (found == object.end()) return absl::OkStatus();
  if (!found->is_string() && !found->is_number()) {
    return Bad(where, absl::StrCat("numeric.", key, " is not a number"));
  }
  const std::string text = found->is_string() ? found->get<std::string>() : found->dump();
  const NumberReading reading = ReadNumber(text);
  if (reading.status != NumberStatus::kOk || reading.value.numerator < 0) {
    return Bad(where, absl::StrCat("numeric.", key, " is a number of at least 0, not ", text));
  }
  *value = reading.value;
  return absl::OkStatus();
}

absl::Status ReadNumeric(const Json& value, absl::string_view where, Rule* rule) {
  if (value.is_boolean() && value.get<bool>()) return absl::OkStatus();
  if (!value.is_object()) return Bad(where, "numeric is true or {\"abs\", \"rel\"}");
  absl::Status status = CheckKeys(value, where, {"abs", "rel"});
  if (status.ok()) status = ReadTolerance(value, where, "abs", &rule->tolerance.absolute);
  if (status.ok()) status = ReadTolerance(value, where, "rel", &rule->tolerance.relative);
  return status;
}

absl::Status ReadElements(const Json& value, absl::string_view where, Rule* rule) {
  if (value.is_boolean() && value.get<bool>()) return absl::OkStatus();
  if (!value.is_object())
    return Bad(where, "a set or list is true or {\"separator\",\"elements\"}");
  std::string elements = "exact";
  absl::Status status = CheckKeys(value, where, {"separator", "elements"});
  if (status.ok()) status = ReadText(value, where, "separator", &rule->separator);
  if (status.ok()) status = ReadText(value, where, "elements", &elements);
  if (!status.ok()) return status;
  if (rule->separator.empty()) return Bad(where, "separator is empty");
  if (elements == "casefold") {
    rule->elements = Comparison::kCasefold;
  } else if (elements == "numeric") {
    rule->elements = Comparison::kNumeric;
  } else if (elements != "exact") {
    return Bad(where, "elements is exact, casefold or numeric");
  }
  return absl::OkStatus();
}

absl::Status ReadKind(const Json& object, absl::string_view where, Rule* rule) {
  static constexpr std::pair<const char*, RuleKind> kKinds[] = {
      {"exact", RuleKind::kExact},     {"casefold", RuleKind::kCasefold},
      {"numeric", RuleKind::kNumeric}, {"regex", RuleKind::kRegex},
      {"set", RuleKind::kSet},         {"list", RuleKind::kList}};
  const Json* value = nullptr;
  for (const auto& [key, kind] : kKinds) {
    const auto found = object.find(key);
    if (found == object.end()) continue;
    if (value != nullptr) return Bad(where, "it has two kinds");
    value = &*found;
    rule->kind = kind;
  }
  if (value == nullptr) {
    return Bad(where, "say what it is: exact, casefold, numeric, regex, set or list");
  }
  switch (rule->kind) {
    case RuleKind::kExact:
    case RuleKind::kCasefold:
      if (value->is_boolean() && value->get<bool>()) return absl::OkStatus();
      return Bad(where, "exact and casefold are true; the gold of the rule's own is \"gold\"");
    case RuleKind::kNumeric:
      return ReadNumeric(*value, where, rule);
    case RuleKind::kRegex: {
      auto pattern = ReadPattern(*value, where);
      if (pattern.ok()) rule->pattern = *pattern;
      return pattern.status();
    }
    case RuleKind::kSet:
    case RuleKind::kList:
      return ReadElements(*value, where, rule);
  }
  return absl::OkStatus();
}

absl::Status ReadRule(const Json& object, const std::vector<Rule>& earlier, Rule* rule) {
  std::string where = absl::StrCat("rule ", earlier.size() + 1);
  if (!object.is_object()) return Bad(where, "is not an object");
  absl::Status status = CheckKeys(object, where,
                                  {"name", "exact", "casefold", "numeric", "regex", "set", "list",
                                   "match", "of", "gold", "weight", "gate"});
  if (status.ok()) status = ReadText(object, where, "name", &rule->name);
  if (!status.ok()) return status;
  if (rule->name.empty() || rule->name.size() > 64 || rule->name == "accuracy" ||
      rule->name.find_first_of(" \t\n/") != std::string::npos) {
    return Bad(where, "name is a word of at most 64 bytes (\"accuracy\" is the whole score's)");
  }
  where = absl::StrCat("rule \"", rule->name, "\"");
  std::string of = "answer", match = "full", gate, gold;
  status = ReadKind(object, where, rule);
  if (status.ok()) status = ReadText(object, where, "of", &of);
  if (status.ok()) status = ReadText(object, where, "match", &match);
  if (status.ok()) status = ReadText(object, where, "gate", &gate);
  if (status.ok()) status = ReadText(object, where, "gold", &gold);
  if (status.ok()) status = ReadDouble(object, where, "weight", &rule->weight);
  if (!status.ok()) return status;
  if (of != "answer" && of != "completion") return Bad(where, "of is answer or completion");
  if (match != "full" && match != "partial") return Bad(where, "match is full or partial");
  const bool regex = rule->kind == RuleKind::kRegex;
  if (!regex && object.contains("match")) return Bad(where, "match is for a regex");
  if (regex && object.contains("gold")) return Bad(where, "a regex has no gold");
  rule->of_completion = of == "completion";
  rule->partial = match == "partial";
  if (object.contains("gold")) rule->gold = gold;
  for (size_t i = 0; i < earlier.size(); ++i) {
    if (earlier[i].name == rule->name) return Bad(where, "there are two of that name");
    if (earlier[i].name == gate) rule->gate = static_cast<int>(i);
  }
  if (!gate.empty() && rule->gate < 0) {
    return Bad(where, absl::StrCat("gate: no earlier rule is called \"", gate, "\""));
  }
  return absl::OkStatus();
}

absl::Status ReadAnswer(const Json& object, Declaration* declaration) {
  const auto found = object.find("answer");
  if (found == object.end() || *found == "tag") return absl::OkStatus();
  if (!found->is_object()) return Bad("answer", "it is \"tag\" or {\"regex\": ...}");
  const absl::Status known = CheckKeys(*found, "answer", {"regex"});
  if (!known.ok()) return known;
  auto pattern = ReadPattern(found->value("regex", Json()), "answer");
  if (!pattern.ok()) return pattern.status();
  if ((*pattern)->NumberOfCapturingGroups() != 1) {
    return Bad("answer", "its regex wants exactly one group, which is the answer");
  }
  declaration->answer = *pattern;
  return absl::OkStatus();
}

absl::StatusOr<Declaration> ReadDeclaration(absl::string_view json) {
  if (json.size() > kMaxDeclarationBytes) return Bad("the declaration", "more than 1 MiB");
  bool too_deep = false;
  const Json object = Json::parse(
      json.begin(), json.end(),
      [&](int depth, Json::parse_event_t, Json&) { return !(too_deep |= depth > 8); },
      /*allow_exceptions=*/false, /*ignore_comments=*/true);
  if (too_deep || !object.is_object()) return Bad("the declaration", "it is not a JSON object");
  Declaration declaration;
  declaration.version = "1";
  absl::Status status =
      CheckKeys(object, "the declaration",
                {"name", "version", "description", "answer", "rules", "threshold"});
  if (status.ok()) status = ReadText(object, "the declaration", "name", &declaration.name);
  if (status.ok()) status = ReadText(object, "the declaration", "version", &declaration.version);
  if (status.ok()) {
    status = ReadText(object, "the declaration", "description", &declaration.description);
  }
  if (status.ok()) status = ReadAnswer(object, &declaration);
  if (!status.ok()) return status;
  for (const std::string* word : {&declaration.name, &declaration.version}) {
    if (word->empty() || word->size() > 256 || word->find_first_of(" \t\n/") != std::string::npos) {
      return Bad("the declaration", "name and version are words without blanks and '/'");
    }
  }
  const auto rules = object.find("rules");
  if (rules == object.end() || !rules->is_array() || rules->empty() || rules->size() > kMaxRules) {
    return Bad("the declaration", "rules is a list of 1 to 32 rules");
  }
  double highest = 0;
  for (const Json& one : *rules) {
    Rule rule;
    status = ReadRule(one, declaration.rules, &rule);
    if (!status.ok()) return status;
    highest += std::max(rule.weight, 0.0);
    declaration.rules.push_back(std::move(rule));
  }
  if (highest <= 0) return Bad("the declaration", "no rule has a weight above 0");
  if (declaration.description.empty()) {
    declaration.description = absl::StrCat(declaration.rules.size(), " declared rules.");
  }
  declaration.threshold = highest;
  status = ReadDouble(object, "the declaration", "threshold", &declaration.threshold);
  if (!status.ok()) return status;
  if (!(declaration.threshold > 0 && declaration.threshold <= highest)) {
    return Bad("the declaration",
               absl::StrCat("threshold is above 0 and at most the highest score, ", highest));
  }
  return declaration;
}

// ---- Judging ----

// Unknown where it does not fit 127 bits: then it is not within the tolerance.
bool IsWithin(const Rational& answer, const Rational& gold, const Tolerance& tolerance) {
  if (answer == gold) return true;
  const std::optional<Rational> difference = Subtract(answer, gold);
  if (!difference) return false;
  const Rational distance = Abs(*difference);
  if (AtMost(distance, tolerance.absolute).value_or(false)) return true;
  const std::optional<Rational> allowed = Multiply(tolerance.relative, Abs(gold));
  return allowed && AtMost(distance, *allowed).value_or(false);
}

std::optional<Rational> NumberOf(absl::string_view text) {
  const NumberReading reading = ReadNumber(text);
  if (reading.status != NumberStatus::kOk) return std::nullopt;
  return reading.value;
}

std::string Normal(absl::string_view text, bool fold) {
  std::string normal = CollapseWhitespace(text);
  if (fold) absl::AsciiStrToLower(&normal);
  return normal;
}

// What an element is compared by; nullopt: it is no number, or empty.
std::optional<std::string> ElementKey(absl::string_view text, Comparison comparison) {
  if (comparison == Comparison::kNumeric) {
    const std::optional<Rational> number = NumberOf(text);
    if (!number) return std::nullopt;
    return ToString(*number);
  }
  std::string key = Normal(text, comparison == Comparison::kCasefold);
  if (key.empty()) return std::nullopt;
  return key;
}

// One pair of brackets round everything is layout.
absl::string_view StripBrackets(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  if (text.size() < 2) return text;
  const char a = text.front(), b = text.back();
  if ((a == '{' && b == '}') || (a == '[' && b == ']') || (a == '(' && b == ')')) {
    return text.substr(1, text.size() - 2);
  }
  return text;
}

std::optional<std::vector<std::string>> Elements(absl::string_view text, const Rule& rule) {
  std::vector<std::string> keys;
  for (const absl::string_view piece : absl::StrSplit(StripBrackets(text), rule.separator)) {
    std::optional<std::string> key = ElementKey(piece, rule.elements);
    if (!key || keys.size() == kMaxElements) return std::nullopt;
    keys.push_back(*std::move(key));
  }
  if (rule.kind == RuleKind::kSet) std::sort(keys.begin(), keys.end());
  return keys;
}

bool Holds(const Rule& rule, absl::string_view text, absl::string_view gold) {
  switch (rule.kind) {
    case RuleKind::kExact:
    case RuleKind::kCasefold: {
      const bool fold = rule.kind == RuleKind::kCasefold;
      return Normal(text, fold) == Normal(gold, fold);
    }
    case RuleKind::kNumeric: {
      const std::optional<Rational> answer = NumberOf(text), wanted = NumberOf(gold);
      return answer && wanted && IsWithin(*answer, *wanted, rule.tolerance);
    }
    case RuleKind::kRegex: {
      const re2::StringPiece piece(text.data(), text.size());
      return rule.partial ? RE2::PartialMatch(piece, *rule.pattern)
                          : RE2::FullMatch(piece, *rule.pattern);
    }
    case RuleKind::kSet:
    case RuleKind::kList: {
      const auto answer = Elements(text, rule), wanted = Elements(gold, rule);
      return answer && wanted && *answer == *wanted;
    }
  }
  return false;
}

// Why a gold cannot be compared with; empty: it can.
std::string GoldTrouble(const Rule& rule, absl::string_view gold) {
  if (rule.kind == RuleKind::kRegex) return "";
  if (IsBlank(gold)) return "the gold answer is blank";
  const bool readable = rule.kind == RuleKind::kNumeric ? NumberOf(gold).has_value()
                        : rule.kind == RuleKind::kSet || rule.kind == RuleKind::kList
                            ? Elements(gold, rule).has_value()
                            : true;
  return readable ? ""
                  : absl::StrCat("rule \"", rule.name, "\" cannot read the gold \"",
                                 ReadableUtf8(gold, 80, nullptr), "\"");
}

class DeclarativeVerifier : public PureVerifier {
 public:
  DeclarativeVerifier(Declaration declaration, absl::string_view json)
      : PureVerifier(declaration.name, declaration.version, declaration.description,
                     {{"rules", std::string(json)}}),
        declaration_(std::move(declaration)) {}

 protected:
  void Judge(const Question& question, Verdict* verdict) const override;

 private:
  ExtractedAnswer Answer(const Question& question) const;
  double Score(const ExtractedAnswer& answer, const Question& question, absl::string_view gold,
               Verdict* verdict, std::string* broken) const;

  const Declaration declaration_;
};

// By the pattern's last match after the reasoning, else as the built-in verifiers read it.
ExtractedAnswer DeclarativeVerifier::Answer(const Question& question) const {
  if (declaration_.answer == nullptr || question.bare) {
    return ExtractAnswer(question.completion(), ModeOf(question), HasPrefilledThink(question));
  }
  // Nothing said inside the reasoning is an answer, whatever the pattern.
  ExtractedAnswer found =
      ExtractAnswer(question.completion(), ExtractMode::kLenient, HasPrefilledThink(question));
  if (found.source == AnswerSource::kNone) return found;
  found.text = {};
  re2::StringPiece rest(found.region.data(), found.region.size()), group;
  while (RE2::FindAndConsume(&rest, *declaration_.answer, &group)) {
    found.text = absl::StripAsciiWhitespace(absl::string_view(group.data(), group.size()));
    if (rest.empty()) break;
    if (group.empty()) rest.remove_prefix(1);  // an empty match consumes nothing
  }
  if (found.text.empty()) {
    found.source = AnswerSource::kNone;
    found.why = "the pattern of the answer matches nowhere";
  }
  return found;
}

double DeclarativeVerifier::Score(const ExtractedAnswer& answer, const Question& question,
                                  absl::string_view gold, Verdict* verdict,
                                  std::string* broken) const {
  double score = 0;
  std::vector<bool> held;
  for (const Rule& rule : declaration_.rules) {
    VerdictPart part;
    part.name = rule.name;
    const bool open = rule.gate < 0 || held[static_cast<size_t>(rule.gate)];
    bool holds = false;
    if (open) {
      const absl::string_view text = rule.of_completion ? question.completion() : answer.text;
      holds = (rule.of_completion || answer.source != AnswerSource::kNone) &&
              Holds(rule, text, rule.gold ? absl::string_view(*rule.gold) : gold);
      part.raw = holds ? 1.0 : 0.0;
      if (holds) score += rule.weight;
    }
    if (!holds) absl::StrAppend(broken, broken->empty() ? "" : ", ", rule.name);
    held.push_back(holds);
    verdict->parts.push_back(std::move(part));
  }
  return score;
}

void DeclarativeVerifier::Judge(const Question& question, Verdict* verdict) const {
  const absl::string_view gold = ExtractGold(question.answer);
  bool reads_answer = false;
  for (const Rule& rule : declaration_.rules) {
    reads_answer |= !rule.of_completion;
    if (!rule.reads_task_gold()) continue;
    const std::string trouble = GoldTrouble(rule, gold);
    if (!trouble.empty()) return Conclude(Outcome::kSkipped, trouble, verdict);
    SetEvidence("gold", gold, verdict);
  }
  if (HitsLimit(question, verdict)) return;
  ExtractedAnswer answer;
  if (reads_answer) answer = Answer(question);
  SetExtracted(answer.text, verdict);
  if (answer.text.size() > kMaxAnswerBytes) {
    return Conclude(Outcome::kLimitExceeded,
                    absl::StrCat("the answer has ", answer.text.size(), " bytes; at most ",
                                 kMaxAnswerBytes, " are compared"),
                    verdict);
  }
  std::string broken;
  const double score = Score(answer, question, gold, verdict, &broken);
  verdict->parts.push_back({std::string(part_name()), score, std::nullopt});
  const bool correct = score >= declaration_.threshold;
  const bool unread = reads_answer && answer.source == AnswerSource::kNone;
  Conclude(correct  ? Outcome::kCorrect
           : unread ? Outcome::kUnparsable
                    : Outcome::kWrong,
           !correct && unread ? answer.why
           : broken.empty()   ? "every rule holds"
                              : absl::StrCat("it scores ", score, "; does not hold: ", broken),
           verdict);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Verifier>> MakeDeclarativeVerifier(absl::string_view json) {
  auto declaration = ReadDeclaration(json);
  if (!declaration.ok()) return declaration.status();
  // Golds of the rules' own are read at load, not at the first completion.
  for (const Rule& rule : declaration->rules) {
    if (!rule.gold) continue;
    const std::string trouble = GoldTrouble(rule, *rule.gold);
    if (!trouble.empty()) return Bad(absl::StrCat("rule \"", rule.name, "\""), trouble);
  }
  return std::make_unique<DeclarativeVerifier>(*std::move(declaration), json);
}

}  // namespace hone
