// SPDX-License-Identifier: Apache-2.0
//
// LaTeX read and evaluated, against the values other parsers' own tests imply.
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "gtest/gtest.h"
#include "tests/verifier/judge.h"
#include "verifier/math/numeric.h"
#include "verifier/math/parser.h"

namespace hone::math {
namespace {

using Json = nlohmann::json;

// "x_2" as this parser names it: "x_{2}".
std::string NameOf(const std::string& key) {
  const size_t line = key.find('_');
  if (line == std::string::npos || line + 1 >= key.size() || key[line + 1] == '{') return key;
  return key.substr(0, line) + "_{" + key.substr(line + 1) + "}";
}

void Set(const std::string& digits, Real* to) {
  mpfr_set_str(to->get(), digits.c_str(), 10, MPFR_RNDN);
}

bool SampleFits(const Node& node, const Json& sample, std::string* seen) {
  constexpr mpfr_prec_t kBits = 192;
  Bindings at;
  for (const auto& [key, value] : sample["at"].items()) {
    Complex number(kBits);
    mpfr_set_d(number.re.get(), value.get<double>(), MPFR_RNDN);
    at.emplace_back(NameOf(key), number);
    at.emplace_back("bar{" + key + "}", number);  // a conjugate, of a real number here
  }
  for (const std::string& name : FreeSymbols(node)) {  // what cancels has no value given
    Complex number(kBits);
    mpfr_set_d(number.re.get(), 1.2345, MPFR_RNDN);
    at.emplace(at.begin(), name, number);
  }
  Complex wanted(kBits), got(kBits);
  Set(sample["re"], &wanted.re);
  Set(sample["im"], &wanted.im);
  Steps steps(10000000);
  if (!Evaluate(node, kBits, at, &steps, &got)) {
    *seen = "no value";
    return false;
  }
  *seen = std::to_string(mpfr_get_d(got.re.get(), MPFR_RNDN)) + " " +
          std::to_string(mpfr_get_d(got.im.get(), MPFR_RNDN));
  Complex offset = wanted;  // so that zero and nearly zero agree
  mpfr_add_d(offset.re.get(), wanted.re.get(), 1e-6, MPFR_RNDN);
  Complex moved = got;
  mpfr_add_d(moved.re.get(), got.re.get(), 1e-6, MPFR_RNDN);
  return AgreeTo(offset, moved, 30) || AgreeTo(wanted, got, 30);
}

bool RowFits(const Json& row, std::string* seen) {
  Arena arena;
  const std::string latex = row["latex"];
  const ParseResult parsed = ParseAnswer(latex, 0, &arena);
  if (parsed.status != ParseStatus::kOk) {
    *seen = parsed.why;
    return false;
  }
  for (const Json& sample : row.value("samples", Json::array())) {
    if (!SampleFits(*parsed.node, sample, seen)) {
      *seen += " " + Print(*parsed.node, 200);
      return false;
    }
  }
  return true;
}

TEST(ParseCases, NumericLatexHasTheValueItShould) {
  const auto rows = DataRows("grading/math_parse_cases.jsonl");
  if (rows.empty()) GTEST_SKIP() << "not run: HONE_DATA_DIR is not set";
  std::map<std::string, std::pair<int, int>> score;
  for (const Json& row : rows) {
    std::string seen;
    const bool fits = RowFits(row, &seen);
    auto& [right, all] = score[row["class"]];
    right += fits;
    ++all;
    if (!fits && std::getenv("HONE_MATH_DETAILS") != nullptr) {
      std::cout << row["class"].get<std::string>() << ": " << row["latex"].get<std::string>()
                << "\n    wanted " << row.value("samples", Json()).dump().substr(0, 160)
                << "\n    got " << seen << "\n";
    }
  }
  for (const auto& [name, counts] : score) {
    std::cout << "parse cases, " << name << ": " << counts.first << " of " << counts.second << "\n";
  }
  EXPECT_GE(score["numeric"].first * 100, score["numeric"].second * 97);
}

}  // namespace
}  // namespace hone::math
