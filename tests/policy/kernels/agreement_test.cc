// SPDX-License-Identifier: Apache-2.0
//
// Every float backend against the reference, and against itself.
#include "tests/policy/kernels/agreement_cases.h"

namespace hone::kernels {
namespace {

double Difference(const std::vector<double>& want, const std::vector<double>& got) {
  if (want.size() != got.size()) return INFINITY;
  double largest = 0, difference = 0;
  for (double x : want) largest = std::max(largest, std::abs(x));
  for (size_t i = 0; i < want.size(); ++i) {
    const double d = std::abs(want[i] - got[i]);
    difference = std::isnan(d) ? INFINITY : std::max(difference, d);
  }
  return largest > 0 ? difference / largest : difference;
}

TEST(EveryBackend, AgreesWithTheReferenceWithinTheToleranceOfTheOp) {
  for (const BackendInfo& info : ListBackends()) {
    if (!info.runs_here || info.name == "reference") continue;
    const absl::StatusOr<Backend> backend = FindBackend(info.name);
    ASSERT_TRUE(backend.ok());
    for (const AgreementCase& c : AgreementCases()) {
      for (int64_t size : OddSizes()) {
        const Outputs want = c.run(ReferenceTable(), size), got = c.run(*backend->table, size);
        ASSERT_EQ(want.size(), got.size());
        for (size_t i = 0; i < want.size(); ++i) {
          EXPECT_LE(Difference(want[i], got[i]), c.tolerance)
              << info.name << " " << c.op << " size " << size << " output " << i;
        }
      }
    }
  }
}

TEST(EveryBackend, GivesTheSameBitsWhenCalledTwice) {
  for (const BackendInfo& info : ListBackends()) {
    if (!info.runs_here) continue;
    const absl::StatusOr<Backend> backend = FindBackend(info.name);
    for (const AgreementCase& c : AgreementCases()) {
      EXPECT_EQ(c.run(*backend->table, 65), c.run(*backend->table, 65)) << info.name << " " << c.op;
    }
  }
}

}  // namespace
}  // namespace hone::kernels
