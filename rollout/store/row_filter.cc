// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/row_filter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace hone {

namespace {

// NaN: it is not among them.
double RawOf(absl::Span<const TrajectoryIndex::PartFigure> parts,
             const std::vector<std::string>& names, absl::string_view name) {
  for (const TrajectoryIndex::PartFigure& part : parts) {
    if (names[part.name] == name) return part.raw;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

// Recursive descent over at most kMaxFilterBytes.
class FilterParser {
 public:
  explicit FilterParser(absl::string_view text) : text_(text) {}

  absl::StatusOr<RowFilter> Parse() {
    SkipBlanks();
    if (at_ == text_.size()) return RowFilter();
    const absl::StatusOr<size_t> root = ParseOr(0);
    if (!root.ok()) return root.status();
    if (at_ != text_.size()) return Expected("AND, OR or the end");
    return std::move(filter_);
  }

 private:
  using Node = RowFilter::Node;
  using Field = RowFilter::Field;
  using Operator = RowFilter::Operator;

  absl::Status Expected(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("filter, character ", at_ + 1, ": expected ", what));
  }
  void SkipBlanks() {
    while (at_ < text_.size() && absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  static bool IsWordByte(char c) {
    return !absl::ascii_isspace(static_cast<unsigned char>(c)) &&
           absl::string_view("()=!<>:\"").find(c) == absl::string_view::npos;
  }
  absl::string_view PeekWord() const {
    size_t end = at_;
    while (end < text_.size() && IsWordByte(text_[end])) ++end;
    return text_.substr(at_, end - at_);
  }
  bool TakeWord(absl::string_view word) {
    if (PeekWord() != word) return false;
    at_ += word.size();
    SkipBlanks();
    return true;
  }
  bool TakeByte(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    SkipBlanks();
    return true;
  }
  size_t Add(Node node) {
    filter_.nodes_.push_back(std::move(node));
    return filter_.nodes_.size() - 1;
  }
  size_t Join(RowFilter::Kind kind, size_t left, size_t right) {
    Node node;
    node.kind = kind;
    node.left = left;
    node.right = right;
    return Add(std::move(node));
  }

  absl::StatusOr<size_t> ParseOr(int depth) {
    absl::StatusOr<size_t> left = ParseAnd(depth);
    while (left.ok() && TakeWord("OR")) {
      const absl::StatusOr<size_t> right = ParseAnd(depth);
      if (!right.ok()) return right;
      left = Join(RowFilter::Kind::kOr, *left, *right);
    }
    return left;
  }

  absl::StatusOr<size_t> ParseAnd(int depth) {
    absl::StatusOr<size_t> left = ParseUnary(depth);
    while (left.ok()) {
      const bool joined = TakeWord("AND");
      const bool ends = at_ == text_.size() || text_[at_] == ')' || PeekWord() == "OR";
      if (ends && !joined) break;
      const absl::StatusOr<size_t> right = ParseUnary(depth);
      if (!right.ok()) return right;
      left = Join(RowFilter::Kind::kAnd, *left, *right);
    }
    return left;
  }

  absl::StatusOr<size_t> ParseUnary(int depth) {
    if (depth > kMaxFilterDepth) return Expected("fewer parentheses and NOTs in one another");
    if (TakeWord("NOT")) {
      const absl::StatusOr<size_t> inner = ParseUnary(depth + 1);
      return inner.ok() ? Join(RowFilter::Kind::kNot, *inner, *inner) : inner;
    }
    if (!TakeByte('(')) return ParseTerm();
    const absl::StatusOr<size_t> inner = ParseOr(depth + 1);
    if (inner.ok() && !TakeByte(')')) return Expected("')'");
    return inner;
  }

  absl::StatusOr<size_t> ParseTerm() {
    if (++terms_ > kMaxFilterTerms) {
      return Expected(absl::StrCat("at most ", kMaxFilterTerms, " comparisons"));
    }
    Node node;
    absl::Status status = ParseField(&node);
    if (status.ok()) status = ParseOperator(&node);
    if (status.ok()) status = ParseValue(&node);
    if (!status.ok()) return status;
    return Add(std::move(node));
  }

  absl::Status ParseField(Node* node) {
    static constexpr std::pair<absl::string_view, Field> kFields[] = {
        {"iteration", Field::kIteration}, {"version", Field::kVersion},
        {"reward", Field::kReward},       {"advantage", Field::kAdvantage},
        {"length", Field::kLength},       {"tokens", Field::kTokens},
        {"sample", Field::kSample},       {"flat", Field::kFlat},
        {"outcome", Field::kOutcome},     {"stop", Field::kStop},
        {"kind", Field::kKind},           {"drop", Field::kDrop},
        {"source", Field::kSource},       {"task", Field::kTask},
        {"group", Field::kGroup},
    };
    for (const auto& [name, field] : kFields) {
      if (!TakeWord(name)) continue;
      node->field = field;
      return absl::OkStatus();
    }
    for (const auto& [prefix, field] :
         {std::pair("reward.", Field::kRewardPart), std::pair("verdict.", Field::kVerdictPart)}) {
      absl::string_view part = PeekWord();
      if (!absl::ConsumePrefix(&part, prefix) || part.empty()) continue;
      node->field = field;
      node->text = std::string(part);
      TakeWord(PeekWord());
      return absl::OkStatus();
    }
    return Expected(
        "a field: iteration, version, reward, reward.PART, verdict.PART, advantage, length, "
        "tokens, "
        "sample, flat, outcome, stop, kind, drop, source, task, group");
  }

  absl::Status ParseOperator(Node* node) {
    static constexpr std::pair<absl::string_view, Operator> kOperators[] = {
        {"!=", Operator::kUnequal}, {"<=", Operator::kAtMost}, {">=", Operator::kAtLeast},
        {"=", Operator::kEqual},    {"<", Operator::kLess},    {">", Operator::kMore},
        {":", Operator::kContains},
    };
    const bool is_text = node->field >= Field::kKind;
    const bool is_name = node->field >= Field::kFlat && !is_text;
    for (const auto& [sign, op] : kOperators) {
      if (!absl::StartsWith(text_.substr(at_), sign)) continue;
      const bool equality = op == Operator::kEqual || op == Operator::kUnequal;
      if (!equality && (is_name || is_text != (op == Operator::kContains))) break;
      node->op = op;
      at_ += sign.size();
      SkipBlanks();
      return absl::OkStatus();
    }
    return Expected(is_text   ? "=, != or : (contains)"
                    : is_name ? "= or !="
                              : "=, !=, <, <=, > or >=");
  }

  absl::Status ParseValue(Node* node) {
    const size_t start = at_;
    std::string value;
    if (at_ < text_.size() && text_[at_] == '"') {
      for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
        if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
        value.push_back(text_[at_]);
      }
      if (!TakeByte('"')) return Expected("a closing quote");
    } else {
      // A value may hold ':' (ids do); blanks, parentheses and quotes end it.
      while (at_ < text_.size() && (IsWordByte(text_[at_]) || text_[at_] == ':')) {
        value.push_back(text_[at_++]);
      }
      SkipBlanks();
      if (value.empty()) return Expected("a value");
    }
    const absl::Status status = SetValue(std::move(value), node);
    if (!status.ok()) at_ = start;
    return status.ok() ? status : Expected(status.message());
  }

  static absl::Status SetValue(std::string value, Node* node) {
    switch (node->field) {
      case Field::kFlat:
        if (value != "true" && value != "false") return absl::InvalidArgumentError("true or false");
        node->number = value == "true";
        return absl::OkStatus();
      case Field::kOutcome: {
        const Outcome outcome = OutcomeFromName(value);
        if (!IsVerdict(outcome)) {
          return absl::InvalidArgumentError(
              "an outcome: correct, wrong, unparsable, limit_exceeded, violation");
        }
        node->number = static_cast<double>(outcome);
        return absl::OkStatus();
      }
      case Field::kStop: {
        const StopReason reason = StopReasonFromName(value);
        if (reason == StopReason::kNone) {
          return absl::InvalidArgumentError(
              "a stop reason: stop_token, length, context, cancelled");
        }
        node->number = static_cast<double>(reason);
        return absl::OkStatus();
      }
      case Field::kKind:
      case Field::kDrop:
      case Field::kSource:
      case Field::kTask:
      case Field::kGroup:
        node->text = std::move(value);
        return absl::OkStatus();
      default:
        if (!absl::SimpleAtod(value, &node->number) || !std::isfinite(node->number)) {
          return absl::InvalidArgumentError("a number");
        }
        return absl::OkStatus();
    }
  }

  absl::string_view text_;
  size_t at_ = 0;
  size_t terms_ = 0;
  RowFilter filter_;
};

absl::StatusOr<RowFilter> RowFilter::Parse(absl::string_view text) {
  if (text.size() > kMaxFilterBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a filter is at most ", kMaxFilterBytes, " bytes"));
  }
  return FilterParser(text).Parse();
}

absl::Status RowFilter::Check(const TrajectoryIndex& index) const {
  if (index.trajectories().empty()) return absl::OkStatus();
  for (const Node& node : nodes_) {
    const bool reward = node.field == Field::kRewardPart;
    if (node.kind != Kind::kTerm || (!reward && node.field != Field::kVerdictPart)) continue;
    const std::vector<std::string>& names = reward ? index.reward_parts() : index.verdict_parts();
    if (std::find(names.begin(), names.end(), node.text) != names.end()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "filter: this run has no ", reward ? "reward" : "verdict", " part '", node.text,
        "'; there is ", names.empty() ? "none" : absl::StrJoin(names, ", ")));
  }
  return absl::OkStatus();
}

RowFilter RowFilter::Both(RowFilter a, const RowFilter& b) {
  if (a.nodes_.empty()) return b;
  if (b.nodes_.empty()) return a;
  const size_t offset = a.nodes_.size();
  for (Node node : b.nodes_) {
    node.left += offset;
    node.right += offset;
    a.nodes_.push_back(std::move(node));
  }
  Node both;
  both.kind = Kind::kAnd;
  both.left = offset - 1;
  both.right = a.nodes_.size() - 1;
  a.nodes_.push_back(std::move(both));
  return a;
}

bool RowFilter::Evaluate(size_t at, const TrajectoryIndex& index,
                         const IndexedTrajectory& row) const {
  const Node& node = nodes_[at];
  switch (node.kind) {
    case Kind::kAnd:
      return Evaluate(node.left, index, row) && Evaluate(node.right, index, row);
    case Kind::kOr:
      return Evaluate(node.left, index, row) || Evaluate(node.right, index, row);
    case Kind::kNot:
      return !Evaluate(node.left, index, row);
    case Kind::kTerm:
      return EvaluateTerm(node, index, row);
  }
  return false;
}

bool RowFilter::EvaluateTerm(const Node& node, const TrajectoryIndex& index,
                             const IndexedTrajectory& row) {
  const IndexedGroup& group = index.groups()[row.group];
  const auto text = [&]() -> absl::string_view {
    if (node.field == Field::kKind) return index.failure_kinds()[row.kind];
    if (node.field == Field::kDrop) return group.drop_reason;
    if (node.field == Field::kGroup) return group.id;
    const IndexedTask& task = index.tasks()[group.task];
    return node.field == Field::kTask ? task.id : task.source;
  };
  if (node.field >= Field::kKind) {
    if (node.op == Operator::kContains) return absl::StrContains(text(), node.text);
    return (text() == node.text) == (node.op == Operator::kEqual);
  }
  const auto number = [&]() -> double {
    switch (node.field) {
      case Field::kIteration:
        return static_cast<double>(group.iteration);
      case Field::kVersion:
        return static_cast<double>(group.version);
      case Field::kReward:
        return row.reward;
      case Field::kAdvantage:
        return row.advantage;
      case Field::kLength:
        return row.completion_tokens;
      case Field::kTokens:
        return row.tokens;
      case Field::kSample:
        return row.sample;
      case Field::kRewardPart:
        return RawOf(index.RewardParts(row), index.reward_parts(), node.text);
      case Field::kVerdictPart:
        return RawOf(index.VerdictParts(row), index.verdict_parts(), node.text);
      case Field::kFlat:
        return group.flat;
      case Field::kOutcome:
        return static_cast<double>(row.outcome);
      default:
        return static_cast<double>(row.stop_reason);
    }
  };
  const double value = number();
  switch (node.op) {
    case Operator::kEqual:
      return value == node.number;
    case Operator::kUnequal:
      return !std::isnan(value) && value != node.number;
    case Operator::kLess:
      return value < node.number;
    case Operator::kAtMost:
      return value <= node.number;
    case Operator::kMore:
      return value > node.number;
    default:
      return value >= node.number;
  }
}

}  // namespace hone
