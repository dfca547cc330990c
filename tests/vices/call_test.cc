// SPDX-License-Identifier: Apache-2.0
//
// System calls that nobody who computes needs. Numbers are x86-64's.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/vices/vice.h"

namespace hone {
namespace {

using Ending = SandboxEnding;

struct Door {
  const char* name;
  const char* call;  // arguments of call(...)
  const char* answer = "EPERM";
};

constexpr Door kDoors[] = {
    // The network: every family there is
    {"unix socket", "41, 1, 1, 0"},
    {"unix datagrams", "41, 1, 2, 0"},
    {"tcp", "41, 2, 1, 0"},
    {"udp", "41, 2, 2, 0"},
    {"raw", "41, 2, 3, 1"},
    {"tcp6", "41, 10, 1, 0"},
    {"netlink", "41, 16, 3, 0"},
    {"packet", "41, 17, 3, 0"},
    {"kernel crypto (ALG)", "41, 38, 5, 0"},
    {"bluetooth", "41, 31, 3, 1"},
    {"vsock", "41, 40, 1, 0"},
    {"tipc", "41, 30, 1, 0"},
    {"rds", "41, 21, 5, 0"},
    {"can", "41, 29, 3, 1"},
    {"xdp", "41, 44, 3, 0"},
    {"smc", "41, 43, 1, 0"},
    {"kcm", "41, 41, 2, 0"},
    {"pair of sockets", "53, 1, 1, 0, 0"},
    {"bind", "49, 1, 0, 0"},
    {"connect", "42, 1, 0, 0"},
    {"sendmsg", "46, 1, 0, 0"},
    {"recvmsg", "47, 1, 0, 0"},
    // Namespaces and mounts
    {"mount", "165, 0, 0, 0, 0, 0"},
    {"umount", "166, b'/tmp', 0"},
    {"pivot_root", "155, 0, 0"},
    {"chroot", "161, b'/tmp'"},
    {"unshare users", "272, 0x10000000"},
    {"unshare mounts", "272, 0x20000"},
    {"setns", "308, 0, 0"},
    {"clone into users", "56, 0x10000011, 0, 0, 0, 0"},
    {"clone into time and mounts", "56, 0x20091, 0, 0, 0, 0"},
    {"clone beside its parent", "56, 0x8011, 0, 0, 0, 0"},
    {"clone3", "435, 0, 0", "ENOSYS"},
    {"fsopen", "430, 0, 0"},
    {"fsconfig", "431, 0, 0, 0, 0, 0"},
    {"fsmount", "432, 0, 0, 0"},
    {"fspick", "433, 0, 0, 0"},
    {"open_tree", "428, -100, b'/', 1"},
    {"move_mount", "429, 0, 0, 0, 0, 0"},
    {"mount_setattr", "442, 0, 0, 0, 0, 0"},
    {"file handles", "303, -100, b'/', 0, 0, 0"},
    {"open by handle", "304, 0, 0, 0"},
    // The kernel's own affairs
    {"bpf", "321, 0, 0, 0"},
    {"perf", "298, 0, 0, 0, 0, 0"},
    {"io_uring_setup", "425, 1, 0"},
    {"io_uring_enter", "426, 0, 0, 0, 0, 0, 0"},
    {"io_uring_register", "427, 0, 0, 0, 0"},
    {"aio", "206, 1, 0"},
    {"userfaultfd", "323, 0"},
    {"keyctl", "250, 0, -3, 0"},
    {"add_key", "248, 0, 0, 0, 0, 0"},
    {"request_key", "249, 0, 0, 0, 0"},
    {"load a module", "175, 0, 0, 0"},
    {"load a module file", "313, 0, 0, 0"},
    {"unload a module", "176, 0, 0"},
    {"kexec", "246, 0, 0, 0, 0"},
    {"reboot", "169, 0xfee1dead, 672274793, 0, 0"},
    {"swap on", "167, 0, 0"},
    {"host name", "170, 0, 0"},
    {"domain name", "171, 0, 0"},
    {"set the clock", "227, 0, 0"},
    {"set the time", "164, 0, 0"},
    {"adjust the clock", "159, 0"},
    {"iopl", "172, 3"},
    {"ioperm", "173, 0, 1, 1"},
    {"local descriptor table", "154, 0, 0, 0"},
    {"personality", "135, 0x40000"},
    {"syslog", "103, 3, 0, 0"},
    {"accounting", "163, 0"},
    {"quota", "179, 0, 0, 0, 0"},
    {"vhangup", "153"},
    {"sysfs", "139, 3"},
    // Memory and files of an odd kind
    {"memory file", "319, b'x', 0"},
    {"secret memory", "447, 0"},
    {"execute a descriptor", "322, 0, b'', 0, 0, 0x1000"},
    {"shared memory", "29, 0, 4096, 0o1600"},
    {"attach shared memory", "30, 0, 0, 0"},
    {"message queue", "68, 0, 0o1600"},
    {"semaphores", "64, 0, 1, 0o1600"},
    {"posix queue", "240, b'x', 66, 0o600, 0"},
    {"vmsplice", "278, 1, 0, 0, 0"},
    {"splice", "275, 0, 0, 1, 0, 1, 0"},
    {"tee", "276, 0, 1, 1, 0"},
    {"inotify", "253"},
    {"inotify1", "294, 0"},
    {"fanotify", "300, 0, 0"},
    {"device node", "133, b'/tmp/d', 0o60600, 0"},
    {"device node at", "259, -100, b'/tmp/d', 0, 0"},
    {"fifo by mknod", "133, b'/tmp/f', 0o10600, 0"},
    {"chown", "92, b'/tmp', 0, 0"},
    {"extended attributes", "188, b'/tmp', b'user.x', b'x', 1, 0"},
    {"sync all", "162"},
    {"page placement", "237, 0, 0, 0, 0, 0, 0"},
    {"memory policy", "238, 0, 0, 0"},
    // Standing over others
    {"ptrace", "101, 0, 0, 0, 0"},
    {"read another's memory", "310, 1, 0, 0, 0, 0, 0"},
    {"write another's memory", "311, 1, 0, 0, 0, 0, 0"},
    {"pidfd", "434, 1, 0"},
    {"another's descriptor", "438, 0, 0, 0"},
    {"signal by pidfd", "424, 0, 9, 0, 0"},
    {"queued signals", "129, 1, 9, 0"},
    {"advise another's memory", "440, 0, 0, 0, 0, 0"},
    {"compare processes", "312, 1, 2, 0, 0, 0"},
    {"priority", "141, 0, 0, -20"},
    {"scheduler", "144, 0, 1, b'    '"},
    {"scheduler attributes", "314, 0, 0, 0"},
    {"affinity", "203, 0, 8, b'12345678'"},
    {"input and output priority", "251, 1, 0, 0"},
    {"robust futex of another is asked in vain", "274, 1, 0, 0"},
    // Who it is
    {"setuid", "105, 0"},
    {"setgid", "106, 0"},
    {"setgroups", "116, 0, 0"},
    {"setresuid", "117, 0, 0, 0"},
    {"setfsuid", "122, 0"},
    {"capset", "126, 0, 0"},
    {"another filter", "317, 1, 0, 0"},
    {"another Landlock domain", "444, 0, 0, 1"},
    {"filter by prctl", "157, 22, 2, 0"},
    {"keep capabilities", "157, 8, 1"},
    {"dumpable", "157, 4, 0"},
    {"subreaper", "157, 36, 1"},
    {"let anyone trace", "157, 0x59616d61, -1"},
    {"name by memory map", "157, 35, 1, 0"},
    {"speculation control", "157, 53, 0, 0"},
    {"secure bits", "157, 28, 0"},
    {"prctl with high bits", "157, 0x100000016, 2, 0"},
    // Terminals and signals by descriptor
    {"type into a terminal", "16, 0, 0x5412, b'x'"},
    {"steal a terminal", "16, 0, 0x540E, 0"},
    {"ioctl with high bits", "16, 0, 0x100005412, b'x'"},
    {"file owner", "72, 0, 8, 1"},
    {"directory notes", "72, 0, 1026, 1"},
    {"lease", "72, 0, 1024, 1"},
    {"a larger pipe", "72, 0, 1031, 1048576"},
    {"seals", "72, 0, 1033, 1"},
    {"shadow stack", "158, 0x5001, 1"},
    {"no such call", "9999, 0", "EPERM"},
};

TEST_F(ViceTest, FindingEachSystemCallShut) {
  std::string source;
  for (const Door& door : kDoors) {
    absl::StrAppend(&source, "print(\"", door.name, ":\", call(", door.call, "))\n");
  }
  std::string expected;
  for (const Door& door : kDoors) absl::StrAppend(&expected, door.name, ": ", door.answer, "\n");
  Expect({{"doors", source, Ending::kExited, expected}});
}

// Machine code: i386 calls by number from a 64-bit program.
std::string Code(const char* bytes) {
  return absl::StrCat(
      "import mmap\n"
      "m = mmap.mmap(-1, 4096, prot=7)\n"
      "m.write(",
      bytes,
      ")\n"
      "at = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
      "print('before', flush=True)\n"
      "print(ctypes.CFUNCTYPE(ctypes.c_long)(at)())\n");
}

TEST_F(ViceTest, SpeakingAnotherTongueIsDeath) {
  Expect({
      {"its own machine code runs", Code("b'\\xb8\\x2a\\x00\\x00\\x00\\xc3'"), Ending::kExited,
       "before\n42\n"},
      {"int 0x80", Code("b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3'"), Ending::kViolation,
       "before\n"},
      {"the x32 table", "print('before', flush=True)\ncall(0x40000000 + 39)", Ending::kViolation,
       "before\n"},
  });
}

TEST_F(ViceTest, OrdinaryToolsWork) {
  Expect({
      {"threads, processes, pipes",
       "import subprocess, threading, multiprocessing\n"
       "print(subprocess.run(['sh', '-c', 'echo a | tr a b'], capture_output=True).stdout)\n"
       "t = threading.Thread(target=lambda: print('thread'))\nt.start()\nt.join()\n"
       "with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))",
       Ending::kExited, "b'b\\n'\nthread\n[1, 2]\n"},
      {"files and streams by name",
       "import tempfile, shutil\n"
       "with tempfile.TemporaryDirectory() as d:\n"
       "  open(d + '/a', 'w').write('x')\n"
       "  shutil.copy(d + '/a', d + '/b')\n"
       "  print(open(d + '/b').read(), flush=True)\n"
       "print(open('/dev/stdin').read(), file=open('/dev/stdout', 'w'))",
       Ending::kExited, "x\n\n"},
      {"time and alarms",
       "import signal\n"
       "signal.signal(signal.SIGALRM, lambda *a: print('rang'))\n"
       "signal.setitimer(signal.ITIMER_REAL, .01)\ntime.sleep(.1)",
       Ending::kExited, "rang\n"},
      {"deep stacks",
       "import threading\nsys.setrecursionlimit(100000)\nthreading.stack_size(128 << 20)\n"
       "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
       "t = threading.Thread(target=lambda: print(f(50000)))\nt.start()\nt.join()",
       Ending::kExited, "50000\n"},
  });
}

}  // namespace
}  // namespace hone
