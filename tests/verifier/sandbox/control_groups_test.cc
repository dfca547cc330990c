// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/control_groups.h"

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

class GroupRootsTest : public ::testing::Test {
 protected:
  GroupRootsTest() : root_(::testing::TempDir() + "group-roots") {
    for (const char* folder : {"/memory/service/a", "/pids", "/cpu,cpuacct/x", "/unified/own"}) {
      fs::create_directories(root_ + folder);
    }
  }
  ~GroupRootsTest() override { fs::remove_all(root_); }

  std::string Mount(const std::string& fs_root, const std::string& folder,
                    const std::string& kind) const {
    return absl::StrCat("30 25 0:26 ", fs_root, " ", root_, folder,
                        " rw,relatime shared:9 - cgroup", kind, "\n");
  }

  const std::string root_;
};

TEST_F(GroupRootsTest, OfVersionOneAreThisProcesssOwnGroups) {
  const auto roots = FindGroupRoots(Mount("/", "/memory", " cgroup rw,memory") +
                                        Mount("/", "/pids", " cgroup rw,pids") +
                                        Mount("/", "/cpu,cpuacct", " cgroup rw,cpu,cpuacct"),
                                    "9:memory:/service/a\n8:pids:/\n7:cpu,cpuacct:/x\n0::/\n");
  ASSERT_TRUE(roots.ok()) << roots.status();
  EXPECT_FALSE(roots->version2);
  EXPECT_EQ(roots->folders, (std::vector<std::string>{root_ + "/memory/service/a", root_ + "/pids",
                                                      root_ + "/cpu,cpuacct/x"}));
}

TEST_F(GroupRootsTest, AreTheMountsWhereAContainerHidesThePath) {
  const auto roots = FindGroupRoots(Mount("/docker/abc", "/memory", " cgroup rw,memory") +
                                        Mount("/", "/pids", " cgroup rw,pids") +
                                        Mount("/", "/cpu,cpuacct", " cgroup rw,cpuacct"),
                                    "9:memory:/docker/abc\n8:pids:/not/there\n7:cpuacct:/\n");
  ASSERT_TRUE(roots.ok()) << roots.status();
  EXPECT_EQ(roots->folders[0], root_ + "/memory");
  EXPECT_EQ(roots->folders[1], root_ + "/pids");
}

TEST_F(GroupRootsTest, AreThoseOfVersionTwoWhereOneIsIncomplete) {
  const auto roots = FindGroupRoots(
      Mount("/", "/memory", " cgroup rw,memory") + Mount("/", "/unified", "2 cgroup2 rw"),
      "9:memory:/\n0::/own\n");
  ASSERT_TRUE(roots.ok()) << roots.status();
  EXPECT_TRUE(roots->version2);
  EXPECT_EQ(roots->folders, std::vector<std::string>{root_ + "/unified/own"});
}

TEST_F(GroupRootsTest, AreNotFoundWhereNothingIsMounted) {
  EXPECT_EQ(FindGroupRoots("", "0::/\n").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(FindGroupRoots("nonsense - \n - cgroup\n", ":\n::\n").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace hone
