// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/backend.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/kernels/cpu/cpu_backends.h"

namespace hone::kernels {
namespace {

// Raised when a kernel's bits change: trajectories of another version are refused by name.
constexpr int kKernelSetVersion = 2;

struct Entry {
  std::string name;
  const KernelTable<float>* table;
  bool runs_here;
  std::string why_not;
};

// Best first; the first that runs is "auto".
std::vector<Entry> Entries() {
  std::vector<Entry> out;
  for (const CpuBackend& cpu : CpuBackends()) {
    out.push_back({cpu.table->name, cpu.table, cpu.why_not.empty(), cpu.why_not});
  }
  out.push_back({"reference", &ReferenceTable(), true, ""});
  return out;
}

std::string Describe(const std::vector<Entry>& entries) {
  return absl::StrJoin(entries, ", ", [](std::string* out, const Entry& entry) {
    absl::StrAppend(out, entry.name);
    if (!entry.runs_here) absl::StrAppend(out, " (not on this machine: ", entry.why_not, ")");
  });
}

// A short name is the last part of the full one: "avx2" is "cpu/avx2".
bool Matches(absl::string_view name, const Entry& entry) {
  return name == entry.name || absl::StrCat("cpu/", name) == entry.name;
}

}  // namespace

std::vector<BackendInfo> ListBackends() {
  std::vector<BackendInfo> out;
  for (const Entry& entry : Entries()) out.push_back({entry.name, entry.runs_here, entry.why_not});
  return out;
}

absl::StatusOr<Backend> FindBackend(absl::string_view name) {
  const std::vector<Entry> entries = Entries();
  const bool best = name == "auto" || name == "cpu";
  for (const Entry& entry : entries) {
    if (best ? !entry.runs_here : !Matches(name, entry)) continue;
    if (!entry.runs_here) {
      return absl::FailedPreconditionError(
          absl::StrCat("backend ", entry.name, " cannot run on this machine: ", entry.why_not,
                       "; available: ", Describe(entries)));
    }
    Backend backend;
    backend.name = entry.name;
    backend.id = absl::StrCat(entry.name, " gcc-", __VERSION__, " kernels-", kKernelSetVersion);
    backend.device = &HostDevice();
    backend.table = entry.table;
    return backend;
  }
  return absl::NotFoundError(absl::StrCat("there is no backend named \"", name,
                                          "\"; use auto or one of: ", Describe(entries)));
}

}  // namespace hone::kernels
