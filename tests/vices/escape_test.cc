// SPDX-License-Identifier: Apache-2.0
//
// Programs that look for a way out: files, devices, processes, memory of others, descriptors.
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/vices/vice.h"

namespace hone {
namespace {

using Ending = SandboxEnding;

TEST_F(ViceTest, LookingForFilesOfTheHost) {
  Expect({
      {"the tree",
       "print(sorted(set(os.listdir('/')) - {'lib', 'lib32', 'lib64', 'bin', 'sbin'}),\n"
       "      os.listdir('/box'), os.listdir('/tmp'), sorted(os.listdir('/dev')))",
       Ending::kExited,
       "['box', 'dev', 'etc', 'proc', 'tmp', 'usr'] [] [] ['fd', 'full', 'null', 'random', "
       "'shm', 'stderr', 'stdin', 'stdout', 'urandom', 'zero']\n"},
      {"homes and secrets",
       "for p in ('/root', '/home', '/etc/shadow', '/etc/passwd', '/var', '/sys', '/run', "
       "'/boot',\n"
       "          '/dev/vda', '/dev/mem', '/dev/kmsg', '/dev/kvm', '/dev/tty', '/dev/ptmx',\n"
       "          '/proc/kcore', '/proc/sys', '/proc/kmsg', '/proc/keys', '/proc/config.gz',\n"
       "          '/proc/cmdline', '/proc/net', '/proc/sysrq-trigger', '/sys/fs/cgroup'):\n"
       "  print(attempt(os.stat, p), end=' ')",
       Ending::kExited,
       [] {
         std::string all;
         for (int i = 0; i < 23; ++i) all += "ENOENT ";
         return all;
       }()},
      {"up and out",
       "os.chdir('/')\nfor i in range(20): os.chdir('..')\nprint(os.getcwd(), 'root' in "
       "os.listdir('.'))",
       Ending::kExited, "/ False\n"},
      {"links out of /tmp",
       "os.symlink('/etc/shadow', '/tmp/a')\n"
       "print(attempt(open, '/tmp/a'), attempt(os.link, '/usr/bin/env', '/tmp/b'),\n"
       "      attempt(os.symlink, '/tmp', '/box/c'), attempt(os.rename, '/usr/bin/env', '/tmp/d'))",
       Ending::kExited, "ENOENT EXDEV EROFS EXDEV\n"},
      {"writing to the tree",
       "for p in ('/x', '/usr/x', '/box/x', '/dev/x', '/etc/x', '/proc/x', '/usr/bin/env',\n"
       "          '/etc/ld.so.cache'):\n"
       "  print(attempt(os.open, p, os.O_WRONLY | os.O_CREAT) in ('EROFS', 'EACCES', 'ENOENT'),\n"
       "        end=' ')",
       Ending::kExited, "True True True True True True True True "},
      {"changing the tree",
       "for p in ('/usr', '/box', '/dev/null', '/usr/bin/env', '/'):\n"
       "  print(attempt(os.chmod, p, 0o777) in ('EROFS', 'EPERM'),\n"
       "        attempt(os.utime, p) in ('EROFS', 'EPERM', 'EACCES'),\n"
       "        attempt(os.rename, p, p + 'x') in ('EROFS', 'EACCES', 'EBUSY', 'EXDEV'))",
       Ending::kExited,
       "True True True\nTrue True True\nTrue True True\nTrue True True\n"
       "True True True\n"},
      {"programs with a setuid bit",
       "import subprocess\n"
       "p = subprocess.run(['/usr/bin/su', '-c', 'id'], capture_output=True)\n"
       "print(p.returncode != 0, p.stdout)\n"
       "os.system('cp /usr/bin/env /tmp/e 2>/dev/null; chmod 4755 /tmp/e')\n"
       "print(attempt(os.execv, '/tmp/e', ['e']))",
       Ending::kExited, "True b''\nEACCES\n"},
      {"running what it wrote",
       "open('/tmp/x', 'w').write('#!/bin/sh\\necho ran')\n"
       "os.chmod('/tmp/x', 0o755)\n"
       "print(attempt(os.execv, '/tmp/x', ['x']))\n"
       "import mmap\n"
       "f = open('/tmp/y', 'wb+')\nf.write(bytes(4096))\nf.flush()\n"
       "print(attempt(lambda: mmap.mmap(f.fileno(), 4096, mmap.MAP_SHARED, 5)))",
       Ending::kExited, "EACCES\nEPERM\n"},
  });
}

// In this process's memory, which the spawner and its jails must not have inherited.
const std::string* const secret = new std::string("SECRET-OF-THE-HOST");

TEST_F(ViceTest, LookingForOtherProcesses) {
  ASSERT_EQ(secret->size(), 18u);
  RunPython("import time\nleft = 'A-NEIGHBOUR-WAS-HERE' * 9\nprint(left)");
  Expect({
      {"/proc shows its own alone",
       "print([n for n in os.listdir('/proc') if n.isdigit()], os.getpid(), os.getppid())",
       Ending::kExited, "['2'] 2 1\n"},
      {"its keeper's files",
       "for n in ('mem', 'environ', 'maps', 'root', 'fd', 'cwd', 'exe', 'ns/mnt', 'status',\n"
       "          'task', 'cmdline'):\n"
       "  print(attempt(os.stat, '/proc/1/' + n), end=' ')",
       Ending::kExited,
       "ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT "},
      {"its keeper's memory",
       "b = ctypes.create_string_buffer(64)\n"
       "print(call(101, 16, 1, 0, 0), call(310, 1, b, 1, b, 1, 0), call(311, 1, b, 1, b, 1, 0),\n"
       "      call(434, 1, 0), call(438, 3, 0, 0), call(312, 1, 2, 0, 0, 0))",
       Ending::kExited, "EPERM EPERM EPERM EPERM EPERM EPERM\n"},
      {"signals to its keeper and to all",
       "for n in (0, 1, 2, 9, 11, 15, 19): print(attempt(os.kill, 1, n), end=' ')\n"
       "print(attempt(os.kill, -1, 9), attempt(os.kill, 7, 9), attempt(os.killpg, 1, 9))",
       Ending::kExited, "EPERM EPERM EPERM EPERM EPERM EPERM EPERM ESRCH ESRCH ESRCH\n"},
      {"tracing itself and its children",
       "print(call(101, 0, 0, 0, 0))\n"
       "pid = os.fork() or time.sleep(9)\n"
       "print(call(101, 16, pid, 0, 0), call(101, 0x4206, pid, 0, 0))\n"
       "os.kill(pid, 9)",
       Ending::kExited, "EPERM\nEPERM EPERM\n"},
      {"its own memory by file holds nothing of ours",
       "parts = []\n"
       "for line in open('/proc/self/maps'):\n"
       "  span, mode = line.split()[:2]\n"
       "  a, b = (int(x, 16) for x in span.split('-'))\n"
       "  if mode[:2] == 'rw' and b - a < 1 << 26:\n"
       "    with open('/proc/self/mem', 'rb', buffering=0) as m:\n"
       "      m.seek(a)\n"
       "      try: parts.append(m.read(b - a))\n"
       "      except OSError: pass\n"
       "import re\ndata = b''.join(parts)\n"  // patterns that do not find themselves
       "print(len(data) > 1 << 20, re.search(b'SECRET-OF-THE-[H]OST', data),\n"
       "      re.search(b'A-NEIGHBOUR-WAS-[H]ERE', data))",
       Ending::kExited, "True None None\n"},
      {"writing code by /proc/self/mem",
       "try:\n"
       "  with open('/proc/self/mem', 'rb+', buffering=0) as m:\n"
       "    m.seek(ctypes.cast(libc.getpid, ctypes.c_void_p).value)\n"
       "    m.write(b'\\xb8\\x2a\\x00\\x00\\x00\\xc3')\n"
       "  print(libc.getpid())\n"
       "except OSError as e: print(42)",
       Ending::kExited, "42\n"},
      {"descriptors that were left open",
       "print(sorted(os.listdir('/proc/self/fd'))[:4], [n for n in range(3, 999) if\n"
       "      attempt(os.fstat, n) != 'EBADF'])",
       Ending::kExited, "['0', '1', '2', '3'] [3]\n"},
      {"who it is",
       "print(os.getresuid(), os.getresgid(), os.getgroups(), os.uname().nodename,\n"
       "      dict(os.environ), os.getcwd())\n"
       "print(open('/proc/self/uid_map').read().split()[0::3],\n"
       "      open('/proc/self/cgroup').read().count('hone'))",
       Ending::kExited, "(1000, 1000, 1000) (1000, 1000, 1000) [] box {} /tmp\n['0', '1000'] 0\n"},
      {"telling the out-of-memory killer to look elsewhere",
       "print(attempt(lambda: os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1')))",
       Ending::kExited, "EACCES\n"},
      {"a map of users of its own",
       "print(attempt(lambda: os.write(os.open('/proc/self/uid_map', os.O_WRONLY), b'0 0 1')))",
       Ending::kExited, "EACCES\n"},
      {"namespaces by name",
       "fds = [attempt(os.open, '/proc/self/ns/' + n, 0) for n in ('user', 'mnt', 'pid', 'net')]\n"
       "print([call(308, fd, 0) if isinstance(fd, int) else 'EPERM' for fd in fds])",
       Ending::kExited, "['EPERM', 'EPERM', 'EPERM', 'EPERM']\n"},
      {"processes that outlive it",
       "for i in range(5):\n"
       "  if os.fork() == 0:\n"
       "    os.setsid()\n"
       "    for n in range(3): os.close(n)\n"
       "    if os.fork() == 0: time.sleep(60)\n"
       "    os._exit(0)\n"
       "print('bye')",
       Ending::kExited, "bye\n"},
      {"dumps core",
       "import resource\nprint(resource.getrlimit(resource.RLIMIT_CORE))\nsys.stdout."
       "flush()\nos.abort()",
       Ending::kSignalled, "(0, 0)\n"},
  });
}

// The tester knows what is right; the candidate of a pair must not get at it.
TEST_F(ViceTest, ReachingForTheTesterOfItsPair) {
  SandboxProgram tester = Python(
      "import os, gold\n"
      "os.write(5, b'go')\n"
      "print(os.read(4, 9999).decode(), end='')\n");
  tester.files["gold.py"] = "answer = 'THE-GOLD' * 99\n";
  tester.stdin_bytes = "THE-GOLD";
  const SandboxProgram candidate = Python(
      absl::StrCat(kTools,
                   "os.read(4, 2)\n"
                   "look = [os.listdir('/box'), [n for n in os.listdir('/proc') if n.isdigit()],\n"
                   "        attempt(os.open, '/proc/self/fd/5', os.O_RDONLY),\n"
                   "        attempt(os.open, '/proc/self/fd/4', os.O_WRONLY),\n"
                   "        attempt(os.read, 5, 1), attempt(os.write, 4, b'x'), os.read(0, 99),\n"
                   "        attempt(os.kill, 1, 9), attempt(os.kill, 3, 9), attempt(os.fstat, 6)]\n"
                   "os.write(5, repr(look).encode())\n"));
  const auto reports = sandbox()->RunPair(tester, candidate);
  ASSERT_TRUE(reports.ok()) << reports.status();
  EXPECT_EQ((*reports)[0].stdout_bytes,
            "[[], ['2'], 'EACCES', 'EACCES', 'EBADF', 'EBADF', b'', 'EPERM', 'ESRCH', 'EBADF']")
      << (*reports)[1].stderr_bytes;
}

// What a run leaves in any place it can reach is not there for the next.
TEST_F(ViceTest, LeavingTracesForTheNextRun) {
  const std::string look =
      "import json, random, decimal, builtins, threading\n"
      "print(len(os.listdir('/tmp')), hasattr(builtins, 'left'), json.dumps([1]),\n"
      "      decimal.getcontext().prec, sys.getrecursionlimit(), os.umask(18),\n"
      "      threading.active_count(), time.tzname == ('UTC', 'UTC'), random.getrandbits(32))\n";
  const std::string leave = look +
                            "sys.stdout.flush()\n"
                            "builtins.left = 'A-NEIGHBOUR' + '-WAS-HERE'\n"
                            "json.dumps = lambda x: 'poison'\n"
                            "decimal.getcontext().prec = 3\n"
                            "sys.setrecursionlimit(77)\n"
                            "os.umask(0)\n"
                            "builtins.print = None\n"
                            "open('/tmp/left', 'w').write('A-NEIGHBOUR' + '-WAS-HERE')\n"
                            "os._exit(0)\n";
  const SandboxReport first = RunPython(absl::StrCat(kTools, look));
  std::vector<Vice> vices;
  for (int i = 0; i < 5; ++i) {
    vices.push_back({"leaves", leave, Ending::kExited, first.stdout_bytes});
    vices.push_back({"looks", look, Ending::kExited, first.stdout_bytes});
  }
  Expect(vices);
}

}  // namespace
}  // namespace hone
