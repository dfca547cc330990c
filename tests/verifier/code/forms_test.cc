// SPDX-License-Identifier: Apache-2.0
//
// The three forms of tests, run for real.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/verifier/code/code_case.h"
#include "tests/verifier/verifier_contract.h"

namespace hone {
namespace {

VerifierContract Contract() {
  Question right = BareCode({"assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'"}, "add", "");
  right.bare = right.lenient = false;
  const auto answer = [](const std::string& code) {
    return "<think>hm</think>\n<answer>\n```python\n" + code + "\n```\n</answer>";
  };
  return {"code",
          [] {
            return MakeCode({{"cpu_ms", "2000"}});
          },
          WithCompletion(right, answer("def add(a, b):\n    return a + b")),
          WithCompletion(right, answer("def add(a, b):\n    return a - b"))};
}

std::vector<VerifierContract> Contracts() {
  if (!SandboxStatus().ok()) return {};
  return {Contract()};
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(VerifierContractTest);
INSTANTIATE_TEST_SUITE_P(Code, VerifierContractTest, testing::ValuesIn(Contracts()), ContractName);

using ProgramTests = SandboxedTest;
using CallTests = SandboxedTest;
using AssertTests = SandboxedTest;
using CodeVerifierTests = SandboxedTest;

void ExpectOutcome(Outcome outcome, const std::string& detail, const Question& question,
                   const VerifierOptions& options = {}) {
  const Verdict verdict = JudgeCode(question, options);
  EXPECT_STREQ(OutcomeName(verdict.outcome), OutcomeName(outcome))
      << testing::PrintToString(verdict);
  EXPECT_TRUE(absl::StrContains(verdict.detail, detail)) << testing::PrintToString(verdict);
}

double PartOf(const Verdict& verdict, const std::string& name) {
  for (const VerdictPart& part : verdict.parts) {
    if (part.name == name) return part.raw.value_or(-1);
  }
  return -2;
}

// ---- programs ----

Json Doubles() {
  return {{"inputs", {"1\n", "5\n", "21\n"}}, {"outputs", {"2\n", "10", "42 \n\n"}}};
}

TEST_F(ProgramTests, ComparesStandardOutputLineByLine) {
  ExpectOutcome(Outcome::kCorrect, "all 3 tests accepted",
                BareCode(Doubles(), "", "print(2 * int(input()))"));
  ExpectOutcome(Outcome::kWrong, "wrong at test 3 of 3",
                BareCode(Doubles(), "", "n = int(input())\nprint(2 * n if n < 20 else 0)"));
  ExpectOutcome(Outcome::kWrong, "line 2 is one too many",
                BareCode(Doubles(), "", "print(2 * int(input()))\nprint('more')"));
  ExpectOutcome(Outcome::kWrong, "got \"\"", BareCode(Doubles(), "", "pass"));
}

TEST_F(ProgramTests, RunsAProgramAsMain) {
  ExpectOutcome(Outcome::kCorrect, "",
                BareCode(Doubles(), "",
                         "def main():\n    print(2 * int(input()))\n\n"
                         "if __name__ == '__main__':\n    main()\n"));
}

TEST_F(ProgramTests, SaysHowAProgramFailed) {
  ExpectOutcome(Outcome::kWrong, "runtime_error at test 1 of 3: exit code 1: ZeroDivisionError",
                BareCode(Doubles(), "", "print(1 / 0)"));
  ExpectOutcome(Outcome::kWrong, "compile_error at test 1 of 3", BareCode(Doubles(), "", "print("));
  ExpectOutcome(Outcome::kWrong, "exit code 3",
                BareCode(Doubles(), "", "print(2 * int(input()))\nexit(3)"));
  ExpectOutcome(Outcome::kWrong, "compile_error: the code is no UTF-8",
                BareCode(Doubles(), "", "print('\xff')"));
}

TEST_F(ProgramTests, SaysWhichLimitAtWhatFigure) {
  const VerifierOptions small = {{"cpu_ms", "300"}, {"wall_ms", "20000"}, {"memory_mb", "64"}};
  ExpectOutcome(Outcome::kLimitExceeded, "limit at test 1 of 3: more than 300 ms of CPU time",
                BareCode(Doubles(), "", "while True: pass"), small);
  ExpectOutcome(Outcome::kLimitExceeded, "more than 1000 ms on the clock",
                BareCode(Doubles(), "", "import time\ntime.sleep(60)"), {{"wall_ms", "1000"}});
  ExpectOutcome(Outcome::kLimitExceeded, "more than 64 MiB of memory",
                BareCode(Doubles(), "", "x = bytearray(200 << 20)\nprint(x[5])"), small);
  ExpectOutcome(Outcome::kLimitExceeded, "bytes of output",
                BareCode(Doubles(), "", "while True: print('x' * 1000)"), {});
}

TEST_F(ProgramTests, TheTestsAfterALimitAreNotRun) {
  const Verdict verdict =
      JudgeCode(BareCode(Doubles(), "", "n = int(input())\nwhile n == 5: pass\nprint(2 * n)"),
                {{"cpu_ms", "300"}});
  EXPECT_EQ(verdict.outcome, Outcome::kLimitExceeded);
  EXPECT_EQ(verdict.evidence.at("tests"), "pass limit not_run");
  EXPECT_NEAR(PartOf(verdict, "tests_passed"), 1.0 / 3, 1e-9);
  EXPECT_EQ(PartOf(verdict, "accuracy"), 0.0);
}

TEST_F(ProgramTests, AllTestsTogetherHaveALimit) {
  Json tests = {{"inputs", Json::array()}, {"outputs", Json::array()}};
  for (int i = 0; i < 9; ++i) {
    tests["inputs"].push_back("1");
    tests["outputs"].push_back("1");
  }
  const std::string slow = "import time\nwhile time.process_time() < 0.15: pass\nprint(1)";
  ExpectOutcome(Outcome::kLimitExceeded, "all tests together took more than 500 ms of CPU time",
                BareCode(tests, "", slow), {{"total_cpu_ms", "500"}});
  ExpectOutcome(Outcome::kCorrect, "", BareCode(tests, "", slow), {{"total_cpu_ms", "5000"}});
}

TEST_F(ProgramTests, TestsMayBeJsonInAString) {
  ExpectOutcome(Outcome::kCorrect, "all 3 tests",
                BareCode(Doubles().dump(), "", "print(2 * int(input()))"));
  Json row = {{"tests", "[{\"input\": \"1\\n2\", \"output\": \"3\"}]"}, {"func_name", "add"}};
  Question question = CodeQuestion(row, "class Solution:\n  def add(self, a, b): return a + b");
  question.bare = true;
  ExpectOutcome(Outcome::kCorrect, "all 1 test", question);
}

TEST_F(ProgramTests, StopsAtTheFirstFailureWhenAsked) {
  const Question question = BareCode(Doubles(), "", "print(10)");
  EXPECT_EQ(JudgeCode(question).evidence.at("tests"), "wrong pass wrong");
  EXPECT_EQ(JudgeCode(question, {{"stop_at_first_failure", "true"}}).evidence.at("tests"),
            "wrong not_run not_run");
}

TEST_F(ProgramTests, ToleranceIsAnOption) {
  const Json tests = {{"inputs", {""}}, {"outputs", {"0.333333 ok\n"}}};
  ExpectOutcome(Outcome::kWrong, "", BareCode(tests, "", "print(1 / 3, 'ok')"));
  ExpectOutcome(Outcome::kCorrect, "", BareCode(tests, "", "print(1 / 3, 'ok')"),
                {{"float_tolerance", "1e-5"}});
  ExpectOutcome(Outcome::kWrong, "", BareCode(tests, "", "print(0.34, 'ok')"),
                {{"float_tolerance", "1e-5"}});
}

TEST_F(ProgramTests, ReadsAListOfInputOutputObjectsAndLeavesOutWhatIsTooMuch) {
  const Json tests =
      Json::array({{{"input", "1"}, {"output", "1"}}, {{"input", "2"}, {"output", "2"}}});
  ExpectOutcome(Outcome::kCorrect, "all 2 tests", BareCode(tests, "", "print(input())"));
  ExpectOutcome(Outcome::kCorrect, "1 more tests were left out", BareCode(tests, "", "print(1)"),
                {{"max_tests", "1"}});
}

// ---- calls ----

Question Call(const Json& arguments, const Json& gold, const std::string& code) {
  return BareCode({{"fn_name", "f"}, {"inputs", {arguments}}, {"outputs", {gold}}}, "", code);
}

TEST_F(CallTests, ComparesValuesAsPythonDoes) {
  const auto right = [](const Json& gold, const std::string& value) {
    ExpectOutcome(Outcome::kCorrect, "", Call(Json::array(), gold, "def f(): return " + value));
  };
  const auto wrong = [](const Json& gold, const std::string& value) {
    ExpectOutcome(Outcome::kWrong, "", Call(Json::array(), gold, "def f(): return " + value));
  };
  right(3, "3.0");
  right(3.0, "3");
  right(1, "True");
  wrong(true, "1");
  wrong(3, "'3'");
  wrong("3", "3");
  right(nullptr, "None");
  right(Json::array({1, {2, "x"}}), "[1, [2, 'x']]");
  wrong(Json::array({1, 2}), "(1, 2)");
  wrong(Json::array({1, 2}), "{1, 2}");
  wrong(Json::array({1, 2}), "[1, 2, 3]");
  wrong(Json::array({1, 2}), "[1]");
  right({{"a", 1}, {"b", {2}}}, "dict(b=[2], a=1)");
  wrong({{"a", 1}}, "dict(a=1, b=2)");
  wrong({{"1", 1}}, "{1: 1}");
  wrong(0.5, "float('nan')");
  wrong("x", "'\\ud800'");
}

TEST_F(CallTests, KeepsAllDigitsOfAnInteger) {
  const std::string tests =
      R"({"fn_name": "f", "inputs": [[100000000000000000000000000000001]],)"
      R"( "outputs": [1000000000000000000000000000000000000000000000000000000000000001]})";
  Question question = BareCode("", "", "def f(x): return (x - 1) * 10 ** 31 + 1");
  question.tests_json = tests;
  ExpectOutcome(Outcome::kCorrect, "", question);
  question = BareCode("", "", "def f(x): return (x - 1) * 10 ** 31 + 2");
  question.tests_json = tests;
  ExpectOutcome(Outcome::kWrong, "", question);
}

TEST_F(CallTests, ReadsArgumentsAsTextOneJsonALine) {
  const Json tests = {{"inputs", {"[1, 2]\n3", "[]\n0"}}, {"outputs", {"[1, 2, 3]", "[0]"}}};
  ExpectOutcome(Outcome::kCorrect, "all 2 tests",
                BareCode(tests, "f",
                         "class Solution:\n    def f(self, a: List[int], b: int):\n"
                         "        return a + [b]\n"));
}

TEST_F(CallTests, SaysHowACallFailed) {
  ExpectOutcome(Outcome::kWrong, "runtime_error at test 1 of 1: KeyError: 5",
                Call({5}, 1, "def f(x): return {}[x]"));
  ExpectOutcome(Outcome::kWrong, "compile_error at test 1 of 1: SyntaxError",
                Call({5}, 1, "def f(x) return x"));
  ExpectOutcome(Outcome::kWrong, "it does not define f", Call({5}, 1, "def g(x): return x"));
  ExpectOutcome(Outcome::kLimitExceeded, "more than 300 ms of CPU time",
                Call({5}, 1, "def f(x):\n  while True: pass"), {{"cpu_ms", "300"}});
}

TEST_F(CallTests, ConventionsAreOptions) {
  ExpectOutcome(Outcome::kCorrect, "", Call({5}, {5, 6}, "def f(x): return (5, 6)"),
                {{"tuple_is_list", "true"}});
  ExpectOutcome(Outcome::kCorrect, "", Call({5}, Json::array({5}), "def f(x): return x"),
                {{"unwrap_single_outputs", "true"}});
  ExpectOutcome(Outcome::kWrong, "", Call({5}, Json::array({5}), "def f(x): return x"));
}

// ---- asserts ----

TEST_F(AssertTests, CountsEveryAssertAndShowsTheFirstThatFailed) {
  const Json tests = {"assert f(1) == 1", "assert f(2) == 4", "assert f(3) == 6"};
  const Verdict verdict = JudgeCode(BareCode(tests, "f", "def f(x): return x * x if x < 3 else 6"));
  EXPECT_EQ(verdict.outcome, Outcome::kCorrect) << testing::PrintToString(verdict);
  const Verdict wrong = JudgeCode(BareCode(tests, "f", "def f(x): return x"));
  EXPECT_EQ(wrong.outcome, Outcome::kWrong);
  EXPECT_EQ(wrong.evidence.at("tests"), "pass wrong wrong");
  EXPECT_EQ(wrong.evidence.at("got"), "2");
  EXPECT_EQ(wrong.evidence.at("expected"), "4");
  EXPECT_NEAR(PartOf(wrong, "tests_passed"), 1.0 / 3, 1e-9);
}

TEST_F(AssertTests, WorkWithoutAnEntryPoint) {
  ExpectOutcome(Outcome::kCorrect, "",
                BareCode({"assert f(1) == g(1) == 2"}, "", "def f(x): return 2\ng = f"));
}

TEST_F(AssertTests, CallACheckThatNobodyCalls) {
  const char* check = "def check(candidate):\n    assert candidate(2) == 4\n";
  ExpectOutcome(Outcome::kCorrect, "", BareCode(check, "f", "def f(x): return 2 * x"));
  ExpectOutcome(Outcome::kWrong, "", BareCode(check, "f", "def f(x): return x"));
}

TEST_F(AssertTests, RunTestCasesAndTestFunctions) {
  const char* cases =
      "import unittest\nclass T(unittest.TestCase):\n"
      "  def setUp(self): self.two = 2\n"
      "  def test_a(self): self.assertEqual(f(1), self.two)\n"
      "  def test_b(self):\n    self.assertRaises(ValueError, f, -1)\n"
      "    with self.assertRaises(ValueError): f(-2)\n"
      "  def test_c(self): self.assertTrue(f(2) > 3); self.assertIn(4, [f(2)])\n"
      "unittest.main()\n";
  const char* functions =
      "from solution import f\ndef test_a():\n  assert f(1) == 2\n"
      "def test_b():\n  try:\n    f(-1)\n  except ValueError:\n    return\n  assert False\n";
  const char* right = "def f(x):\n  if x < 0: raise ValueError(x)\n  return 2 * x";
  for (const char* tests : {cases, functions}) {
    ExpectOutcome(Outcome::kCorrect, "", BareCode(tests, "f", right));
    ExpectOutcome(Outcome::kCorrect, "", BareCode(tests, "", right));
    ExpectOutcome(Outcome::kWrong, "", BareCode(tests, "f", "def f(x): return 2 * x"));
    ExpectOutcome(Outcome::kWrong, "", BareCode(tests, "f", "def f(x): raise ValueError(x)"));
    ExpectOutcome(Outcome::kWrong, "",
                  BareCode(tests, "f",
                           "class A:\n  def __eq__(s, o): return True\n  __gt__ = __eq__\n"
                           "def f(x):\n  if x < 0: raise ValueError(x)\n  return A()"));
  }
  ExpectOutcome(Outcome::kCorrect, "all 5 asserts", BareCode(cases, "f", right));
}

TEST_F(AssertTests, SeeWhatTheCandidateChangedInItsArguments) {
  const char* tests =
      "a = [3, 1, [2]]\ninner = a[2]\nd = {'k': [1]}\nassert f(a, d) is None\n"
      "assert a == [1, 3, [2, 9], 0]\nassert inner == [2, 9]\nassert d == {'k': [1, 5], 'n': 1}\n";
  ExpectOutcome(
      Outcome::kCorrect, "all 4 asserts",
      BareCode(tests, "f",
               "def f(a, d):\n    a[0], a[1] = 1, 3\n    a[2].append(9)\n    a.append(0)\n"
               "    d['k'].append(5)\n    d['n'] = 1\n"));
}

TEST_F(AssertTests, UseClassesOfTheCandidateThroughTheWall) {
  const Json tests = {"root = Node(1)\nroot.left = Node(2)\nroot.left.left = Node(3)",
                      "assert height(root) == 3", "assert root.left.value == 2",
                      "s = Stack()\ns.push(4)\ns.push([5])",
                      "assert s.pop() == [5] and len(s) == 1 and list(s) == [4] and s[0] == 4"};
  ExpectOutcome(
      Outcome::kCorrect, "all 3 asserts",
      BareCode(
          tests, "height",
          "class Node:\n  def __init__(self, v):\n    self.value = v\n"
          "    self.left = self.right = None\n"
          "def height(n): return 0 if n is None else 1 + max(height(n.left), height(n.right))\n"
          "class Stack(list):\n  def push(self, x): self.append(x)\n"));
}

TEST_F(AssertTests, PassFunctionsGeneratorsAndExceptions) {
  const Json tests = {
      "assert f(lambda x: x + 1, [1, 2]) == [2, 3]",
      "assert f(lambda x: len(g(x)), [3, 4]) == [3, 4]",
      "assert list(g(3)) == [0, 1, 2]",
      "try:\n    h()\n    raise RuntimeError('no error')\nexcept KeyError:\n    pass",
      "assert f(int, ['5']) == [5]",
      "assert isinstance(f(str, [5]), list)"};
  ExpectOutcome(Outcome::kCorrect, "",
                BareCode(tests, "f",
                         "def f(p, xs): return [p(x) for x in xs]\n"
                         "def g(n): return list(range(n))\ndef h(): raise KeyError('x')\n"));
  ExpectOutcome(Outcome::kCorrect, "",
                BareCode({"import itertools\nassert list(itertools.islice(f(), 3)) == [0, 1, 2]"},
                         "f", "import itertools\ndef f(): return itertools.count()\n"));
}

TEST_F(AssertTests, KeepEveryPlainTypeExactly) {
  const Json tests = {
      "for v in (0, -1, 2**63, -2**200, 1.5, -0.0, 1e300, float('inf'), 'x\\u20ac\\ud800', "
      "b'\\x00\\xff',"
      " (1, (2,)), {1, 2}, frozenset([3]), {1: [2], (1, 2): None}, [], [[]], None, True, 3 + 4j,"
      " range(1, 9, 2)):\n"
      "    assert f(v) == v\n    assert type(f(v)) is type(v)\n    assert repr(f(v)) == repr(v)\n"};
  ExpectOutcome(Outcome::kCorrect, "all 60 asserts", BareCode(tests, "f", "def f(x): return x"));
}

TEST_F(AssertTests, BringListsAndTreesOfNodes) {
  const char* tests =
      "assert is_same_list(Solution().f(list_node([1, 2, 3])), list_node([3, 2, 1]))\n"
      "assert is_same_tree(Solution().g(tree_node([1, 2, None, 3])), tree_node([1, None, 2, None, "
      "3]))\n";
  ExpectOutcome(
      Outcome::kCorrect, "all 2 asserts",
      BareCode(tests, "Solution",
               "class Solution:\n"
               "  def f(self, head: Optional[ListNode]) -> Optional[ListNode]:\n"
               "    out = None\n"
               "    while head: out, head = ListNode(head.val, out), head.next\n"
               "    return out\n"
               "  def g(self, root):\n"
               "    if root: root.left, root.right = self.g(root.right), self.g(root.left)\n"
               "    return root\n"));
}

TEST_F(AssertTests, ThatCannotBeReadOrFailByThemselvesAreSkipped) {
  const std::string code = "def f(x): return x";
  ExpectOutcome(Outcome::kSkipped, "cannot be read: SyntaxError", BareCode("assert f(", "f", code));
  ExpectOutcome(Outcome::kSkipped, "fail by themselves: ModuleNotFoundError",
                BareCode("import nothing_there\nassert f(1) == 1", "f", code));
  ExpectOutcome(Outcome::kSkipped, "fail by themselves",
                BareCode("x = 1 / 0\nassert f(1) == 1", "f", code));
  ExpectOutcome(Outcome::kSkipped, "never call the candidate",
                BareCode("assert 1 == 1", "f", code));
  ExpectOutcome(Outcome::kSkipped, "no assert in them", BareCode("f(1)", "f", code));
  ExpectOutcome(Outcome::kSkipped, "", BareCode("   ", "f", code));
  ExpectOutcome(Outcome::kSkipped, "", BareCode({{"inputs", {"1"}}}, "f", code));
  ExpectOutcome(Outcome::kSkipped, "",
                BareCode({{"inputs", {"1"}}, {"outputs", Json::array()}}, "", code));
  ExpectOutcome(Outcome::kSkipped, "", BareCode(5, "f", code));
}

TEST_F(AssertTests, WithoutAnEntryPointANameOfAModuleIsTheCandidates) {
  const Json tests = {"assert add(2, 3) == 5"};
  ExpectOutcome(Outcome::kCorrect, "", BareCode(tests, "", "def add(a, b): return a + b"));
  ExpectOutcome(Outcome::kWrong, "", BareCode(tests, "", "def add(a, b): return a - b"));
}

TEST_F(AssertTests, ALimitOfTheCandidateIsItsOwn) {
  const VerifierOptions small = {{"cpu_ms", "300"}, {"wall_ms", "20000"}, {"memory_mb", "64"}};
  const Json tests = {"assert f(1) == 1", "assert f(2) == 2"};
  ExpectOutcome(Outcome::kLimitExceeded, "more than 300 ms of CPU time",
                BareCode(tests, "f", "def f(x):\n  while x > 1: pass\n  return 1"), small);
  ExpectOutcome(Outcome::kLimitExceeded, "more than 1000 ms on the clock",
                BareCode(tests, "f", "import time\ndef f(x): time.sleep(60)"),
                {{"wall_ms", "1000"}});
  ExpectOutcome(Outcome::kLimitExceeded, "more than 64 MiB of memory",
                BareCode(tests, "f", "def f(x): return len(bytearray(200 << 20))"), small);
  ExpectOutcome(Outcome::kLimitExceeded, "more than 300 ms of CPU time",
                BareCode(tests, "f", "while True: pass"), small);
}

TEST_F(AssertTests, TheBodyOfAFunctionContinuesThePrompt) {
  const Json row = {{"prompt",
                     "import math\n\ndef half(x):\n    return x / 2\n\n"
                     "def f(x: int) -> int:\n    \"\"\" Half of it, rounded up. \"\"\"\n"},
                    {"entry_point", "f"},
                    {"tests", "assert f(3) == 2\nassert f(4) == 2\n"}};
  for (const char* completion :
       {"    return math.ceil(half(x))\n", "return math.ceil(half(x))",
        "    y = half(x)\n    return math.ceil(y)\n", "y = half(x)\n    return math.ceil(y)",
        "def f(x):\n    return math.ceil(half(x))\n",
        "```python\ndef f(x):\n    return math.ceil(half(x))\n```",
        "```python\n    return math.ceil(half(x))\n```"}) {
    ExpectOutcome(Outcome::kCorrect, "", CodeQuestion(row, completion));
  }
  Json chat = row;
  chat["prompt"] = "User: Complete it.\n```python\n" + row["prompt"].get<std::string>() +
                   "```\nAssistant: <think>";
  ExpectOutcome(
      Outcome::kCorrect, "",
      CodeQuestion(chat, "so</think>```python\ndef f(x): return math.ceil(half(x))\n```"));
  chat["prompt"] = "User: " + row["prompt"].get<std::string>() + "Assistant: <think>";
  ExpectOutcome(
      Outcome::kCorrect, "",
      CodeQuestion(chat, "so</think>```python\ndef f(x): return math.ceil(half(x))\n```"));
}

TEST_F(CodeVerifierTests, NoCodeIsUnparsable) {
  Question question = BareCode("assert f(1) == 1", "f", "I would write a function.");
  question.bare = question.lenient = false;
  ExpectOutcome(Outcome::kUnparsable, "no closed ```python block", question);
}

TEST_F(CodeVerifierTests, MeasuresWhenAsked) {
  const Question question = BareCode("assert f(1) == 1", "f", "def f(x): return x");
  EXPECT_EQ(JudgeCode(question).evidence.count("cpu_ms"), 0u);
  const Verdict verdict = JudgeCode(question, {{"measurements", "true"}});
  EXPECT_EQ(verdict.evidence.count("cpu_ms"), 1u);
  EXPECT_EQ(verdict.evidence.count("memory_mb"), 1u);
}

TEST(CodeVerifier, RefusesValuesThatAreNone) {
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"cpu_ms", "0"},
                                                        {"memory_mb", "x"},
                                                        {"float_tolerance", "-1"},
                                                        {"slots", "1"},
                                                        {"tuple_is_list", "1"},
                                                        {"preamble", "maybe"},
                                                        {"colour", "red"}}) {
    const absl::Status status = MakeCodeVerifier({{name, value}}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_TRUE(absl::StrContains(status.message(), name)) << status;
  }
}

}  // namespace
}  // namespace hone
