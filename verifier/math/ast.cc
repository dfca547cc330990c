// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/ast.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace hone::math {
namespace {

constexpr const char* kFnNames[] = {
    "sin",    "cos",    "tan",    "cot",  "sec",  "csc",  "arcsin", "arccos", "arctan",
    "arccot", "arcsec", "arccsc", "sinh", "cosh", "tanh", "coth",   "sech",   "csch",
    "arsinh", "arcosh", "artanh", "exp",  "log",  "abs",  "floor",  "ceil",   "max",
    "min",    "gcd",    "lcm",    "sign", "re",   "im",   "arg",    "conj"};

const char* HeadOf(const Node& node) {
  switch (node.kind) {
    case Kind::kPi:
      return "pi";
    case Kind::kE:
      return "e";
    case Kind::kI:
      return "i";
    case Kind::kInfinity:
      return "infinity";
    case Kind::kEllipsis:
      return "...";
    case Kind::kAdd:
      return "+";
    case Kind::kNegate:
      return "-";
    case Kind::kMultiply:
      return "*";
    case Kind::kDivide:
      return "/";
    case Kind::kPower:
      return "^";
    case Kind::kRoot:
      return "root";
    case Kind::kFunction:
      return kFnNames[static_cast<int>(node.fn)];
    case Kind::kFactorial:
      return "!";
    case Kind::kBinomial:
      return "binomial";
    case Kind::kPlusMinus:
      return node.op == '-' ? "mp" : "pm";
    case Kind::kModulo:
      return "mod";
    case Kind::kPercent:
      return "percent";
    case Kind::kDegree:
      return "degree";
    case Kind::kRatio:
      return "ratio";
    case Kind::kSet:
      return "set";
    case Kind::kList:
      return "list";
    case Kind::kUnion:
      return "union";
    case Kind::kIntersection:
      return "intersection";
    case Kind::kDifference:
      return "difference";
    case Kind::kDeterminant:
      return "det";
    case Kind::kSum:
      return "sum";
    case Kind::kProduct:
      return "product";
    default:
      return "";
  }
}

void PrintTo(const Node& node, size_t max_bytes, std::string* out) {
  if (out->size() > max_bytes) return;
  switch (node.kind) {
    case Kind::kNumber:
      absl::StrAppend(out, node.value->get_str());
      return;
    case Kind::kSymbol:
    case Kind::kBased:
      absl::StrAppend(out, node.text);
      return;
    case Kind::kWord:
      absl::StrAppend(out, "'", node.text, "'");
      return;
    case Kind::kText:
      absl::StrAppend(out, "\"", node.text, "\"");
      return;
    case Kind::kNamedSet:
      absl::StrAppend(out, node.text.empty() ? "emptyset" : node.text);
      return;
    default:
      break;
  }
  absl::StrAppend(out, "(", HeadOf(node));
  if (!node.text.empty()) absl::StrAppend(out, "<", node.text, ">");
  if (node.open != 0) out->append({node.open, node.close});
  if (node.columns != 0) absl::StrAppend(out, "matrix", node.columns);
  for (const Node* child : node.child) {
    out->push_back(' ');
    PrintTo(*child, max_bytes, out);
  }
  out->push_back(')');
}

}  // namespace

std::string Print(const Node& node, size_t max_bytes) {
  std::string out;
  PrintTo(node, max_bytes, &out);
  if (out.size() > max_bytes) {
    out.resize(max_bytes);
    out += "...";
  }
  return out;
}

bool SameStructure(const Node& a, const Node& b) {
  if (&a == &b) return true;
  if (a.kind != b.kind || a.fn != b.fn || a.op != b.op || a.open != b.open || a.close != b.close ||
      a.columns != b.columns || a.child.size() != b.child.size() || a.text != b.text) {
    return false;
  }
  if (a.kind == Kind::kNumber && *a.value != *b.value) return false;
  for (size_t i = 0; i < a.child.size(); ++i) {
    if (!SameStructure(*a.child[i], *b.child[i])) return false;
  }
  return true;
}

}  // namespace hone::math
