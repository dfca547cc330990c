// SPDX-License-Identifier: Apache-2.0
//
// Programs that take more than they are given: processes, memory, files, output, time.
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/vices/vice.h"

namespace hone {
namespace {

using Ending = SandboxEnding;

SandboxLimits WallOf(int64_t wall_ms) {
  SandboxLimits limits = Short();
  limits.wall_ms = wall_ms;
  return limits;
}

SandboxLimits RoomyFiles() {
  SandboxLimits limits = Short();
  limits.cpu_ms = 4000;
  limits.file_bytes = 256 << 20;
  return limits;
}

SandboxLimits Patient() {
  SandboxLimits limits = Short();
  limits.cpu_ms = 4000;
  limits.file_bytes = 1 << 20;
  return limits;
}

TEST_F(ViceTest, WantingManyProcesses) {
  Expect({
      {"fork bomb", "while True: attempt(os.fork)", Ending::kCpuLimit, "", Short()},
      {"fork bomb that dies of it",
       "try:\n  for i in range(99):\n    if os.fork() == 0: time.sleep(9)\n"
       "except OSError: sys.exit(1)",
       Ending::kProcessLimit, "", Short()},
      {"refused forks that do no harm",
       "n = 0\nfor i in range(99):\n"
       "  pid = attempt(os.fork)\n"
       "  if pid == 0: time.sleep(9)\n"
       "  n += pid == 'EAGAIN'\n"
       "print(n)",
       Ending::kExited, "84\n", Patient()},
      {"thread bomb",
       "import threading\n"
       "while True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
       Ending::kProcessLimit, "", Short()},
      {"zombies", "for i in range(15):\n  if os.fork() == 0: os._exit(0)\nprint(attempt(os.fork))",
       Ending::kExited, "EAGAIN\n", Short()},
      {"orphans are reaped",
       "for i in range(60):\n"
       "  while (pid := attempt(os.fork)) == 'EAGAIN': time.sleep(.01)\n"
       "  if pid == 0:\n"
       "    os.fork() or os._exit(0)\n"
       "    os._exit(0)\n"
       "  os.wait()\n"
       "print('done')",
       Ending::kExited, "done\n", Patient()},
  });
}

TEST_F(ViceTest, WantingMemory) {
  Expect({
      {"one block", "x = bytearray(256 << 20)", Ending::kMemoryLimit, "", Short()},
      {"many lists", "x = []\nwhile True: x.append([0] * 1000)", Ending::kMemoryLimit, "",
       Patient()},
      {"deep recursion", "sys.setrecursionlimit(10 ** 9)\ndef f(n): return f(n + 1) + 1\nf(0)",
       Ending::kMemoryLimit, "", Patient()},
      {"children that share the bill",
       "for i in range(8):\n  if os.fork() == 0:\n    x = bytearray(16 << 20)\n    time.sleep(9)\n"
       "os.wait()",
       Ending::kMemoryLimit, "", Patient()},
      {"files in /tmp count",
       "for i in range(3):\n  with open('/tmp/%d' % i, 'wb') as f: f.write(bytes(40 << 20))",
       Ending::kMemoryLimit, "", RoomyFiles()},
      {"shared anonymous mappings",
       "import mmap\nx = mmap.mmap(-1, 128 << 20)\nx.write(bytes(128 << 20))", Ending::kMemoryLimit,
       "", Patient()},
      {"address space alone is free",
       "import mmap\nx = mmap.mmap(-1, 1 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nprint(1)",
       Ending::kExited, "1\n", Short()},
      {"locked memory", "print(call(149, id(errno), 1), call(151, 3))", Ending::kExited,
       "EPERM EPERM\n", Short()},
  });
}

TEST_F(ViceTest, WantingFiles) {
  Expect({
      {"one large file",
       "f = open('/tmp/x', 'wb', buffering=0)\n"
       "def fill():\n  while True: f.write(bytes(1 << 16))\n"
       "print(attempt(fill), os.path.getsize('/tmp/x'))",
       Ending::kExited, absl::StrCat("EFBIG ", 1 << 20, "\n"), Patient()},
      {"a hole", "open('/tmp/x', 'w').close()\nprint(attempt(os.truncate, '/tmp/x', 1 << 40))",
       Ending::kExited, "EFBIG\n", Patient()},
      {"many files",
       "def fill():\n"
       "  for i in range(99):\n"
       "    with open('/tmp/%d' % i, 'wb') as f: f.write(bytes(1 << 19))\n"
       "print(attempt(fill), len(os.listdir('/tmp')))",
       Ending::kExited, "ENOSPC 5\n", Patient()},
      {"inodes",
       "def fill():\n  for i in range(9999): open('/tmp/%d' % i, 'x').close()\n"
       "print(attempt(fill), len(os.listdir('/tmp')))",
       Ending::kExited, "ENOSPC 1023\n", Patient()},
      {"a memory file", "print(call(319, b'x', 0), call(447, 0))", Ending::kExited, "EPERM EPERM\n",
       Patient()},
      {"descriptors", "n = 0\nwhile attempt(os.open, '/dev/null', 0) != 'EMFILE': n += 1\nprint(n)",
       Ending::kExited, "60\n", Patient()},
      {"huge arguments",
       "print(attempt(os.execv, '/bin/true', ['x' * 100000] * 400),\n"
       "      attempt(os.execv, '/bin/true', ['x' * 200000]))",
       Ending::kExited, "E2BIG E2BIG\n", Patient()},
  });
}

TEST_F(ViceTest, WantingToBeHeard) {
  SandboxLimits small = Short();
  small.output_bytes = 1000;
  Expect({
      {"flood of stdout", "while True: print('x' * 99)", Ending::kOutputLimit,
       [] {
         std::string all;
         while (all.size() < 1000) all += std::string(99, 'x') + "\n";
         return all.substr(0, 1000);
       }(),
       small},
      {"one byte more", "print('x' * 1000)", Ending::kOutputLimit, std::string(1000, 'x'), small},
      {"exactly the limit", "print('x' * 999)", Ending::kExited, std::string(999, 'x') + "\n",
       small},
      {"flood of the result", "while True: os.write(3, bytes(99))", Ending::kOutputLimit, "",
       small},
      {"flood of stderr", "for i in range(200): os.write(2, bytes(9999))\nprint(1)",
       Ending::kExited, "1\n", small},
      {"flood of a child",
       "if os.fork() == 0:\n  while True: os.write(1, b'x' * 1000)\ntime.sleep(9)",
       Ending::kOutputLimit, std::string(1000, 'x'), small},
  });
}

TEST_F(ViceTest, WantingTime) {
  const std::string deaf =
      "import signal\n"
      "for n in range(1, 65): attempt(signal.signal, n, signal.SIG_IGN) if n not in (9, 19, 32, "
      "33) "
      "else 0\n";
  Expect({
      {"a loop", "while True: pass", Ending::kCpuLimit, "", Short()},
      {"a deaf loop", deaf + "while True: pass", Ending::kCpuLimit, "", Short()},
      {"a sleep", "time.sleep(60)", Ending::kWallLimit, "", WallOf(200)},
      {"a deaf sleep", deaf + "time.sleep(60)", Ending::kWallLimit, "", WallOf(200)},
      {"stops itself", "os.kill(os.getpid(), 19)", Ending::kWallLimit, "", WallOf(200)},
      {"waits for stdin of its own", "os.read(os.pipe()[0], 1)", Ending::kWallLimit, "",
       WallOf(200)},
      {"six at once", "for i in range(5):\n  if os.fork() == 0: break\nwhile True: pass",
       Ending::kCpuLimit, "", Short()},
      {"in children while it sleeps",
       "for i in range(4):\n  if os.fork() == 0:\n    while True: pass\ntime.sleep(60)",
       Ending::kCpuLimit, "", Short()},
      {"many short children",
       "while True:\n  if os.fork() == 0:\n    sum(range(100000))\n    os._exit(0)\n  os.wait()",
       Ending::kCpuLimit, "", Short()},
      {"in the kernel", "f = open('/dev/zero', 'rb')\nwhile True: f.read(1 << 20)",
       Ending::kCpuLimit, "", Short()},
      {"a great number", "10 ** 10 ** 8", Ending::kCpuLimit, "", Short()},
      {"a hungry expression", "import re; re.match('(a*)*b', 'a' * 40)", Ending::kCpuLimit, "",
       Short()},
      {"timers without end",
       "n = 0\n"
       "while n < 9999 and call(222, 0, None, ctypes.create_string_buffer(8)) == 0: n += 1\n"
       "print(n < 300)",
       Ending::kExited, "True\n", Short()},
      {"at exit", "import atexit\natexit.register(lambda: time.sleep(60))", Ending::kWallLimit, "",
       WallOf(200)},
      {"in a destructor", "class C:\n  def __del__(self): time.sleep(60)\nc = C()",
       Ending::kWallLimit, "", WallOf(200)},
      {"raises its limits",
       "import resource\n"
       "for r in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):\n"
       "  try: resource.setrlimit(r, (resource.RLIM_INFINITY,) * 2)\n"
       "  except ValueError: print('refused')",
       Ending::kExited, "refused\nrefused\nrefused\n", Short()},
  });
}

}  // namespace
}  // namespace hone
