// SPDX-License-Identifier: Apache-2.0
//
// Verifiers that are somebody's program: what keeps to the protocol, and what does not.
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "services/clients/process_verifier.h"
#include "services/clients/verifier_spec.h"
#include "tests/services/serving.h"
#include "tests/verifier/fake_verifier.h"
#include "tests/verifier/judge.h"
#include "tests/verifier/verifier_contract.h"
#include "verifier/sandbox/sandbox.h"

namespace hone {
namespace {

void NoLog(absl::string_view) {}

std::string Write(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
  return path;
}

// A worker in Python: `body` is run for each item, with `item` and say(row) at hand.
constexpr char kWorkerHead[] = R"(import json, os, sys, time
def say(row):
    os.write(1, (json.dumps(row) + "\n").encode())
def score(value, **more):
    say({"item_id": item["item_id"], "score": value, **more})
)";
constexpr char kHello[] = R"(say({"hone_verifier": 1, "name": "t", "version": "1"})
)";

std::string WorkerOf(const std::string& body, const std::string& hello = kHello) {
  std::string loop = "for line in sys.stdin:\n    item = json.loads(line)\n";
  for (const absl::string_view line : absl::StrSplit(body, '\n')) {
    absl::StrAppend(&loop, "    ", line, "\n");
  }
  return absl::StrCat(kWorkerHead, hello, loop);
}

// Right where the completion is the answer; words in the completion make it misbehave.
constexpr char kJudge[] = R"(c = item["completion"]
score(1.0 if c == item["answer"] else 0.0))";

ProcessVerifierOptions OptionsFor(const std::string& program) {
  ProcessVerifierOptions options;
  options.argv = {"/usr/bin/python3", "-S", "-c", program};
  options.item_timeout = absl::Milliseconds(500);
  options.start_timeout = absl::Seconds(10);
  options.log = NoLog;
  return options;
}

std::unique_ptr<ProcessVerifier> Open(const std::string& body, double max = 1,
                                      double threshold = 1) {
  ProcessVerifierOptions options = OptionsFor(WorkerOf(body));
  options.max = max;
  options.threshold = threshold;
  auto verifier = ProcessVerifier::Open(options);
  EXPECT_TRUE(verifier.ok()) << verifier.status();
  return *std::move(verifier);
}

std::vector<Verdict> Ask(Verifier& verifier, const std::vector<std::string>& completions) {
  std::vector<Question> questions;
  for (const std::string& text : completions) questions.push_back(MakeQuestion(text, "yes"));
  const auto verdicts = verifier.Verify(questions);
  EXPECT_TRUE(verdicts.ok()) << verdicts.status();
  EXPECT_EQ(verdicts->size(), completions.size());
  return *verdicts;
}

std::string Outcomes(const std::vector<Verdict>& verdicts) {
  std::string text;
  for (const Verdict& verdict : verdicts) {
    absl::StrAppend(&text, text.empty() ? "" : " ", OutcomeName(verdict.outcome));
  }
  return text;
}

std::shared_ptr<Verifier> OpenSpec(const std::string& spec, const VerifierOptions& options = {}) {
  auto verifier = OpenVerifier(spec, options, NoLog);
  EXPECT_TRUE(verifier.ok()) << verifier.status();
  return verifier.ok() ? *std::move(verifier) : nullptr;
}

// ---- The contract, spoken over pipes ----

constexpr char kContractJudge[] = R"(import re
found = re.findall(r"<answer>([^<]*)</answer>", item["completion"])
if not item["answer"]:
    say({"item_id": item["item_id"], "skipped": "no gold"})
else:
    score(1.0 if found[-1:] == [item["answer"]] else 0.0, extracted="".join(found[-1:])))";

constexpr char kVerlFile[] = R"(import re
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    if not ground_truth:
        return None
    return float(re.findall(r"<answer>([^<]*)</answer>", solution_str)[-1:] == [ground_truth])
)";

const std::string& SharedPythonFile() {
  static TestDirectory& directory = *new TestDirectory();
  static const std::string path = Write(directory / "shared.py", kVerlFile);
  return path;
}

VerifierContract Contract(const std::string& name,
                          std::function<std::shared_ptr<Verifier>()> make) {
  return {name, std::move(make), MakeQuestion(InTags("yes"), "yes"),
          MakeQuestion(InTags("no"), "yes"), /*needs_gold=*/true};
}

