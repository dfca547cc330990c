// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/event_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "policy/hash.h"
#include "services/trainer/run_directory.h"

namespace hone {
namespace {

std::string Hex(const std::string& bytes) {
  std::string hex;
  char digits[3];
  for (const char byte : bytes) {
    std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned>(byte) & 0xff);
    hex += digits;
  }
  return hex;
}

// Takes a file apart; "" for a record whose lengths or checksums do not hold.
std::vector<std::string> Messages(const std::string& file) {
  const auto masked = [](const char* data, size_t bytes) {
    const uint32_t crc = Crc32c(data, bytes);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  };
  const auto word = [](const char* at) {
    uint32_t value;
    std::memcpy(&value, at, 4);
    return value;
  };
  std::vector<std::string> messages;
  for (size_t at = 0; at < file.size();) {
    uint64_t length = 0;
    if (file.size() - at < 16) return {""};
    std::memcpy(&length, &file[at], 8);
    if (length > file.size() - at - 16 || word(&file[at + 8]) != masked(&file[at], 8) ||
        word(&file[at + 12 + length]) != masked(&file[at + 12], length)) {
      return {""};
    }
    messages.push_back(file.substr(at + 12, length));
    at += 16 + length;
  }
  return messages;
}

// The first record of any event file, as TensorFlow writes it at second 1.
TEST(EventFile, BeginsWithItsVersionAndASessionStart) {
  const auto messages = Messages(EventFileStart(1.0, 7));
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(Hex(messages[0]), "09000000000000f03f10001a0d627261696e2e4576656e743a32");
  EXPECT_EQ(Hex(messages[1]), "09000000000000f03f10073a020801");
}

TEST(EventFile, HoldsAScalarForEachFigureThatIsANumber) {
  const auto messages = Messages(EventOf(1.0, 300, {{"a/b", 0.5}, {"n", NAN}}));
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(Hex(messages[0]), "09000000000000f03f10ac022a0c0a0a0a03612f62150000003f");
}

TEST(EventFile, StandsInTheRunsFolderWithARecordForEachIteration) {
  std::string folder = (std::filesystem::temp_directory_path() / "hone_events_XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  {
    auto run = RunDirectory::Create(folder + "/run");
    ASSERT_TRUE(run.ok()) << run.status();
    for (int64_t i = 1; i <= 3; ++i) {
      ASSERT_TRUE((*run)->AppendMetrics(i, {{"reward/mean", 0.25 * static_cast<double>(i)}}).ok());
    }
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/run")) {
    if (entry.path().filename().string().rfind("events.out.tfevents.", 0) != 0) continue;
    ++files;
    std::ifstream in(entry.path(), std::ios::binary);
    EXPECT_EQ(Messages(std::string(std::istreambuf_iterator<char>(in), {})).size(), 5u);
  }
  EXPECT_EQ(files, 1);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace hone
