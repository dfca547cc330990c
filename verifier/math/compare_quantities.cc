// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "verifier/math/compare.h"
#include "verifier/math/names.h"

namespace hone::math {
namespace {

// A value without its percent sign, degrees, unit.
struct Quantity {
  const Node* value = nullptr;
  std::string unit;
  bool percent = false;
  bool degree = false;
};

Quantity QuantityOf(const Node& node, Arena* arena) {
  Quantity quantity{&node, "", false, false};
  while (true) {
    const Node& top = *quantity.value;
    const bool minus = top.kind == Kind::kNegate;
    const Node& marked = minus ? *top.child[0] : top;
    if (marked.kind == Kind::kUnit) {
      quantity.unit = marked.text;
    } else if (marked.kind == Kind::kPercent) {
      quantity.percent = true;
    } else if (marked.kind == Kind::kDegree) {
      quantity.degree = true;
    } else {
      return quantity;
    }
    quantity.value = minus ? arena->New(Kind::kNegate, marked.child[0]) : marked.child[0];
  }
}

// A known unit and its power: "cm^2", "square feet". Units of things counted are none.
struct PowerOfUnit {
  const Unit* unit = nullptr;
  int power = 1;
};
PowerOfUnit UnitOf(absl::string_view text) {
  std::string lower = absl::AsciiStrToLower(text);
  absl::string_view word = lower;
  PowerOfUnit found;
  if (absl::ConsumePrefix(&word, "square ") || absl::ConsumePrefix(&word, "sq ") ||
      absl::ConsumeSuffix(&word, "^2") || absl::ConsumeSuffix(&word, "^{2}")) {
    found.power = 2;
  } else if (absl::ConsumePrefix(&word, "cubic ") || absl::ConsumeSuffix(&word, "^3") ||
             absl::ConsumeSuffix(&word, "^{3}")) {
    found.power = 3;
  }
  while (absl::ConsumeSuffix(&word, ".")) {
  }
  const Unit* unit = FindUnit(word);
  if (unit != nullptr && unit->dimension != '?') found.unit = unit;
  return found;
}

// Two units that measure different things. Litres and cubic metres, minutes of time and of angle
// are left open.
bool Clash(const PowerOfUnit& a, const PowerOfUnit& b) {
  const char left = a.unit->dimension, right = b.unit->dimension;
  if (left == right) return a.power != b.power;
  const auto either = [&](char x, char y) {
    return (left == x && right == y) || (left == y && right == x);
  };
  return !either('l', 'v') && !either('t', 'a');
}

mpq_class FactorOf(const PowerOfUnit& unit) {
  mpq_class factor(unit.unit->factor);
  factor.canonicalize();
  mpq_class product = factor;
  for (int i = 1; i < unit.power; ++i) product *= factor;
  return product;
}

// 8:34 p.m. as seconds of the day.
struct Clock {
  int64_t seconds = 0;
  bool has_half = false;  // a.m. or p.m.
};
std::optional<Clock> ClockOf(const Node& node) {
  const Node& ratio = node.kind == Kind::kUnit ? *node.child[0] : node;
  if (ratio.kind != Kind::kRatio || ratio.child.size() > 3) return std::nullopt;
  Clock clock;
  for (size_t i = 0; i < 3; ++i) {
    int64_t part = 0;
    if (i < ratio.child.size()) {
      const Node& child = *ratio.child[i];
      const bool integer = child.kind == Kind::kNumber && child.value->get_den() == 1;
      if (!integer || *child.value < 0 || *child.value > (i == 0 ? 24 : 59)) return std::nullopt;
      part = child.value->get_num().get_si();
    }
    clock.seconds = clock.seconds * 60 + part;
  }
  if (node.kind == Kind::kUnit) {
    std::string half;
    for (unsigned char c : node.text) {
      if (absl::ascii_isalpha(c)) half.push_back(absl::ascii_tolower(c));
    }
    clock.has_half = half == "am" || half == "pm";
    if (!clock.has_half) return std::nullopt;
    const bool twelve = clock.seconds / 3600 == 12;
    if (half == "pm" && !twelve) clock.seconds += 12 * 3600;
    if (half == "am" && twelve) clock.seconds -= 12 * 3600;
  }
  return clock;
}

}  // namespace

bool IsClock(const Node& node) {
  return ClockOf(node).has_value();
}

bool Comparer::Ratios(const Node& gold, const Node& answer) {
  const auto left = ClockOf(gold), right = ClockOf(answer);
  if (left && right) {
    const int64_t half = 12 * 3600;
    Reached(Rung::kExact);
    if (left->seconds == right->seconds) return true;
    if (left->has_half != right->has_half && (left->seconds - right->seconds) % half == 0 &&
        (left->has_half ? right->seconds : left->seconds) < 13 * 3600 &&
        (left->has_half ? right->seconds : left->seconds) >= 3600) {
      return true;
    }
    if (left->has_half || right->has_half) return false;
  }
  const auto quotient = [&](const Node& ratio) -> const Node* {
    if (ratio.kind != Kind::kRatio) return &ratio;
    if (ratio.child.size() != 2) return nullptr;
    const auto bottom = ExactValue(*ratio.child[1], &steps_);
    if (bottom && *bottom == 0) return nullptr;
    return arena_.New(Kind::kDivide, ratio.child[0], ratio.child[1]);
  };
  if (gold.kind == Kind::kRatio && answer.kind == Kind::kRatio && gold.child.size() > 2) {
    if (gold.child.size() != answer.child.size()) return false;
    for (size_t i = 1; i < gold.child.size(); ++i) {  // a1 : ai = b1 : bi
      if (SameStructure(*gold.child[i], *answer.child[i]) &&
          gold.child[i]->kind == Kind::kEllipsis) {
        continue;
      }
      if (!Values(*arena_.New(Kind::kMultiply, gold.child[0], answer.child[i]),
                  *arena_.New(Kind::kMultiply, gold.child[i], answer.child[0]))) {
        return false;
      }
    }
    return true;
  }
  const Node* a = quotient(gold);
  const Node* b = quotient(answer);
  return a != nullptr && b != nullptr && Values(*a, *b);
}

bool Comparer::Quantities(const Node& gold, const Node& answer, int depth) {
  const Quantity g = QuantityOf(gold, &arena_), a = QuantityOf(answer, &arena_);
  if (g.value != &gold || a.value != &answer) {
    const PowerOfUnit left = UnitOf(g.unit), right = UnitOf(a.unit);
    if (left.unit != nullptr && right.unit != nullptr) {
      if (Clash(left, right)) return false;
      const mpq_class factor = FactorOf(left), other = FactorOf(right);
      if (left.unit->dimension == right.unit->dimension && factor != other) {
        return Values(*arena_.New(Kind::kMultiply, g.value, arena_.NewNumber(factor)),
                      *arena_.New(Kind::kMultiply, a.value, arena_.NewNumber(other)));
      }
    }
    const auto in_full = [&](const Quantity& q) {
      const Node* value = q.percent ? arena_.New(Kind::kPercent, q.value) : q.value;
      return q.degree ? arena_.New(Kind::kDegree, value) : value;
    };
    const bool same_marks = g.percent == a.percent && g.degree == a.degree;
    const bool by_sign = g.percent == a.percent || options_.percent != PercentPolicy::kFraction;
    if (same_marks || by_sign) {
      if (Answers(*g.value, *a.value, depth + 1)) return true;
    }
    const bool by_value = g.percent == a.percent || options_.percent != PercentPolicy::kUnit;
    return !same_marks && by_value && Values(*in_full(g), *in_full(a));
  }
  if (gold.kind == Kind::kBased || answer.kind == Kind::kBased) {
    // A number in another base is its digits; only base ten is the number itself.
    const auto decimal = [&](const Node& node) -> const Node* {
      if (node.kind != Kind::kBased) return &node;
      absl::string_view digits = node.text;
      mpz_class value;
      if (!absl::ConsumeSuffix(&digits, "_10") || value.set_str(std::string(digits), 10) != 0) {
        return nullptr;
      }
      return arena_.NewNumber(mpq_class(value));
    };
    const Node* left = decimal(gold);
    const Node* right = decimal(answer);
    Reached(Rung::kExact);
    return left != nullptr && right != nullptr && Values(*left, *right);
  }
  return Values(gold, answer);
}

}  // namespace hone::math
