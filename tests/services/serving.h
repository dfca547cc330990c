// SPDX-License-Identifier: Apache-2.0
//
// Servers for tests: on a unix socket in a directory of the test's own, gone at the end.
#ifndef HONE_TESTS_SERVICES_SERVING_H_
#define HONE_TESTS_SERVICES_SERVING_H_

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "services/rpc/server.h"

namespace hone {

class TestDirectory {
 public:
  TestDirectory() {
    path_ = ::testing::TempDir() + "/hone-XXXXXX";
    EXPECT_NE(::mkdtemp(path_.data()), nullptr);
  }
  ~TestDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TestDirectory(const TestDirectory&) = delete;
  std::string operator/(const std::string& name) const { return absl::StrCat(path_, "/", name); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Serves on a socket that stays the same over restarts.
class Serving {
 public:
  explicit Serving(std::vector<rpc::ServedService> services) : services_(std::move(services)) {
    Start();
  }
  void Start() {
    auto server = rpc::Server::Start({absl::StrCat("unix:", directory_ / "s")}, services_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  // Breaks all connections off.
  void Kill() { server_.reset(); }
  // Lets running calls end.
  void Stop(absl::Duration grace) { server_->Shutdown(grace); }
  std::string address() const { return absl::StrCat("unix:", directory_ / "s"); }

 private:
  TestDirectory directory_;
  std::vector<rpc::ServedService> services_;
  std::unique_ptr<rpc::Server> server_;
};

}  // namespace hone

#endif  // HONE_TESTS_SERVICES_SERVING_H_