INSTANTIATE_TEST_SUITE_P(
    Custom, VerifierContractTest,
    testing::Values(Contract("exec",
                             [] {
                               static const std::shared_ptr<Verifier> shared = [] {
                                 ProcessVerifierOptions options =
                                     OptionsFor(WorkerOf(kContractJudge));
                                 options.workers = 2;
                                 options.item_timeout = absl::Seconds(20);
                                 return std::shared_ptr<Verifier>(
                                     std::move(*ProcessVerifier::Open(options)));
                               }();
                               return shared;
                             }),
                    Contract("python",
                             [] {
                               static const std::shared_ptr<Verifier> shared =
                                   OpenSpec("python:" + SharedPythonFile() + ":compute_score");
                               return shared;
                             })),
    ContractName);

// ---- Order, identity, scores ----

TEST(ProcessVerifier, KeepsOrderWhateverOrderTheWorkerAnswersIn) {
  const auto verifier = Open(R"(batch = globals().setdefault("batch", [])
batch.append(item)
if len(batch) == 4:
    for item in reversed(batch):
        score(1.0 if item["completion"] == item["answer"] else 0.0)
    batch.clear())");
  std::vector<std::string> completions;
  for (int i = 0; i < 32; ++i) completions.push_back(i % 3 == 0 ? "yes" : "no");
  const auto verdicts = Ask(*verifier, completions);
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(verdicts[i].outcome, i % 3 == 0 ? Outcome::kCorrect : Outcome::kWrong) << i;
  }
}

TEST(ProcessVerifier, AFractionIsKeptAndIsCorrectFromTheThreshold) {
  const auto verifier = Open(R"(score(float(item["completion"]), parts={"style": 0.25}))",
                             /*max=*/2, /*threshold=*/1.5);
  const auto verdicts = Ask(*verifier, {"1.5", "1.25", "2"});
  EXPECT_EQ(Outcomes(verdicts), "correct wrong correct");
  EXPECT_EQ(verdicts[1].parts[0].name, "accuracy");
  EXPECT_EQ(verdicts[1].parts[0].raw, 1.25);
  EXPECT_EQ(verdicts[1].parts[1].name, "style");
  EXPECT_EQ(verdicts[1].parts[1].raw, 0.25);
}

TEST(ProcessVerifier, AScoreOutOfRangeOrNotFiniteIsAnOutageThatSaysSo) {
  const auto verifier = Open(R"(score(float(item["completion"])))");
  const auto verdicts = Ask(*verifier, {"1", "1.5", "nan", "inf", "-0.1", "0"});
  EXPECT_EQ(Outcomes(verdicts), "correct outage outage outage outage wrong");
  EXPECT_TRUE(absl::StrContains(verdicts[1].detail, "1.5 is outside the declared range [0, 1]"));
  EXPECT_TRUE(absl::StrContains(verdicts[2].detail, "NaN")) << verdicts[2].detail;
}

TEST(ProcessVerifier, SkippedAndOutageAreItsToSay) {
  const auto verifier = Open(R"(say({"item_id": item["item_id"], item["completion"]: "why not"}))");
  const auto verdicts = Ask(*verifier, {"skipped", "outage"});
  EXPECT_EQ(Outcomes(verdicts), "skipped outage");
  EXPECT_EQ(verdicts[0].detail, "why not");
  EXPECT_TRUE(verdicts[0].parts.empty());
}

// ---- What is nobody's protocol: the item is an outage, the others get their verdicts ----

struct Misdeed {
  const char* name;
  const char* body;  // when the completion is "bad"
  const char* says;  // in the outage
};

void PrintTo(const Misdeed& misdeed, std::ostream* out) {
  *out << misdeed.name;
}

class MisdeedTest : public testing::TestWithParam<Misdeed> {};

TEST_P(MisdeedTest, IsAnOutageOfItsItemAlone) {
  std::string body = "if item[\"completion\"] == \"bad\":\n";
  for (const absl::string_view line : absl::StrSplit(GetParam().body, '\n')) {
    absl::StrAppend(&body, "    ", line, "\n");
  }
  absl::StrAppend(&body, kJudge);
  const auto verifier = Open(body);
  const auto verdicts = Ask(*verifier, {"yes", "no", "bad", "yes", "no", "yes"});
  EXPECT_EQ(Outcomes(verdicts), "correct wrong outage correct wrong correct");
  EXPECT_TRUE(absl::StrContains(verdicts[2].detail, GetParam().says)) << verdicts[2].detail;
  EXPECT_EQ(Outcomes(Ask(*verifier, {"yes"})), "correct") << "it works on";
}

