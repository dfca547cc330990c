// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/sandbox.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/verifier/sandbox/shared_sandbox.h"

namespace hone {
namespace {

std::string EveryByte(int times) {
  std::string bytes;
  for (int i = 0; i < times * 256; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

TEST_F(SandboxTest, RunsPythonAndReportsWhatItWroteWhere) {
  SandboxProgram program = Python(
      "import os, sys\n"
      "print(sys.stdin.read()[::-1], end='')\n"
      "print('to the side', file=sys.stderr)\n"
      "os.write(3, b'result')\n");
  program.stdin_bytes = "abc";
  const SandboxReport report = Run(program);
  EXPECT_EQ(report.ending, SandboxEnding::kExited);
  EXPECT_EQ(report.exit_code, 0);
  EXPECT_EQ(report.stdout_bytes, "cba");
  EXPECT_EQ(report.stderr_bytes, "to the side\n");
  EXPECT_EQ(report.result_bytes, "result");
  EXPECT_GT(report.cpu_us, 0);
  EXPECT_GT(report.wall_us, 0);
  EXPECT_GT(report.memory_peak_bytes, 0);
}

TEST_F(SandboxTest, RunsCommandsWithTheirArguments) {
  SandboxProgram program;
  program.argv = {"sh", "-c", "cat; echo $0 $1; exit 7", "x", "y"};
  program.stdin_bytes = "in ";
  const SandboxReport report = Run(program);
  EXPECT_EQ(report.ending, SandboxEnding::kExited);
  EXPECT_EQ(report.exit_code, 7);
  EXPECT_EQ(report.stdout_bytes, "in x y\n");
}

TEST_F(SandboxTest, ACommandThatIsNotThereExitsWith127) {
  const SandboxReport report = RunCommand({"no-such-command"});
  EXPECT_EQ(report.ending, SandboxEnding::kExited);
  EXPECT_EQ(report.exit_code, 127);
  EXPECT_TRUE(absl::StrContains(report.stderr_bytes, "no-such-command")) << report.stderr_bytes;
}

TEST_F(SandboxTest, FilesStandInTheBoxAndCanBeImportedReadAndExecuted) {
  SandboxProgram program = Python(
      "import shape, subprocess\n"
      "print(shape.sides, open('/box/data', 'rb').read())\n"
      "print(subprocess.run(['/box/tool'], capture_output=True).stdout)\n");
  program.files = {{"shape.py", "sides = 5\n"},
                   {"data", std::string("\0\xff", 2)},
                   {"tool", "#!/bin/sh\necho tool\n"}};
  const SandboxReport report = Run(program);
  EXPECT_EQ(report.stdout_bytes, "5 b'\\x00\\xff'\nb'tool\\n'\n") << report.stderr_bytes;
}

TEST_F(SandboxTest, BytesPassUnchangedThroughPythonAndThroughPipes) {
  const std::string bytes = EveryByte(100);
  SandboxProgram program = Python("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())");
  program.stdin_bytes = bytes;
  EXPECT_EQ(Run(program).stdout_bytes, bytes);
  SandboxProgram command;
  command.argv = {"cat"};
  command.stdin_bytes = bytes;
  EXPECT_EQ(Run(command).stdout_bytes, bytes);
}

TEST_F(SandboxTest, InvalidUtf8PassesThroughTextStreams) {
  SandboxProgram program = Python("print(input())");
  program.stdin_bytes = "\xff\xfe caf\xe9\n";
  EXPECT_EQ(Run(program).stdout_bytes, program.stdin_bytes);
}

TEST_F(SandboxTest, TenMegabytesOfStdinThatNobodyReadsDoNotHang) {
  SandboxProgram program = Python("print('done')");
  program.stdin_bytes.assign(10 << 20, 'x');
  EXPECT_EQ(Run(program).stdout_bytes, "done\n");
}

TEST_F(SandboxTest, TenMegabytesOfStdinAreReadWhole) {
  SandboxProgram program = Python("import sys; print(len(sys.stdin.read()))");
  program.stdin_bytes.assign(10 << 20, 'x');
  EXPECT_EQ(Run(program).stdout_bytes, absl::StrCat(10 << 20, "\n"));
}

TEST_F(SandboxTest, AProgramMayCloseItsStreams) {
  const SandboxReport report = RunPython(
      "import os, sys\n"
      "sys.stdout.write('before')\n"
      "sys.stdout.close()\n"
      "os.close(0)\n"
      "os.close(2)\n"
      "os.write(3, b'after')\n");
  EXPECT_EQ(report.ending, SandboxEnding::kExited);
  EXPECT_EQ(report.stdout_bytes, "before");
  EXPECT_EQ(report.result_bytes, "after");
}

TEST_F(SandboxTest, AChildThatKeepsThePipesOpenDoesNotDelayTheEnd) {
  const SandboxReport report = RunPython(
      "import os, time\n"
      "if os.fork() == 0:\n"
      "  os.setsid()\n"
      "  if os.fork() == 0: time.sleep(60)\n"
      "  os._exit(0)\n"
      "print('parent')\n");
  EXPECT_EQ(report.ending, SandboxEnding::kExited);
  EXPECT_EQ(report.stdout_bytes, "parent\n");
  EXPECT_LT(report.wall_us, 5000000);
}

TEST_F(SandboxTest, PythonExitsAsPythonDoes) {
  const struct {
    std::string source;
    int code;
    std::string out, err;  // err: its last line
  } cases[] = {
      {"x = 1", 0, "", ""},
      {"print('a'); 1 / 0", 1, "a\n", "ZeroDivisionError: division by zero"},
      {"import sys; sys.exit()", 0, "", ""},
      {"import sys; sys.exit(3)", 3, "", ""},
      {"import sys; sys.exit(-1)", 255, "", ""},
      {"import sys; sys.exit('bye')", 1, "", "bye"},
      {"raise SystemExit(4)", 4, "", ""},
      {"exit(5)", 5, "", ""},
      {"quit()", 0, "", ""},
      {"import os; print('lost'); os._exit(6)", 6, "", ""},
      {"def f(:", 1, "", "SyntaxError: invalid syntax"},
      {std::string("x\0y", 3), 1, "", "ValueError: source code string cannot contain null bytes"},
      {"import atexit; atexit.register(print, 'late')", 0, "late\n", ""},
      {"import threading, time\n"
       "threading.Thread(target=lambda: (time.sleep(.02), print('joined'))).start()",
       0, "joined\n", ""},
      {"out = open(1, 'w'); out.write('never closed')", 0, "never closed", ""},
      {"import sys\nsys.excepthook = lambda *a: print('hook')\nraise KeyError", 1, "hook\n", ""},
      {"print(__name__, __file__)", 0, "__main__ <candidate>\n", ""},
      {"# -*- coding: latin-1 -*-\nprint(len('\xe9'))", 0, "1\n", ""},
      {"import asyncio", 0, "", ""},
  };
  for (const auto& expected : cases) {
    SCOPED_TRACE(expected.source);
    const SandboxReport report = RunPython(expected.source);
    EXPECT_EQ(report.ending, SandboxEnding::kExited);
    EXPECT_EQ(report.exit_code, expected.code) << report.stderr_bytes;
    EXPECT_EQ(report.stdout_bytes, expected.out);
    const std::string last = expected.err.empty() ? "" : absl::StrCat(expected.err, "\n");
    EXPECT_TRUE(absl::EndsWith(report.stderr_bytes, last)) << report.stderr_bytes;
    EXPECT_EQ(report.stderr_bytes.empty(), expected.err.empty()) << report.stderr_bytes;
  }
}

TEST_F(SandboxTest, TracebacksNameTheSource) {
  SandboxProgram program = Python("\n\nraise KeyError('k')");
  program.source_name = "answer.py";
  const SandboxReport report = Run(program);
  EXPECT_TRUE(absl::StrContains(report.stderr_bytes, "File \"answer.py\", line 3, in <module>"))
      << report.stderr_bytes;
}

TEST_F(SandboxTest, ASignalOfItsOwnMakingIsReportedWithItsNumber) {
  const SandboxReport report = RunPython("import os; os.kill(os.getpid(), 9)");
  EXPECT_EQ(report.ending, SandboxEnding::kSignalled);
  EXPECT_EQ(report.signal, 9);
}

TEST_F(SandboxTest, EachRunStartsFromTheSameState) {
  const std::string source =
      "import random, json, sys, os\n"
      "print(random.random(), hash('text'), hasattr(json, 'poison'), 'late' in sys.modules,\n"
      "      os.listdir('/tmp'), os.environ, sys.argv, sys.path)\n"
      "json.poison = 1\n"
      "json.dumps = None\n"
      "sys.modules['late'] = json\n"
      "os.environ['X'] = '1'\n"
      "random.seed(7)\n"
      "open('/tmp/left', 'w').write('x')\n";
  const SandboxReport first = RunPython(source);
  EXPECT_EQ(first.exit_code, 0) << first.stderr_bytes;
  EXPECT_TRUE(absl::StrContains(first.stdout_bytes,
                                "False False [] environ({}) ['<candidate>'] "
                                "['/usr/lib/python3"))
      << first.stdout_bytes;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(RunPython(source).stdout_bytes, first.stdout_bytes);
}

TEST_F(SandboxTest, PassesWhatOneOfAPairWritesToTheOther) {
  const SandboxProgram tester = Python(
      "import os\n"
      "for i in range(100):\n"
      "  os.write(5, b'%d\\n' % i)\n"
      "  assert int(os.read(4, 99)) == i * i\n"
      "print('all right')\n");
  const SandboxProgram candidate = Python(
      "import os\n"
      "while line := os.read(4, 99): os.write(5, b'%d\\n' % int(line) ** 2)\n"
      "print('end of file')\n");
  const auto reports = sandbox()->RunPair(tester, candidate);
  ASSERT_TRUE(reports.ok()) << reports.status();
  EXPECT_EQ((*reports)[0].stdout_bytes, "all right\n") << (*reports)[0].stderr_bytes;
  EXPECT_EQ((*reports)[0].ending, SandboxEnding::kExited);
}

TEST_F(SandboxTest, StopsTheCandidateWhenTheTesterEnds) {
  const auto reports = sandbox()->RunPair(Python("print('bye')"), Python("while True: pass"));
  ASSERT_TRUE(reports.ok()) << reports.status();
  EXPECT_EQ((*reports)[0].ending, SandboxEnding::kExited);
  EXPECT_EQ((*reports)[1].ending, SandboxEnding::kCancelled);
}

TEST_F(SandboxTest, TheTesterReadsEndOfFileWhenTheCandidateEnds) {
  const SandboxProgram tester = Python(
      "import os, time\n"
      "print(os.read(4, 9), os.read(4, 9))\n"
      "try: \n"
      "  while True: os.write(5, b'x')\n"
      "except BrokenPipeError: print('broken')\n"
      "time.sleep(.3)\n");  // so that the other's own ending is known
  const SandboxProgram candidate = Python("import os; os.write(5, b'one'); 1 / 0");
  const auto reports = sandbox()->RunPair(tester, candidate);
  ASSERT_TRUE(reports.ok()) << reports.status();
  EXPECT_EQ((*reports)[0].stdout_bytes, "b'one' b''\nbroken\n") << (*reports)[0].stderr_bytes;
  EXPECT_EQ((*reports)[1].exit_code, 1);
}

TEST_F(SandboxTest, APairThatWaitsForEachOtherEndsAtItsWallLimits) {
  SandboxProgram tester = Python("import os; os.read(4, 1)");
  SandboxProgram candidate = tester;
  candidate.limits.wall_ms = 200;
  const auto reports = sandbox()->RunPair(tester, candidate);
  ASSERT_TRUE(reports.ok()) << reports.status();
  EXPECT_EQ((*reports)[0].ending, SandboxEnding::kExited);
  EXPECT_EQ((*reports)[1].ending, SandboxEnding::kWallLimit);
}

TEST_F(SandboxTest, SixtyFourCallersShareFourSlots) {
  std::atomic<int> right{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 64; ++i) {
    callers.emplace_back([&, i] {
      SandboxProgram program = Python("print(int(input()) + 1)");
      program.stdin_bytes = absl::StrCat(i, "\n");
      if (i % 8 == 0) {
        const auto reports = sandbox()->RunPair(program, Python("pass"));
        right += reports.ok() && (*reports)[0].stdout_bytes == absl::StrCat(i + 1, "\n");
      } else {
        right += Run(program).stdout_bytes == absl::StrCat(i + 1, "\n");
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(right, 64);
}

TEST_F(SandboxTest, RefusesProgramsThatSayTooLittleOrTooMuch) {
  std::vector<SandboxProgram> bad(9, Python("pass"));
  bad[0].python_source = "";
  bad[1].argv = {"true"};
  bad[2].files["../up"] = "";
  bad[3].files[".."] = "";
  bad[4].limits.cpu_ms = 0;
  bad[5].limits.memory_bytes = 1;
  bad[6].limits.processes = 0;
  bad[7].limits.output_bytes = -1;
  bad[8].files["big"].assign(65 << 20, 'x');
  for (const SandboxProgram& program : bad) {
    EXPECT_EQ(sandbox()->Run(program).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(sandbox()->RunPair(program, Python("pass")).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace hone
