// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/run_log.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tests/services/serving.h"

namespace hone {
namespace {

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(RunLog, WritesALineWithTimeProcessAndLevel) {
  TestDirectory directory;
  RunLog log(directory / "train.log");
  log.Write(LogLevel::kInfo, "began");
  RunLog(directory / "train.log").Write(LogLevel::kError, "failed");
  EXPECT_TRUE(std::regex_match(
      ReadAll(directory / "train.log"),
      std::regex(R"((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \d+ info began\n))"
                 R"((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \d+ error failed\n))")))
      << ReadAll(directory / "train.log");
}

TEST(RunLog, EscapesWhatATerminalOrAParserCouldBeFooledBy) {
  EXPECT_EQ(LogText("a\n2026-11-28T00:00:00.000Z 1 error forged"),
            "a\\n2026-11-28T00:00:00.000Z 1 error forged");
  EXPECT_EQ(LogText(absl::string_view("\x1b[2J\0\x7f\xff\xc2\x9b\\t\t\r", 13)),
            "\\x1b[2J\\x00\\x7f\\xff\\xc2\\x9b\\\\t\\t\\x0d");
}

TEST(RunLog, CutsALongLineVisibly) {
  const std::string cut = LogText(std::string(10 << 20, '\xff'));
  EXPECT_LT(cut.size(), RunLog::kMaxLineBytes + 64);
  EXPECT_TRUE(absl::EndsWith(cut, "... (10485760 bytes)"));
}

TEST(RunLog, KeepsTheNewestFileAndOneBeforeIt) {
  TestDirectory directory;
  {
    RunLog log(directory / "train.log", 1000);
    for (int i = 0; i < 100; ++i) log.Write(LogLevel::kInfo, absl::StrCat("line ", i));
  }
  // Goes on where it was, and turns over when it is full.
  RunLog(directory / "train.log", 1000).Write(LogLevel::kInfo, std::string(960, 'x'));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    EXPECT_LE(entry.file_size(), 1000u + 64) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 2);
  EXPECT_TRUE(absl::StrContains(ReadAll(directory / "train.log.1"), "line 99\n"));
}

TEST(RunLog, CountsLinesThatCannotBeWrittenAndSaysSoLater) {
  TestDirectory directory;
  const std::string folder = directory / "logs";
  RunLog log(folder + "/train.log");
  log.Write(LogLevel::kInfo, "one");
  log.Write(LogLevel::kInfo, "two");
  std::filesystem::create_directory(folder);
  log.Write(LogLevel::kInfo, "three");
  const std::string text = ReadAll(folder + "/train.log");
  EXPECT_TRUE(absl::StrContains(text, "warning 2 lines could not be written\n")) << text;
  EXPECT_TRUE(absl::StrContains(text, "info three\n"));
}

TEST(RunLog, WritesThroughNoSymlink) {
  TestDirectory directory;
  std::ofstream(directory / "precious") << "kept";
  std::filesystem::create_symlink(directory / "precious", directory / "train.log");
  RunLog(directory / "train.log").Write(LogLevel::kInfo, "line");
  EXPECT_EQ(ReadAll(directory / "precious"), "kept");
}

}  // namespace
}  // namespace hone