INSTANTIATE_TEST_SUITE_P(
    Worker, MisdeedTest,
    testing::Values(
        Misdeed{"dies", "os._exit(3)", "exited with status 3"},
        Misdeed{"exitsHappily", "os._exit(0)", "exited with status 0"},
        Misdeed{"killsItself", "os.kill(os.getpid(), 11)", "signal 11"},
        Misdeed{"speaksLast", "os.write(2, b'my last words\\n'); os._exit(1)", "my last words"},
        Misdeed{"hangs", "time.sleep(60)", "hung"},
        Misdeed{"pollutesStdout", "print('debug: here', flush=True)", "not a JSON object: debug"},
        Misdeed{"answersAnother", "say({'item_id': 'x', 'score': 1}); continue", "not asked"},
        Misdeed{"answersTwice", "score(0); score(1); continue", "not asked, or twice"},
        Misdeed{"forgetsTheId", "say({'score': 1}); continue", "without \"item_id\""},
        Misdeed{"halfALine", "os.write(1, b'{\"item_id\": \"'); time.sleep(60)", "hung"},
        Misdeed{"hugeLine", "os.write(1, b'[' * (3 << 20)); time.sleep(60)", "more than 1 MiB"},
        Misdeed{"deepLine", "os.write(1, b'[' * 500000 + b'\\n'); continue", "nested too deep"},
        Misdeed{"invalidUtf8", "os.write(1, b'{\"item_id\": \"\\xff\\xfe\"}\\n'); continue",
                "not a JSON object"},
        Misdeed{"closesStdout", "os.close(1); time.sleep(60)", "closed its stdout"},
        Misdeed{"floodsStderr", "while True: os.write(2, b'x' * 65536)", "hung"},
        Misdeed{"leavesAChild", "os.fork() and os._exit(5); time.sleep(60)", "status 5"}),
    [](const testing::TestParamInfo<Misdeed>& param) { return std::string(param.param.name); });

// One that says too little or too much about its own item harms nobody else's.
TEST(ProcessVerifier, ABadAnswerToTheRightItemKeepsTheWorker) {
  const auto verifier = Open(R"(rows = {"both": {"score": 1, "skipped": "x"}, "none": {},
    "word": {"score": "1"}, "yes": {"score": 1}, "truth": {"score": True},
    "extra": {"score": 1, "scroe": 2}, "parts": {"score": 1, "parts": {"a": "b"}},
    "reserved": {"score": 1, "parts": {"accuracy": 1}}}
say({"item_id": item["item_id"], **rows[item["completion"]]}))");
  const auto verdicts =
      Ask(*verifier, {"both", "none", "word", "truth", "extra", "parts", "reserved", "yes"});
  EXPECT_EQ(Outcomes(verdicts), "outage outage outage outage outage outage outage correct");
  EXPECT_TRUE(absl::StrContains(verdicts[4].detail, "scroe")) << verdicts[4].detail;
  EXPECT_EQ(verifier->starts(), 1);
}

TEST(ProcessVerifier, AFloodOfStderrIsCutAndTheVerdictsCome) {
  size_t logged = 0;
  ProcessVerifierOptions options =
      OptionsFor(WorkerOf(absl::StrCat("os.write(2, b'noise\\n' * 50000)\n", kJudge)));
  options.log = [&](absl::string_view line) { logged += line.size() + 1; };
  const auto verifier = ProcessVerifier::Open(options);
  ASSERT_TRUE(verifier.ok());
  EXPECT_EQ(Outcomes(Ask(**verifier, {"yes", "no"})), "correct wrong");
  EXPECT_GT(logged, 60000u);
  EXPECT_LT(logged, 70000u);
}

