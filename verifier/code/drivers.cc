// SPDX-License-Identifier: Apache-2.0
#include "verifier/code/drivers.h"

#include <mutex>
#include <string>

#include "absl/status/statusor.h"

namespace hone {
namespace {

// Reads a program, writes what runs it.
constexpr char kCompiler[] = R"(
import binascii, marshal, os, sys
code = compile(sys.stdin.buffer.read(), "<driver>", "exec", dont_inherit=True)
text = binascii.b2a_base64(marshal.dumps(code), newline=False).decode()
with os.fdopen(3, "w") as result:
    result.write("import binascii, marshal\n"
                 "exec(marshal.loads(binascii.a2b_base64('%s')))\n" % text)
)";

}  // namespace

std::string CompiledDrivers::Get(Sandbox& sandbox, const std::string& source,
                                 std::string* compiled) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!compiled->empty()) return *compiled;
  SandboxProgram compiler;
  compiler.python_source = kCompiler;
  compiler.stdin_bytes = source;
  const absl::StatusOr<SandboxReport> report = sandbox.Run(compiler);
  const bool works = report.ok() && report->ending == SandboxEnding::kExited &&
                     report->exit_code == 0 && !report->result_bytes.empty();
  if (!works) return source;
  *compiled = report->result_bytes;
  return *compiled;
}

}  // namespace hone
