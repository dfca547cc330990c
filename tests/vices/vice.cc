// SPDX-License-Identifier: Apache-2.0
#include "tests/vices/vice.h"

#include "absl/strings/str_cat.h"
#include "tests/vices/leftovers.h"

namespace hone {

const char kTools[] = R"(
import ctypes, errno, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[
        ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return errno.errorcode[ctypes.get_errno()] if result < 0 else result
def attempt(f, *arguments):
    try: return f(*arguments)
    except OSError as e: return errno.errorcode[e.errno]
)";

SandboxLimits Short() {
  SandboxLimits limits;
  limits.cpu_ms = 100;
  limits.wall_ms = 5000;
  limits.memory_bytes = 64 << 20;
  return limits;
}

void ViceTest::Expect(const std::vector<Vice>& vices) {
  for (const Vice& vice : vices) {
    SCOPED_TRACE(vice.name);
    const Footprint before = SettledFootprint();
    SandboxProgram program = Python(absl::StrCat(kTools, vice.source));
    program.limits = vice.limits;
    const SandboxReport report = Run(program);
    const std::string complaint = report.stderr_bytes.substr(0, 2000);
    EXPECT_STREQ(SandboxEndingName(report.ending), SandboxEndingName(vice.ending)) << complaint;
    EXPECT_EQ(report.stdout_bytes, vice.out) << complaint;
    const int64_t wall_ms = vice.limits.wall_ms > 0 ? vice.limits.wall_ms : 13000;
    EXPECT_LT(report.wall_us, wall_ms * 1000 + 2000000);
    const Footprint after = SettledFootprint();
    EXPECT_EQ(before.ToString(), after.ToString());
  }
}

}  // namespace hone