TEST(ProcessVerifier, WhatAWorkerForkedDiesWithIt) {
  TestDirectory directory;
  const std::string file = directory / "pid";
  {
    const auto verifier =
        Open(absl::StrCat("child = os.fork()\nif child == 0: time.sleep(60)\nopen('", file,
                          "', 'w').write(str(child))\n", kJudge));
    EXPECT_EQ(Outcomes(Ask(*verifier, {"yes"})), "correct");
  }
  pid_t child = 0;
  std::ifstream(file) >> child;
  ASSERT_GT(child, 1);
  for (int i = 0; i < 100 && kill(child, 0) == 0; ++i) {
    // Killed; gone once whoever inherited it has reaped it, or it is a zombie.
    std::ifstream stat(absl::StrCat("/proc/", child, "/stat"));
    std::string pid, name, state;
    stat >> pid >> name >> state;
    if (state == "Z") break;
    ASSERT_LT(i, 99) << "the child lives: " << state;
    absl::SleepFor(absl::Milliseconds(20));
  }
}

// ---- Jailed ----

class JailedWorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto sandbox = StartSandbox({});
    if (!sandbox.ok()) GTEST_SKIP() << "not run: " << sandbox.status();
  }
  std::string Spec(const std::string& body, const std::string& hello = kHello) {
    const std::string file = Write(directory_ / "worker.py", WorkerOf(body, hello));
    return absl::StrCat("exec:/usr/bin/python3 -S ", file);
  }
  TestDirectory directory_;
};

TEST_F(JailedWorkerTest, AnswersManyItemsAndReachesNothingOutside) {
  const std::string secret = Write(directory_ / "secret", "yes");
  const std::string given = Write(directory_ / "given", "yes");
  const std::string body = absl::StrCat(R"(def tries(what):
    try:
        return bool(what())
    except OSError:
        return False
import socket
c = item["completion"]
seen = {"files": tries(lambda: open(")",
                                        secret, R"(").read()),
        "network": tries(lambda: socket.socket()),
        "others": tries(lambda: [p for p in os.listdir("/proc") if p.isdigit() and int(p) > 40]),
        "environment": len(os.environ) > 1,
        "given": open("/box/given").read() == "yes"}
right = seen.pop("given") and not any(seen.values())
score(1.0 if c == item["answer"] and right else 0.0, detail=str(seen)))");
  const auto jailed = OpenSpec(Spec(body), {{"jail", "true"}, {"files", given}});
  ASSERT_NE(jailed, nullptr);
  EXPECT_EQ(Outcomes(Ask(*jailed, {"yes", "no", "yes"})), "correct wrong correct");
  EXPECT_EQ(Outcomes(Ask(*jailed, {"yes"})), "correct");
  const auto free = OpenSpec(
      Spec(absl::StrCat("score(float(open('", secret, "').read() == item['completion']))")));
  EXPECT_EQ(Outcomes(Ask(*free, {"yes"})), "correct");  // it is the jail that hides the file
}

TEST_F(JailedWorkerTest, OneThatDiesHangsOrEatsMemoryIsAnOutageOfItsItemAlone) {
  const std::string body = R"(c = item["completion"]
if c == "die": os._exit(3)
if c == "hang": time.sleep(600)
if c == "eat": held = bytearray(1 << 30)
score(1.0 if c == item["answer"] else 0.0))";
  const auto jailed =
      OpenSpec(Spec(body), {{"jail", "true"}, {"timeout_s", "3"}, {"memory_mb", "100"}});
  ASSERT_NE(jailed, nullptr);
  const auto verdicts = Ask(*jailed, {"yes", "die", "yes", "eat", "no", "hang", "yes"});
  EXPECT_EQ(Outcomes(verdicts), "correct outage correct outage wrong outage correct");
  EXPECT_TRUE(absl::StrContains(verdicts[1].detail, "exited with status 3")) << verdicts[1].detail;
  EXPECT_TRUE(absl::StrContains(verdicts[3].detail, "memory_limit")) << verdicts[3].detail;
}

TEST_F(JailedWorkerTest, APythonFunctionIsJailedToo) {
  const std::string file = Write(
      directory_ / "mine.py",
      "import os\ndef compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
      "    return float(solution_str == ground_truth and os.getuid() == 1000)\n");
  const auto jailed = OpenSpec(absl::StrCat("python:", file, ":compute_score"), {{"jail", "true"}});
  ASSERT_NE(jailed, nullptr);
  EXPECT_EQ(Outcomes(Ask(*jailed, {"yes", "no"})), "correct wrong");
}

