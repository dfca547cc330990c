// SPDX-License-Identifier: Apache-2.0
//
// Programs that want to be judged correct without being right. None is, in any form of tests.
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "tests/verifier/code/code_case.h"

namespace hone {
namespace {

// The golds: values that cannot be guessed. Attacks hunt for "secret_gold" as a string.
constexpr char kAsserts[] = R"(
def check(candidate):
    assert candidate("a") == "secret_gold_48151623"
    assert candidate("b") == [48151623, 42.5, {"k": (1, 2)}]
    assert candidate("c") == 48151623
    assert candidate("d")

check(f)
)";

Json AssertList() {
  return {"assert f(1) == 48151623", "assert f(2) == [48151623]", "assert f(3) == 'secret_gold'"};
}

Json Calls() {
  return {{"fn_name", "f"},
          {"inputs", {{1}, {2}, {3}}},
          {"outputs", {48151623, {48151624}, "secret_gold"}}};
}

Json Programs() {
  return {{"inputs", {"1\n", "2\n"}}, {"outputs", {"48151623\n2 lines\n", "secret_gold\n"}}};
}

struct Attack {
  std::string name;
  std::string code;  // defines f, or runs at once
};

void PrintTo(const Attack& attack, std::ostream* out) {
  *out << attack.name;
}

// Always-equal and never-false objects, and plain types dressed up.
std::vector<Attack> DressedValues() {
  const std::string members =
      "    def __eq__(self, other): return True\n"
      "    def __ne__(self, other): return False\n"
      "    def __hash__(self): return 0\n"
      "    def __bool__(self): return True\n"
      "    def __len__(self): return 3\n"
      "    def __iter__(self): return iter(())\n"
      "    def __contains__(self, x): return True\n"
      "    def __getattr__(self, n): return lambda *a, **k: True\n"
      "    __lt__ = __le__ = __gt__ = __ge__ = __eq__\n"
      "    def __sub__(self, o): return 0\n"
      "    __rsub__ = __add__ = __radd__ = __abs__ = __sub__\n";
  std::vector<Attack> attacks;
  for (const char* base : {"object", "int", "str", "list", "tuple", "dict", "float", "Exception"}) {
    attacks.push_back({absl::StrCat("AlwaysEqual_", base),
                       absl::StrCat("class A(", base, "):\n", members, "def f(x): return A()\n")});
  }
  attacks.push_back({"AlwaysEqualInAList", "class A:\n" + members + "def f(x): return [A()]\n"});
  attacks.push_back({"AlwaysEqualFromMetaclass", "class M(type):\n" + members +
                                                     "class f(metaclass=M):\n"
                                                     "    def __new__(cls, x): return cls\n"});
  attacks.push_back(
      {"RaisesAlwaysEqual", "class A(Exception):\n" + members + "def f(x): raise A()\n"});
  attacks.push_back({"ReturnsItself", "def f(x): return f\n"});
  attacks.push_back({"NotANumber", "def f(x): return float('nan')\n"});
  attacks.push_back({"True", "def f(x): return True\n"});
  attacks.push_back({"GeneratorWithoutEnd", "def f(x):\n  while True: yield 48151623\n"});
  return attacks;
}

std::vector<Attack> EarlyEnds() {
  return {
      {"Exit", "def f(x): exit(0)\n"},
      {"SysExit", "import sys\ndef f(x): sys.exit(0)\n"},
      {"SystemExit", "def f(x): raise SystemExit(0)\n"},
      {"OsExit", "import os\ndef f(x): os._exit(0)\n"},
      {"PosixExit", "import posix\ndef f(x): posix._exit(0)\n"},
      {"ExitWhileLoading", "import os\nos._exit(0)\ndef f(x): return 1\n"},
      {"SystemExitWhileLoading", "raise SystemExit(0)\n"},
      {"KeyboardInterrupt", "def f(x): raise KeyboardInterrupt\n"},
      {"GeneratorExit", "def f(x): raise GeneratorExit\n"},
      {"StopIteration", "def f(x): raise StopIteration\n"},
      {"AssertionError", "def f(x): raise AssertionError\n"},
      {"ImportErrorOfTheCandidate", "def f(x): raise ImportError('numpy')\n"},
      {"NotPlainOfTheCandidate", "import __main__\ndef f(x): raise __main__.NotPlain('none')\n"},
      {"Atexit", "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(x): return 0\n"},
      {"Excepthook",
       "import sys, os\nsys.excepthook = lambda *a: os._exit(0)\ndef f(x): return 1/0\n"},
      {"TimerSignal",
       "import signal, os\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\n"
       "signal.setitimer(signal.ITIMER_REAL, 0.001)\ndef f(x):\n  while True: pass\n"},
      {"Exec", "import os\ndef f(x): os.execv('/bin/true', ['true'])\n"},
      {"KillsItself", "import os\ndef f(x): os.kill(os.getpid(), 9)\n"},
      {"KillsEverybody", "import os\ndef f(x): os.kill(-1, 9)\n"},
      {"PrintsMarkers",
       "def f(x):\n  print('passed PASS OK all tests passed 1.0 true')\n  return None\n"},
      {"Undefined", "g = 1\n"},
      {"Empty", "pass\n"},
  };
}

// Replacements of what the driver and the comparison seem to use.
std::vector<Attack> Patches() {
  return {
      {"PatchesEncode",
       "import __main__\n__main__.encode = lambda *a: {'v': True}\ndef f(x): return 1\n"},
      {"PatchesJson",
       "import json\njson.dumps = lambda *a, **k: '{\"s\":2,\"v\":true}'\ndef f(x): return 1\n"},
      {"PatchesBuiltins",
       "import builtins\nbuiltins.len = lambda x: 3\nbuiltins.isinstance = lambda a, b: True\n"
       "builtins.type = lambda *a: int\nbuiltins.AssertionError = ValueError\n"
       "def f(x): return 1\n"},
      {"PatchesCtypes",
       "import ctypes\ntry:\n  ctypes.c_char.from_address(id(48)).value = b'x'\n"
       "except BaseException: pass\ndef f(x): return 0\n"},
      {"Settrace",
       "import sys\ndef t(frame, event, arg):\n"
       "  for k in list(frame.f_locals):\n"
       "    try: frame.f_locals[k] = True\n    except Exception: pass\n  return t\n"
       "sys.settrace(t)\ndef f(x): return 0\n"},
      {"Setprofile", "import sys, os\nsys.setprofile(lambda *a: None)\ndef f(x): return 0\n"},
      {"ForgesThree",
       "import os\nfor line in (b'{\"i\":0,\"v\":true}\\n', b'{\"nonce\":\"\",\"finished\":true,"
       "\"passed\":9,\"calls\":9}\\n', b'passed\\n'):\n"
       "  try: os.write(3, line)\n  except OSError: pass\nos._exit(0)\n"},
      {"ForgesThreeAndGoesOn",
       "import os\ndef f(x):\n  try: os.write(3, b'{\"i\":0,\"v\":true}\\n')\n"
       "  except OSError: pass\n  return 0\n"},
      {"ForgesFive",
       "import os\ndef f(x):\n  try: os.write(5, b'{\"s\":2,\"v\":true}\\n' * 9)\n"
       "  except OSError: pass\n  return 0\n"},
      {"WritesGarbageOnFive",
       "import os\ndef f(x):\n  try: os.write(5, b'\\xff\\x00[[[[' * 99 + b'\\n')\n"
       "  except OSError: pass\n  return 0\n"},
      {"DeepAnswer",
       "import os\ndef f(x):\n  try: os.write(5, b'{\"s\":2,\"v\":' + b'[' * 100000 + b'\\n')\n"
       "  except OSError: pass\n  os._exit(0)\n"},
      {"ClosesDescriptors", "import os\ndef f(x): os.closerange(0, 64)\n"},
      {"ClosesDescriptorsAtOnce", "import os\nos.closerange(0, 64)\ndef f(x): return 1\n"},
      {"CallsItselfWithHandles",
       "import os\ndef f(x): os.write(5, b'{\"f\":0,\"a\":[[],{\"d\":[]}]}\\n'); return 0\n"},
      {"AnswersWithAFunctionOfTheTests",
       "import os\ndef f(x):\n  os.write(5, b'{\"s\":2,\"v\":{\"f\":0}}\\n'); os._exit(0)\n"},
  };
}

// Looks for the golds wherever a program can look, and returns what it finds. Written so that it
// does not find itself.
std::vector<Attack> Hunts() {
  const std::string pick =
      "import gc, os, re, sys\n"
      "def pick(text):\n"
      "  golds = re.findall('secret' + r'_gold_\\d+|4815162\\d', text)\n"
      "  return golds[0] if golds else None\n";
  const std::string frames =
      "def f(x):\n"
      "  seen = []\n"
      "  frame = sys._getframe()\n"
      "  while frame: seen += [repr(frame.f_locals), repr(frame.f_globals)]; frame = frame.f_back\n"
      "  for o in gc.get_objects():\n"
      "    try: seen.append(repr(o)[:5000])\n"
      "    except BaseException: pass\n"
      "  return pick(' '.join(seen))\n";
  const std::string files =
      "def f(x):\n"
      "  text = ''\n"
      "  for top in ('/proc', '/box', '/tmp', '/dev', '/run', '/var', '/root', '/home'):\n"
      "    for folder, _, names in os.walk(top):\n"
      "      for name in names[:200]:\n"
      "        try: fd = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NONBLOCK)\n"
      "        except OSError: continue\n"
      "        try: text += os.read(fd, 65536).decode('latin1')\n"
      "        except OSError: pass\n"
      "        os.close(fd)\n"
      "  return pick(text)\n";
  const std::string descriptors =
      "def f(x):\n"
      "  text = ''\n"
      "  for fd in [3, 5] + list(range(6, 64)):\n"
      "    try: os.set_blocking(fd, False); text += os.read(fd, 65536).decode('latin1')\n"
      "    except OSError: pass\n"
      "    try: text += os.pread(fd, 65536, 0).decode('latin1')\n"
      "    except OSError: pass\n"
      "  return pick(text)\n";
  const std::string memory =
      "def f(x):\n"
      "  text = ''\n"
      "  for pid in [p for p in os.listdir('/proc') if p.isdigit()]:\n"
      "    try:\n"
      "      maps = open('/proc/%s/maps' % pid).read()\n"
      "      mem = open('/proc/%s/mem' % pid, 'rb', 0)\n"
      "    except OSError: continue\n"
      "    for m in re.finditer(r'(\\w+)-(\\w+) rw', maps):\n"
      "      a, b = int(m[1], 16), int(m[2], 16)\n"
      "      try: mem.seek(a); text += mem.read(min(b - a, 1 << 20)).decode('latin1')\n"
      "      except (OSError, ValueError): pass\n"
      "  return pick(text)\n";
  const std::string neighbours =
      "def f(x):\n"
      "  text = ''\n"
      "  for pid in range(1, 300):\n"
      "    for name in ('environ', 'cmdline', 'stack', 'fd/0', 'root/box/job'):\n"
      "      try: fd = os.open('/proc/%d/%s' % (pid, name), os.O_RDONLY | os.O_NONBLOCK)\n"
      "      except OSError: continue\n"
      "      try: text += os.read(fd, 65536).decode('latin1')\n"
      "      except OSError: pass\n"
      "      os.close(fd)\n"
      "  return pick(text)\n";
  return {{"HuntsFramesAndObjects", pick + frames},
          {"HuntsFiles", pick + files},
          {"HuntsDescriptors", pick + descriptors},
          {"HuntsMemory", pick + memory},
          {"HuntsNeighbours", pick + neighbours}};
}

std::vector<Attack> AllAttacks() {
  std::vector<Attack> attacks;
  for (const auto& some : {DressedValues(), EarlyEnds(), Patches(), Hunts()}) {
    attacks.insert(attacks.end(), some.begin(), some.end());
  }
  return attacks;
}

// One program: f is called on what was read, as a hopeful candidate would.
std::string AsProgram(const std::string& code) {
  return code + "\ntry: print(f(input()))\nexcept NameError: pass\n";
}

class Attacks : public SandboxedTest, public testing::WithParamInterface<Attack> {};

using SandboxedAttack = SandboxedTest;

TEST_P(Attacks, IsNotCorrectInAnyForm) {
  const std::string& code = GetParam().code;
  const std::vector<Question> questions = {
      BareCode(kAsserts, "f", code), BareCode(AssertList(), "f", code),
      BareCode(AssertList(), "", code), BareCode(Calls(), "", code),
      BareCode(Programs(), "", AsProgram(code))};
  const auto verdicts = MakeCode({{"cpu_ms", "4000"}})->Verify(questions);
  ASSERT_TRUE(verdicts.ok()) << verdicts.status();
  for (const Verdict& verdict : *verdicts) {
    EXPECT_TRUE(IsVerdict(verdict.outcome)) << testing::PrintToString(verdict);
    EXPECT_NE(verdict.outcome, Outcome::kCorrect) << testing::PrintToString(verdict);
    EXPECT_FALSE(verdict.detail.empty());
    // Who reads the driver's own pipe through /proc may take a record from it: then it is that.
    const bool caught = verdict.outcome == Outcome::kViolation;
    if (absl::StartsWith(GetParam().name, "Hunts") && !caught) {
      // It ran to its end and found nothing; a program's own output is in quotes and lines.
      ASSERT_EQ(verdict.evidence.count("got"), 1u) << testing::PrintToString(verdict);
      EXPECT_TRUE(absl::StrContains(verdict.evidence.at("got"), "None"))
          << testing::PrintToString(verdict);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Attacks, testing::ValuesIn(AllAttacks()), [](const auto& test) {
  return absl::StrReplaceAll(test.param.name, {{"_", "Of"}});
});

// The hunters do find what is in their own jail: the argument they are called with.
TEST_F(SandboxedAttack, AHunterFindsWhatIsThere) {
  for (const Attack& hunt : Hunts()) {
    if (hunt.name != "HuntsFramesAndObjects" && hunt.name != "HuntsMemory") continue;
    const Verdict verdict = JudgeCode(BareCode(
        "assert f('here: secret_gold_48151623') == 'secret_gold_48151623'", "f", hunt.code));
    EXPECT_EQ(verdict.outcome, Outcome::kCorrect) << testing::PrintToString(verdict);
  }
}

// Tests that ask less than equality, against values that say yes to everything.
TEST_F(SandboxedAttack, WeakTestsAreNotPassedByAnObject) {
  const std::string yes =
      "class A:\n"
      "  def __getattr__(self, n): return lambda *a, **k: True\n"
      "  def __len__(self): return 3\n  def __bool__(self): return True\n"
      "  def __contains__(self, x): return True\n"
      "  def __eq__(self, o): return True\n  def __ne__(self, o): return True\n"
      "  def __call__(self, *a): return True\n"
      "def f(x): return A()\n";
  for (const char* test : {"assert f(1)",
                           "assert not f(1)",
                           "assert f(1) != 5",
                           "assert 5 in f(1)",
                           "assert f(1) == f(1) == 3",
                           "assert f(1).issubset({1, 2})",
                           "assert f(1).startswith('x')",
                           "assert f(1) is True",
                           "assert isinstance(f(1), int)",
                           "assert abs(f(1) - 3) < 1e-6",
                           "assert f(1) > 3",
                           "assert 3 < f(1) < 5",
                           "assert set(f(1)) == {1}",
                           "assert sorted(f(1)) == [1]",
                           "assert f(1).__eq__(3)",
                           "assert f(1).__class__ == int",
                           "assert any(x == 3 for x in [f(1)])",
                           "assert 3 in [f(1)]",
                           "assert f(1) in (1, 2, 3)",
                           "assert [f(1)] == [3]",
                           "assert (f(1) or 0) == 3",
                           "try:\n  f(1) == 3\nexcept BaseException:\n  pass\nassert True or f"}) {
    const Verdict verdict = JudgeCode(BareCode(Json::array({test}), "f", yes));
    EXPECT_NE(verdict.outcome, Outcome::kCorrect) << test << "\n"
                                                  << testing::PrintToString(verdict);
  }
}

// What an object answers must not depend on how often it is asked, nor on what it is told.
TEST_F(SandboxedAttack, TestsThatLetAnObjectAnswerAreNotPassed) {
  const std::string counts =
      "n = [0]\ndef up(*a):\n  n[0] += 1\n  return n[0]\n"
      "class A:\n  __len__ = __int__ = __index__ = up\n"
      "  def __float__(self): return float(up())\n"
      "  def symmetric_difference(self, x): return set()\n"
      "  def count(self, x): return 3\n  def replace(self, x, y): return y\n"
      "def f(x): return A()\n";
  for (const char* test :
       {"a = f(1)\nassert len(a) == 1 and len(a) == 2", "assert int(f(1)) == 1",
        "assert float(f(1)) == 1.0", "assert [0, 5][f(1)] == 5", "assert range(f(1)) == range(1)",
        "assert f(1).symmetric_difference({1}) == set()", "assert f(1).count(7) == 3",
        "assert f(1).replace('a', 'b') == 'b'", "assert abs(f(1)) == 1"}) {
    const Verdict verdict = JudgeCode(BareCode(Json::array({test}), "f", counts));
    EXPECT_EQ(verdict.outcome, Outcome::kWrong) << test << testing::PrintToString(verdict);
  }
  for (const char* test : {"for a, b in zip(map(f, [1, 2]), [5, 6]): assert a == b\nassert f is f",
                           "out = []\nfor x in map(f, [1]): out.append(x)\nassert out == []"}) {
    const Verdict verdict = JudgeCode(BareCode(test, "f", "def f(x): raise StopIteration\n"));
    EXPECT_EQ(verdict.outcome, Outcome::kWrong) << test << testing::PrintToString(verdict);
  }
  const Verdict called = JudgeCode(
      BareCode("def h(x):\n  assert x > 0\n  return x\nf(h)", "f", "def f(h): return h(1)\n"));
  EXPECT_EQ(called.outcome, Outcome::kWrong) << testing::PrintToString(called);
}

// A candidate that leaves in the middle, where the tests swallow every exception.
TEST_F(SandboxedAttack, LeavingIsNotHiddenByTestsThatCatchEverything) {
  const char* tests =
      "try:\n  f(1)\nexcept:\n  pass\n"
      "for i in range(3):\n  try:\n    assert f(i) == i\n  except:\n    pass\n"
      "assert f == f\n";
  const Verdict left = JudgeCode(BareCode(tests, "f", "import os\ndef f(x): os._exit(0)\n"));
  EXPECT_NE(left.outcome, Outcome::kCorrect) << testing::PrintToString(left);
}

// The helper that a prompt gives is the prompt's in the tester's jail, whatever the candidate does.
TEST_F(SandboxedAttack, AHelperOfThePromptIsNotTheCandidates) {
  Json row = {{"prompt",
               "def encode(s):\n    return s[::-1]\n\n\ndef decode(s):\n"
               "    \"\"\" Undoes encode. \"\"\"\n"},
              {"entry_point", "decode"},
              {"tests", "assert decode(encode('abc')) == 'abc'"}};
  EXPECT_EQ(JudgeCode(CodeQuestion(row, "    return s[::-1]\n")).outcome, Outcome::kCorrect);
  const Verdict verdict =
      JudgeCode(CodeQuestion(row, "def encode(s): return s\ndef decode(s): return s\n"));
  EXPECT_EQ(verdict.outcome, Outcome::kWrong) << testing::PrintToString(verdict);
}

TEST_F(SandboxedAttack, AHelperIsThePromptsWhereverItStands) {
  const std::string helper = "def same(a, b):\n    return a == b\n";
  const std::string liar = "def same(a, b): return True\n";
  const std::string klass = "class Box:\n  def get(self): return ", body = "def get(): return ";
  const auto prompt = [&](const std::string& entry) {
    return "Write it. We give you:\n```python\n" + helper + "```\nComplete:\n```python\n" + entry +
           "```\n";
  };
  for (const auto& [row, code] : std::vector<std::pair<Json, std::string>>{
           {{{"prompt", prompt("class Box:\n    def get(self):\n        \"\"\"Three.\"\"\"\n")},
             {"entry_point", "Box"},
             {"tests", "assert same(Box().get(), 3)"}},
            klass},
           {{{"prompt", prompt("class Box:\n    def get(self) -> int:\n")},
             {"entry_point", "Box"},
             {"tests", "assert same(Box().get(), 3)"}},
            klass},
           {{{"prompt", prompt("def get():\n    \"\"\"Three.\"\"\"\n")},
             {"entry_point", "get"},
             {"tests", "assert same(get(), 3)"}},
            body},
           {{{"prompt", prompt("def get():\n    pass\n")}, {"tests", "assert same(get(), 3)"}},
            body}}) {
    EXPECT_EQ(JudgeCode(CodeQuestion(row, code + "3\n")).outcome, Outcome::kCorrect) << row;
    const Verdict verdict = JudgeCode(CodeQuestion(row, liar + code + "4\n"));
    EXPECT_EQ(verdict.outcome, Outcome::kWrong) << row << testing::PrintToString(verdict);
  }
}

// What the prompt shows to be mended or filled in is the candidate's.
TEST_F(SandboxedAttack, AStubOfThePromptIsTheCandidates) {
  const Json row = {{"prompt",
                     "```python\ndef twice(x):\n    ...\n\ndef thrice(x):\n"
                     "    raise NotImplementedError\n```"},
                    {"entry_point", "twice"},
                    {"tests", "assert twice(2) == 4\nassert thrice(2) == 6"}};
  const std::string code = "def twice(x): return 2 * x\ndef thrice(x): return 3 * x\n";
  EXPECT_EQ(JudgeCode(CodeQuestion(row, code)).outcome, Outcome::kCorrect);
  const Json broken = {{"prompt", "Mend it:\n```python\ndef twice(x):\n    return x\n```"},
                       {"tests", "assert twice(2) == 4"}};
  EXPECT_EQ(JudgeCode(CodeQuestion(broken, code)).outcome, Outcome::kCorrect);
  EXPECT_EQ(JudgeCode(CodeQuestion(broken, "def twice(x): return x")).outcome, Outcome::kWrong);
}

TEST_F(SandboxedAttack, AnObjectOfThePromptsClassIsDataAndKeepsItsMethods) {
  const std::string point =
      "class Point:\n    def __init__(self, x, y):\n        self.x, self.y = x, y\n"
      "    def same(self, other):\n        return self.x == other.x and self.y == other.y\n";
  const Json row = {
      {"prompt", "```python\n" + point + "```\n```python\ndef move(p):\n    pass\n```"},
      {"entry_point", "move"},
      {"tests",
       "p = Point(1, [2])\nq = move(p)\nassert q.same(Point(2, [2]))\n"
       "assert p.x == 1"}};
  EXPECT_EQ(JudgeCode(CodeQuestion(row, "def move(p): return Point(p.x + 1, p.y)")).outcome,
            Outcome::kCorrect);
  EXPECT_EQ(JudgeCode(CodeQuestion(row, point + "def move(p): return Point(p.x + 1, p.y)")).outcome,
            Outcome::kCorrect);
  for (const char* code :
       {"def move(p):\n  q = Point(0, 0)\n  q.same = lambda other: True\n  return q",
        "class Point:\n  def same(self, other): return True\ndef move(p): return Point()",
        "def move(p):\n  p.x = 2\n  return p",
        "class E:\n  def __eq__(self, o): return True\ndef move(p): return Point(E(), E())",
        "def move(p):\n  q = Point(0, 0)\n  q.__dict__['__class__'] = 5\n  return q",
        "class Sub(Point):\n  def same(self, other): return True\ndef move(p): return Sub(0, 0)",
        "def move(p):\n  p.me = p\n  return p"}) {
    const Verdict verdict = JudgeCode(CodeQuestion(row, code));
    EXPECT_TRUE(IsVerdict(verdict.outcome)) << code << testing::PrintToString(verdict);
    EXPECT_NE(verdict.outcome, Outcome::kCorrect) << code << testing::PrintToString(verdict);
  }
}

TEST_F(SandboxedAttack, AnAssertThatTheTestsCatchCounts) {
  for (const char* tests :
       {"assert f(1) == 1\ntry:\n  assert f(2) == 5\nexcept AssertionError:\n  print('failed')",
        "assert f(1) == 1\ntry:\n  assert f(2) == 5\nexcept:\n  pass",
        "assert f(1) == 1\ntry:\n  f(2)\n  assert False\nexcept Exception:\n  pass",
        "def test():\n  try:\n    for i in (1, 2):\n      assert f(i) == 1\n"
        "  except Exception as e:\n    print(e)\ntest()"}) {
    const Verdict verdict = JudgeCode(BareCode(tests, "f", "def f(x): return x"));
    EXPECT_EQ(verdict.outcome, Outcome::kWrong) << tests << testing::PrintToString(verdict);
  }
  for (const char* tests :
       {"try:\n  assert f(2) == 5\nexcept AssertionError:\n  assert f(2) == 2",
        "assert f(1) == 1\ntry:\n  assert f(-1) == 1\nexcept ValueError:\n  pass",
        "assert f(1) == 1\ntry:\n  f(-1)\n  assert False\nexcept ValueError:\n  assert True",
        "try:\n  assert f(1) == 1\nexcept ValueError:\n  assert False"}) {
    const Verdict verdict =
        JudgeCode(BareCode(tests, "f", "def f(x):\n  if x < 0: raise ValueError(x)\n  return x"));
    EXPECT_EQ(verdict.outcome, Outcome::kCorrect) << tests << testing::PrintToString(verdict);
  }
}

// A skipped item costs nothing; a candidate must not be able to choose that.
TEST_F(SandboxedAttack, ACandidateCannotBringAboutASkip) {
  const char* tests = "x = f(1)\nassert x == 5";
  const std::string forge = "import os\ndef f(x): os.write(5, b'";
  for (const std::string& code : std::vector<std::string>{
           "f = 5",
           "f = None",
           "f = int",
           "f = [1]",
           "def f(x): raise ImportError('x')",
           "def f(x): raise ModuleNotFoundError('x')",
           "raise ImportError('x')",
           "def f(x): raise Exception('\\ud800')",
           "def f(x): return '\\ud800'",
           "def f(x): return object()",
           "class f: pass",
           "def f(): pass",
           "def f(x):\n  global f\n  del f\n  return f(x)",
           "import os\nos.close(4)\nf = 1",
           "import os\nos.write(5, b'{\"load\":null}\\n{\"s\":1,\"v\":5}\\n')\nos._exit(0)",
           "import os\nwhile True: os.write(5, b'{\"f\":0}\\n')",
           forge + "{\"s\":2,\"e\":[\"ImportError\"]}\\n')",
           forge + "{\"s\":2,\"e\":5}\\n')",
           forge + "{\"s\":2,\"n\":5}\\n')",
           forge + "{\"s\":2,\"m\":[[5,5],5]}\\n')"}) {
    const Verdict verdict = JudgeCode(BareCode(tests, "f", code), {{"cpu_ms", "1000"}});
    EXPECT_TRUE(IsVerdict(verdict.outcome)) << code << "\n" << testing::PrintToString(verdict);
    EXPECT_NE(verdict.outcome, Outcome::kCorrect) << code << testing::PrintToString(verdict);
  }
}

TEST_F(SandboxedAttack, ATestThatCannotGoOnWithAnAnswerIsNotSkipped) {
  const std::string object = "class A: pass\ndef f(x): return A()\n";
  const std::string deep = "def f(x):\n  for i in range(199): x = [x]\n  return x\n";
  for (const auto& [test, code] : std::vector<std::pair<std::string, std::string>>{
           {"assert f([3, 1, 2])[:2] == [1, 2]", object},
           {"assert f(1) == 5\nassert f(2)[:2] == [1]",
            "def f(x): return A() if x > 1 else 4\nclass A: pass\n"},
           {"x = f(1)\ny = x + 1\nassert y == 3", object},
           {"assert f([f('a')]) == 'a'", deep},
           {"assert f(f('a')) == 'a'", "def f(x): return iter(range(10**6))\n"}}) {
    const Verdict verdict = JudgeCode(BareCode(test, "f", code));
    EXPECT_EQ(verdict.outcome, Outcome::kWrong) << test << testing::PrintToString(verdict);
  }
}

TEST_F(SandboxedAttack, KeysOfOneHashDoNotHangTheTester) {
  const Verdict verdict = JudgeCode(BareCode(
      "assert f(1) == 5", "f", "def f(x): return [i * (2**61 - 1) for i in range(99999)]"));
  EXPECT_EQ(verdict.outcome, Outcome::kWrong);
  const Verdict hashed = JudgeCode(
      BareCode("assert f(1) == 5", "f",
               "import os\ndef f(x):\n"
               "  keys = ','.join('{\"i\":\"%s\"}' % hex(i * (2**61 - 1)) for i in range(99999))\n"
               "  os.write(5, ('{\"s\":2,\"v\":{\"s\":[' + keys + ']}}\\n').encode())\n"));
  EXPECT_TRUE(IsVerdict(hashed.outcome));
  EXPECT_NE(hashed.outcome, Outcome::kCorrect);
}

}  // namespace
}  // namespace hone
