// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/names.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"

namespace hone::math {
namespace {

using CommandTable = absl::flat_hash_map<absl::string_view, Command>;

void Add(CommandKind kind, absl::string_view names, CommandTable* table) {
  for (absl::string_view name : absl::StrSplit(names, ' ')) (*table)[name] = {kind, name};
}

void Alias(CommandKind kind, absl::string_view to, absl::string_view names, CommandTable* table) {
  for (absl::string_view name : absl::StrSplit(names, ' ')) (*table)[name] = {kind, to};
}

void AddSymbols(CommandTable* table) {
  Add(CommandKind::kSymbol,
      "frac sqrt binom choose cdots ldots pi infty emptyset cup cap setminus in notin neq leq geq "
      "approx equiv subset supset pm mp mod pmod times div sum prod int lim begin end boxed "
      "overline vec lfloor rfloor lceil rceil lvert rvert vert norm langle rangle lbrace rbrace "
      "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu "
      "xi rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi "
      "Psi Omega ell hbar circ degree prime angle triangle implies partial nabla sin cos tan cot "
      "sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth sech csch arcsinh "
      "arccosh arctanh exp log ln lg max min gcd lcm det dim deg ceil floor arg sgn and or perp "
      "parallel cong oint iint operatorname",
      table);
  Alias(CommandKind::kSymbol, "frac", "dfrac tfrac cfrac", table);
  Alias(CommandKind::kSymbol, "binom", "dbinom tbinom", table);
  Alias(CommandKind::kSymbol, "leq", "le leqslant leqq", table);
  Alias(CommandKind::kSymbol, "geq", "ge geqslant geqq", table);
  Alias(CommandKind::kSymbol, "neq", "ne", table);
  Alias(CommandKind::kSymbol, "approx", "sim simeq thickapprox", table);
  Alias(CommandKind::kSymbol, "ldots", "dots dotsc dotsb cdots dotso dotsm vdots ddots", table);
  Alias(CommandKind::kSymbol, "emptyset", "varnothing", table);
  Alias(CommandKind::kSymbol, "subset", "subseteq subsetneq", table);
  Alias(CommandKind::kSymbol, "supset", "supseteq supsetneq", table);
  Alias(CommandKind::kSymbol, "setminus", "smallsetminus backslash", table);
  Alias(CommandKind::kSymbol, "times", "cdot ast bullet", table);
  Alias(CommandKind::kSymbol, "mod", "bmod", table);
  Alias(CommandKind::kSymbol, "vert", "mid", table);
  Alias(CommandKind::kSymbol, "norm", "Vert lVert rVert", table);
  Alias(CommandKind::kSymbol, "lfloor", "llcorner", table);
  Alias(CommandKind::kSymbol, "rfloor", "lrcorner", table);
  Alias(CommandKind::kSymbol, "lceil", "ulcorner", table);
  Alias(CommandKind::kSymbol, "rceil", "urcorner", table);
  Alias(CommandKind::kSymbol, "overline", "bar overrightarrow widebar", table);
  Alias(CommandKind::kSymbol, "vec", "hat widehat tilde widetilde dot ddot underline", table);
  Alias(CommandKind::kSymbol, "boxed", "fbox framebox", table);
  Alias(CommandKind::kSymbol, "to", "to rightarrow longrightarrow mapsto", table);
  Alias(CommandKind::kSymbol, "implies",
        "implies Rightarrow Longrightarrow iff Leftrightarrow therefore", table);
  Alias(CommandKind::kSymbol, "e", "exponentialE", table);
  Alias(CommandKind::kSymbol, "i", "imaginaryI", table);
  Alias(CommandKind::kSymbol, "or", "lor vee", table);
  Alias(CommandKind::kSymbol, "and", "land wedge", table);
}

CommandTable MakeCommands() {
  CommandTable table;
  AddSymbols(&table);
  Add(CommandKind::kSkip,
      "left right mleft mright big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr "
      "middle "
      "displaystyle textstyle scriptstyle limits nolimits bf rm it sf tt cal boldmath hline "
      "phantom hphantom vphantom noindent ensuremath negthinspace negmedspace negthickspace "
      "strut centering Large large small normalsize",
      &table);
  Add(CommandKind::kSpace, "quad qquad thinspace medspace thickspace enspace newline space",
      &table);
  Add(CommandKind::kText,
      "text mbox textrm textnormal textit textsf texttt textsc textup hbox mathrm operatorname "
      "textbf emph mathsf mathtt mathbb",
      &table);
  Add(CommandKind::kStyle, "mathbf mathit mathcal mathscr mathfrak boldsymbol bm pmb mathnormal",
      &table);
  Alias(CommandKind::kChar, "<", "lt", &table);
  Alias(CommandKind::kChar, ">", "gt", &table);
  Alias(CommandKind::kChar, "(", "lgroup lparen", &table);
  Alias(CommandKind::kChar, ")", "rgroup rparen", &table);
  Alias(CommandKind::kChar, "[", "lbrack", &table);
  Alias(CommandKind::kChar, "]", "rbrack", &table);
  Alias(CommandKind::kChar, ":", "colon", &table);
  Alias(CommandKind::kChar, "%", "percent", &table);
  return table;
}

using FunctionTable = absl::flat_hash_map<absl::string_view, Fn>;

FunctionTable MakeFunctions() {
  return {{"sin", Fn::kSin},       {"cos", Fn::kCos},       {"tan", Fn::kTan},
          {"tg", Fn::kTan},        {"cot", Fn::kCot},       {"ctg", Fn::kCot},
          {"sec", Fn::kSec},       {"csc", Fn::kCsc},       {"cosec", Fn::kCsc},
          {"arcsin", Fn::kArcsin}, {"asin", Fn::kArcsin},   {"arccos", Fn::kArccos},
          {"acos", Fn::kArccos},   {"arctan", Fn::kArctan}, {"atan", Fn::kArctan},
          {"arctg", Fn::kArctan},  {"arccot", Fn::kArccot}, {"acot", Fn::kArccot},
          {"arcsec", Fn::kArcsec}, {"arccsc", Fn::kArccsc}, {"sinh", Fn::kSinh},
          {"cosh", Fn::kCosh},     {"tanh", Fn::kTanh},     {"coth", Fn::kCoth},
          {"sech", Fn::kSech},     {"csch", Fn::kCsch},     {"arcsinh", Fn::kArsinh},
          {"asinh", Fn::kArsinh},  {"arsinh", Fn::kArsinh}, {"arccosh", Fn::kArcosh},
          {"acosh", Fn::kArcosh},  {"arcosh", Fn::kArcosh}, {"arctanh", Fn::kArtanh},
          {"atanh", Fn::kArtanh},  {"artanh", Fn::kArtanh}, {"exp", Fn::kExp},
          {"log", Fn::kLog},       {"ln", Fn::kLog},        {"lg", Fn::kLog},
          {"abs", Fn::kAbs},       {"floor", Fn::kFloor},   {"ceil", Fn::kCeil},
          {"ceiling", Fn::kCeil},  {"max", Fn::kMax},       {"min", Fn::kMin},
          {"gcd", Fn::kGcd},       {"lcm", Fn::kLcm},       {"sgn", Fn::kSign},
          {"sign", Fn::kSign},     {"arg", Fn::kArg},       {"conj", Fn::kConj}};
}

using UnitTable = absl::flat_hash_map<absl::string_view, Unit>;

// "name factor name factor ...": all of one dimension.
void AddUnits(char dimension, const char* factor, absl::string_view names, UnitTable* table) {
  for (absl::string_view name : absl::StrSplit(names, ' ')) (*table)[name] = {dimension, factor};
}

UnitTable MakeUnits() {
  UnitTable t;
  AddUnits('l', "1/1000", "mm millimeter millimeters millimetre millimetres", &t);
  AddUnits('l', "1/100", "cm centimeter centimeters centimetre centimetres", &t);
  AddUnits('l', "1/10", "dm decimeter decimeters", &t);
  AddUnits('l', "1", "m meter meters metre metres", &t);
  AddUnits('l', "1000", "km kilometer kilometers kilometre kilometres", &t);
  AddUnits('l', "254/10000", "in inch inches", &t);
  AddUnits('l', "3048/10000", "ft foot feet", &t);
  AddUnits('l', "9144/10000", "yd yard yards", &t);
  AddUnits('l', "1609344/1000", "mi mile miles", &t);
  AddUnits('m', "1/1000", "mg milligram milligrams", &t);
  AddUnits('m', "1", "g gram grams", &t);
  AddUnits('m', "1000", "kg kilogram kilograms", &t);
  AddUnits('m', "45359237/100000", "lb lbs pound pounds", &t);
  AddUnits('m', "45359237/1600000", "oz ounce ounces", &t);
  AddUnits('m', "1000000", "ton tons tonne tonnes", &t);
  AddUnits('t', "1", "s sec secs second seconds", &t);
  AddUnits('t', "60", "min mins minute minutes", &t);
  AddUnits('t', "3600", "h hr hrs hour hours", &t);
  AddUnits('t', "86400", "day days", &t);
  AddUnits('t', "604800", "week weeks wk wks", &t);
  AddUnits('v', "1/1000", "ml milliliter milliliters millilitre millilitres", &t);
  AddUnits('v', "1", "l liter liters litre litres", &t);
  AddUnits('$', "1", "dollar dollars usd bucks", &t);
  AddUnits('$', "1/100", "cent cents", &t);
  AddUnits('a', "1", "degree degrees deg degs", &t);
  AddUnits('?', "1",
           "t km/h mph kph m/s unit units sq square cubic euro euros yuan yen rupees "
           "rupee pence penny month months year years yr yrs gallon gallons quart quarts pint "
           "pints cup cups acre acres hectare hectares ha apple apples people person persons "
           "student students dog dogs way ways time times piece pieces value values integer "
           "integers number numbers solution solutions triangle triangles side sides hz kw w v "
           "n j pa k mol c f rad radian radians per am pm a.m p.m point points page pages car "
           "cars ticket tickets book books dozen mole moles volts watts joules newtons men women "
           "children girls boys distinct different possible total each",
           &t);
  return t;
}

}  // namespace

const Command* FindCommand(absl::string_view name) {
  static const CommandTable* const table = new CommandTable(MakeCommands());
  const auto found = table->find(name);
  return found == table->end() ? nullptr : &found->second;
}

std::optional<Fn> FindFunction(absl::string_view name) {
  static const FunctionTable* const table = new FunctionTable(MakeFunctions());
  const auto found = table->find(name);
  if (found == table->end()) return std::nullopt;
  return found->second;
}

absl::string_view ConstantWord(absl::string_view word) {
  static constexpr std::pair<absl::string_view, absl::string_view> kWords[] = {
      {"pi", "pi"},       {"Pi", "pi"},           {"PI", "pi"},
      {"inf", "infty"},   {"infinity", "infty"},  {"Infinity", "infty"},
      {"oo", "infty"},    {"infty", "infty"},     {"alpha", "alpha"},
      {"beta", "beta"},   {"gamma", "gamma"},     {"delta", "delta"},
      {"theta", "theta"}, {"lambda", "lambda"},   {"sigma", "sigma"},
      {"omega", "omega"}, {"epsilon", "epsilon"}, {"emptyset", "emptyset"}};
  for (const auto& [name, command] : kWords) {
    if (name == word) return command;
  }
  return {};
}

const Unit* FindUnit(absl::string_view word) {
  static const UnitTable* const table = new UnitTable(MakeUnits());
  const auto found = table->find(word);
  return found == table->end() ? nullptr : &found->second;
}

bool ChangesNumber(absl::string_view words, bool digits_too) {
  static const auto* const kWords = new absl::flat_hash_set<absl::string_view>{
      "or",      "not",      "no",        "nor",           "isn't",    "maybe",
      "perhaps", "possibly", "unless",    "alternatively", "either",   "else",
      "instead", "wrong",    "incorrect", "false",         "except",   "plus",
      "minus",   "negative", "than",      "most",          "least",    "below",
      "above",   "under",    "over",      "hundred",       "thousand", "million",
      "billion", "trillion", "zero",      "one",           "two",      "three",
      "four",    "five",     "six",       "seven",         "eight",    "nine",
      "ten",     "eleven",   "twelve",    "factorial",     "twice",    "half",
      "double",  "doubled",  "halved",    "and",           "but"};
  std::string word;
  bool first = true;
  char before = ' ';  // the word: a command's backslash, a unit's power
  for (size_t i = 0; i <= words.size(); ++i) {
    const unsigned char c = i < words.size() ? words[i] : ' ';
    if (absl::ascii_isalnum(c) || c == '\'') {
      word.push_back(static_cast<char>(absl::ascii_tolower(c)));
      continue;
    }
    if (word.empty()) {
      if (c != '{' && c != '-') before = c;
      continue;
    }
    const bool command = before == '\\', exponent = before == '^';
    before = c;
    if (command || exponent) {
      word.clear();
      continue;
    }
    if (kWords->contains(word)) return true;
    if ((first || !digits_too) && (word == "squared" || word == "cubed")) return true;
    if (!digits_too && word == "times") return true;
    // A digit, but for the power of a unit: "cm2".
    const absl::string_view name = absl::string_view(word).substr(0, word.size() - 1);
    const bool power = (word.back() == '2' || word.back() == '3') && FindUnit(name) != nullptr;
    const bool digits_count = digits_too && !power;
    for (char letter : word) {
      if (digits_count && absl::ascii_isdigit(static_cast<unsigned char>(letter))) return true;
    }
    word.clear();
    first = false;
  }
  return false;
}

}  // namespace hone::math