TEST_F(JailedWorkerTest, WhatCannotBeJailedIsRefused) {
  const auto where = OpenVerifier(Spec("pass"), {{"jail", "maybe"}}, NoLog);
  EXPECT_TRUE(absl::IsInvalidArgument(where.status())) << where.status();
  const auto file = OpenVerifier(Spec("pass"), {{"jail", "true"}, {"files", "/nowhere"}}, NoLog);
  EXPECT_TRUE(absl::IsNotFound(file.status())) << file.status();
  const auto silent = OpenVerifier(Spec("pass", "sys.exit('no')\n"), {{"jail", "true"}}, NoLog);
  EXPECT_TRUE(absl::IsFailedPrecondition(silent.status())) << silent.status();
}

TEST(ProcessVerifier, APassedDeadlineIsAnOutageAndTheNextCallIsServed) {
  const auto verifier =
      Open(absl::StrCat("if item['completion'] == 'slow': time.sleep(30)\n", kJudge));
  Question slow = MakeQuestion("slow", "yes");
  slow.deadline = absl::Now() + absl::Milliseconds(150);
  const absl::Time begin = absl::Now();
  const auto verdicts = verifier->Verify({slow});
  EXPECT_EQ(Outcomes(*verdicts), "outage");
  EXPECT_LT(absl::Now() - begin, absl::Milliseconds(600));
  EXPECT_EQ(Outcomes(Ask(*verifier, {"yes"})), "correct");
}

TEST(ProcessVerifier, AnItemThatDoesNotFitALineIsALimitOfTheCompletionsOwn) {
  const auto verifier = Open(kJudge);
  const auto verdicts = Ask(*verifier, {std::string(300000, '\x01'), std::string(1000000, 'a')});
  EXPECT_EQ(Outcomes(verdicts), "limit_exceeded wrong") << "escaped, 300,000 bytes are 1.8 million";
  Question heavy = MakeQuestion("yes", std::string(2 << 20, 'g'));
  EXPECT_EQ(Outcomes(*verifier->Verify({heavy})), "skipped");
}

// ---- Starting ----

TEST(ProcessVerifier, AProgramWithoutAGoodHelloIsRefusedInItsOwnWords) {
  const auto refusal = [](const std::string& program) {
    ProcessVerifierOptions options = OptionsFor(program);
    options.start_timeout = absl::Milliseconds(300);
    const auto verifier = ProcessVerifier::Open(options);
    EXPECT_EQ(verifier.status().code(), absl::StatusCode::kFailedPrecondition) << program;
    return std::string(verifier.status().message());
  };
  EXPECT_TRUE(absl::StrContains(refusal(""), "exited with status 0"));
  EXPECT_TRUE(absl::StrContains(refusal("import no_such_module"), "no_such_module"));
  EXPECT_TRUE(absl::StrContains(refusal("import time; time.sleep(60)"), "no hello within 300ms"));
  EXPECT_TRUE(absl::StrContains(refusal("print('hi')"), "not a JSON object: hi"));
  EXPECT_TRUE(absl::StrContains(refusal("print('{}')"), "no hello"));
  EXPECT_TRUE(absl::StrContains(refusal(R"(print('{"hone_verifier":2,"name":"a","version":"1"}'))"),
                                "another version"));
  EXPECT_TRUE(absl::StrContains(
      refusal(R"(print('{"hone_verifier":1,"name":"a b","version":"1"}'))"), "\"name\""));
  ProcessVerifierOptions missing;
  missing.argv = {"/no/such/program"};
  EXPECT_EQ(ProcessVerifier::Open(missing).status().code(), absl::StatusCode::kNotFound);
}

TEST(ProcessVerifier, AProgramThatChangesUnderARunIsAnOutage) {
  TestDirectory directory;
  const std::string file = directory / "version";
  Write(file, "1");
  const std::string hello = absl::StrCat("say({'hone_verifier': 1, 'name': 't', 'version': open('",
                                         file, "').read()})\n");
  const auto verifier = ProcessVerifier::Open(OptionsFor(
      WorkerOf(absl::StrCat("if item['completion'] == 'die': os._exit(1)\n", kJudge), hello)));
  ASSERT_TRUE(verifier.ok());
  EXPECT_EQ(Outcomes(Ask(**verifier, {"yes"})), "correct");
  Write(file, "2");
  EXPECT_EQ(Outcomes(Ask(**verifier, {"die"})), "outage");
  const auto after = Ask(**verifier, {"yes"});
  EXPECT_EQ(Outcomes(after), "outage");
  EXPECT_TRUE(absl::StrContains(after[0].detail, "changed")) << after[0].detail;
}

