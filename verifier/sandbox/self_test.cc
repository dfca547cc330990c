// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/self_test.h"

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

// Prints what it found open, and "closed" at the end. 272 is unshare, 0x10000000 a user namespace.
constexpr char kDoors[] = R"(
import ctypes, errno, os, sys
found = []
def check(name, closed):
    if not closed: found.append(name)
def refused(name, action, errors):
    try: action()
    except OSError as e: check(name, e.errno in errors)
    else: found.append(name)
check('process ids', os.getpid() == 2 and os.getppid() == 1)
check('environment', not os.environ)
check('user', os.getresuid() == os.getresgid() == (1000,) * 3 and not os.getgroups())
check('tree', sorted(os.listdir('/')) == [n for n in sorted(os.listdir('/')) if n in
      ('bin', 'box', 'dev', 'etc', 'lib', 'lib32', 'lib64', 'proc', 'sbin', 'tmp', 'usr')])
check('processes', [n for n in os.listdir('/proc') if n.isdigit()] == ['2'])
check('descriptors', os.listdir('/proc/self/fd') == ['0', '1', '2', '3', '4'])
status = dict(l.split(':', 1) for l in open('/proc/self/status').read().splitlines())
check('capabilities', all(int(status[c], 16) == 0 for c in
      ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')))
check('no new privileges', status['NoNewPrivs'].strip() == '1')
check('system call filter', status['Seccomp'].strip() == '2')
refused('write to the tree', lambda: open('/box/x', 'w'), (errno.EROFS, errno.EACCES))
refused('write to /usr', lambda: open('/usr/x', 'w'), (errno.EROFS, errno.EACCES))
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0: raise OSError(ctypes.get_errno(), '')
for family in (1, 2, 10, 16, 17, 38, 40):
    refused('socket of family %d' % family, lambda: call(41, family, 2, 0), (errno.EPERM,))
refused('unshare', lambda: call(272, 0x10000000), (errno.EPERM,))
refused('clone into a namespace', lambda: call(56, 0x10000011, 0, 0, 0, 0), (errno.EPERM,))
refused('clone3', lambda: call(435, 0, 0), (errno.ENOSYS,))
refused('mount', lambda: call(165, b'x', b'/tmp', b'tmpfs', 0, 0), (errno.EPERM,))
print(', '.join(found) or 'closed')
)";

constexpr char kEatMemory[] = "block = bytearray(256 << 20)\nprint(len(block))\n";

absl::Status Open(absl::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat("sandbox: this machine's jail does not hold: ", what,
                   "; nothing is run here until it does (docs/sandbox.md)"));
}

}  // namespace

absl::Status TestJail(Sandbox* sandbox) {
  SandboxProgram program;
  program.python_source = kDoors;
  program.limits.cpu_ms = 20000;
  absl::StatusOr<SandboxReport> report = sandbox->Run(program);
  if (!report.ok()) return absl::FailedPreconditionError(report.status().message());
  if (report->ending != SandboxEnding::kExited || report->stdout_bytes != "closed\n") {
    return Open(absl::StrCat(SandboxEndingName(report->ending), ", ", report->stdout_bytes,
                             report->stderr_bytes));
  }
  program.python_source = kEatMemory;
  program.limits.memory_bytes = int64_t{64} << 20;
  report = sandbox->Run(program);
  if (!report.ok()) return absl::FailedPreconditionError(report.status().message());
  if (report->ending != SandboxEnding::kMemoryLimit) {
    return Open(absl::StrCat("a program went beyond its memory limit and ended as ",
                             SandboxEndingName(report->ending)));
  }
  return absl::OkStatus();
}

}  // namespace hone