// A start that takes longer than a question's deadline is waited for by the next question.
TEST(ProcessVerifier, ASlowStartIsNotBegunAgainAtEveryDeadline) {
  TestDirectory directory;
  const std::string mark = directory / "slow";
  const std::string hello =
      absl::StrCat("if os.path.exists('", mark, "'): time.sleep(0.5)\n", kHello);
  const auto verifier = ProcessVerifier::Open(OptionsFor(
      WorkerOf(absl::StrCat("if item['completion'] == 'die': os._exit(1)\n", kJudge), hello)));
  ASSERT_TRUE(verifier.ok());
  Write(mark, "");
  int rounds = 0;
  std::string outcomes = Outcomes(Ask(**verifier, {"die"}));
  const int64_t starts = (*verifier)->starts();
  do {
    Question question = MakeQuestion("yes", "yes");
    question.deadline = absl::Now() + absl::Milliseconds(120);
    outcomes = Outcomes(*(*verifier)->Verify({question}));
  } while (outcomes != "correct" && ++rounds < 50);
  EXPECT_EQ(outcomes, "correct");
  EXPECT_LE((*verifier)->starts() - starts, 1);
}

// ---- Python ----

class PythonTest : public testing::Test {
 protected:
  std::shared_ptr<Verifier> Load(const std::string& text, const std::string& function = "f",
                                 const VerifierOptions& options = {}) {
    return OpenSpec(absl::StrCat("python:", Write(directory_ / "mine.py", text), ":", function),
                    options);
  }
  std::string Refusal(const std::string& text, const std::string& function = "f") {
    const auto verifier = OpenVerifier(
        absl::StrCat("python:", Write(directory_ / "mine.py", text), ":", function), {}, NoLog);
    EXPECT_EQ(verifier.status().code(), absl::StatusCode::kFailedPrecondition);
    return std::string(verifier.status().message());
  }
  TestDirectory directory_;
};

TEST_F(PythonTest, TakesVerlsSignatureWithFloatsAndDicts) {
  const auto verifier = Load(R"(
def f(data_source, solution_str, ground_truth, extra_info):
    print("to nobody's harm", data_source)
    if solution_str == "dict":
        return {"score": 0.5, "acc": True, "pred": "x", "len": 3}
    return extra_info["index"] == 7 and solution_str == ground_truth
)");
  std::vector<Question> questions = {MakeQuestion("yes", "yes"), MakeQuestion("dict", "yes")};
  for (Question& question : questions) {
    question.metadata = {{"index", "7"}, {"data_source", "\"gsm8k\""}};
  }
  const auto verdicts = verifier->Verify(questions);
  EXPECT_EQ(Outcomes(*verdicts), "correct wrong");
  const Verdict& dict = (*verdicts)[1];
  ASSERT_EQ(dict.parts.size(), 3u);
  EXPECT_EQ(dict.parts[0].raw, 0.5);
  EXPECT_EQ(dict.parts[1].name, "acc");
  EXPECT_EQ(dict.parts[1].raw, 1.0);
  EXPECT_EQ(dict.detail, "pred: x");
}

TEST_F(PythonTest, TakesTrlsSignatureWithColumnsAndNone) {
  const auto verifier = Load(R"(
def f(prompts, completions, solution, level, **kwargs):
    assert len(prompts) == len(completions) == len(solution) == 1
    assert kwargs["answer"] == solution and prompts[0] == "What is it?" and level == [3]
    return [None if s == "none" else float(c == s) for c, s in zip(completions, solution)]
)");
  std::vector<Question> questions = {MakeQuestion("yes", "yes"), MakeQuestion("no", "yes"),
                                     MakeQuestion("yes", "none")};
  for (Question& question : questions) question.metadata = {{"level", "3"}};
  EXPECT_EQ(Outcomes(*verifier->Verify(questions)), "correct wrong skipped");
}

TEST_F(PythonTest, TakesAsyncFunctionsAndNeighbouringModules) {
  Write(directory_ / "neighbour.py", "RIGHT = 1.0\n");
  const auto verifier = Load(R"(
import asyncio
import neighbour
async def f(solution_str, ground_truth):
    await asyncio.sleep(0)
    return neighbour.RIGHT if solution_str == ground_truth else 0
)");
  EXPECT_EQ(Outcomes(Ask(*verifier, {"yes", "no"})), "correct wrong");
}

TEST_F(PythonTest, AnExceptionIsAnOutageWithItsLastLineAndPlace) {
  const auto verifier = Load(R"(import os, sys
def f(solution_str, ground_truth):
    if solution_str == "exit": sys.exit(0)
    if solution_str == "die": os._exit(0)
    if solution_str == "nan": return float("nan")
    if solution_str == "text": return "high"
    if solution_str == "read": return float(sys.stdin.read() == "")
    if solution_str == "close": os.system("echo from a shell"); os.close(1); return 1
    return float(solution_str.split("####")[1] == ground_truth)
)");
  const auto verdicts =
      Ask(*verifier, {"####yes", "no", "exit", "die", "nan", "text", "read", "close", "####yes"});
  EXPECT_EQ(Outcomes(verdicts),
            "correct outage outage outage outage outage correct correct correct");
  EXPECT_EQ(verdicts[1].detail, "IndexError: list index out of range (mine.py:9)");
  EXPECT_TRUE(absl::StrContains(verdicts[2].detail, "SystemExit")) << verdicts[2].detail;
  EXPECT_TRUE(absl::StrContains(verdicts[3].detail, "status 0")) << verdicts[3].detail;
  EXPECT_TRUE(absl::StrContains(verdicts[4].detail, "returned nan")) << verdicts[4].detail;
}

TEST_F(PythonTest, WhatCannotBeLoadedIsRefusedInPythonsWords) {
  EXPECT_TRUE(absl::StrContains(Refusal("def f(:"), "SyntaxError"));
  EXPECT_TRUE(absl::StrContains(Refusal("import no_such_module"), "no_such_module"));
  EXPECT_TRUE(absl::StrContains(Refusal("x = 1"), "has no attribute 'f'"));
  EXPECT_TRUE(absl::StrContains(Refusal("def f(a, b): pass"), "neither TRL's"));
  EXPECT_EQ(OpenVerifier("python:/no/such.py:f", {}, NoLog).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(PythonTest, AnotherTextIsAnotherVerifier) {
  const auto first = Load("def f(solution_str): return 1")->Describe();
  const auto second = Load("def f(solution_str): return 0")->Describe();
  EXPECT_EQ(first.name, "python:f");
  EXPECT_NE(first.config_hash, second.config_hash);
}

// ---- Specs ----

TEST(VerifierSpec, WhatDoesNotParseOrFitIsRefused) {
  for (const char* bad : {"", "python:x.py", "python::f", "exec:", "exec:'open",
                          "grpc:", "rules:", "shell:rm", "python:x.py:"}) {
    EXPECT_EQ(ParseVerifierSpec(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_FALSE(IsCustomVerifier(bad)) << bad;
  }
  EXPECT_EQ(ParseVerifierSpec("exec:a 'b c' \"d\\\"e\" f\\ g")->command,
            (std::vector<std::string>{"a", "b c", "d\"e", "f g"}));
  const auto grpc = ParseVerifierSpec("grpc:unix:/a,127.0.0.1:5#math");
  EXPECT_EQ(grpc->addresses, (std::vector<std::string>{"unix:/a", "127.0.0.1:5"}));
  EXPECT_EQ(grpc->name, "math");
  EXPECT_FALSE(ParseVerifierSpec("math")->custom());
  EXPECT_TRUE(absl::StrContains(
      OpenVerifier("exec:true", {{"timeout", "3"}}, NoLog).status().message(), "timeout_s"));
  EXPECT_FALSE(OpenVerifier("exec:true", {{"workers", "0"}}, NoLog).ok());
  EXPECT_FALSE(OpenVerifier("exec:true", {{"timeout_s", "nan"}}, NoLog).ok());
  EXPECT_EQ(OpenVerifier("rules:/no/such.json", {}, NoLog).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace hone
