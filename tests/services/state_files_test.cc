// SPDX-License-Identifier: Apache-2.0
#include "services/convert/state_files.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "gtest/gtest.h"
#include "hone/v1/policy_service.pb.h"
#include "policy/hash.h"
#include "services/convert/limits.h"
#include "tests/services/serving.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using convert::ReadStateFiles;
using convert::StateFilesWriter;

void Write(const std::string& path, const std::string& bytes) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

v1::FileChunk Chunk(const std::string& name, const std::string& data, int64_t offset = 0,
                    int64_t total = -1) {
  v1::FileChunk chunk;
  chunk.set_name(name);
  chunk.set_offset_bytes(offset);
  chunk.set_total_bytes(total < 0 ? static_cast<int64_t>(data.size()) : total);
  chunk.set_data(data);
  chunk.set_crc32c(Crc32c(data.data(), data.size()));
  return chunk;
}

v1::StateEnd End(int files, int64_t bytes) {
  v1::StateEnd end;
  end.set_files(files);
  end.set_total_bytes(bytes);
  return end;
}

TEST(StateFiles, ArriveByteForByteWithEmptyAndNestedAndLargeOnes) {
  TestDirectory from, to;
  std::string large(static_cast<size_t>(2 * convert::kFileChunkBytes + 5), '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 2654435761u >> 13);
  Write(from / "weights.bin", large);
  Write(from / "exact.bin", large.substr(0, static_cast<size_t>(convert::kFileChunkBytes)));
  Write(from / "empty", "");
  Write(from / "reference/model.safetensors", "abc");
  StateFilesWriter files(to.path() + "/", 1 << 30);
  v1::StateEnd end;
  ASSERT_TRUE(
      ReadStateFiles(
          from.path(), [&](const v1::FileChunk& chunk) { return files.Add(chunk).ok(); }, &end)
          .ok());
  EXPECT_EQ(end.files(), 4);
  ASSERT_TRUE(files.Finish(end).ok());
  for (const char* name : {"weights.bin", "exact.bin", "empty", "reference/model.safetensors"}) {
    EXPECT_EQ(Read(to / name), Read(from / name)) << name;
  }
}

TEST(StateFiles, ANameThatLeavesTheDirectoryIsRefused) {
  TestDirectory to;
  for (const char* name : {"../x", "/etc/x", "a/../../x", "..", ".", "", "a//b", "a/", "a b",
                           "a\\b", "a/b/c/d/e", "x\n"}) {
    StateFilesWriter files(to.path(), 1000);
    EXPECT_EQ(files.Add(Chunk(name, "evil")).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_TRUE(fs::is_empty(to.path()));
}

TEST(StateFiles, HolesAlteredBytesAndLiesAboutSizesAreRefused) {
  TestDirectory to;
  const auto refused = [&](std::vector<v1::FileChunk> chunks) {
    StateFilesWriter files(to.path(), 1000);
    absl::Status status;
    for (const v1::FileChunk& chunk : chunks) {
      if (status.ok()) status = files.Add(chunk);
    }
    return status.code();
  };
  const absl::StatusCode invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(refused({Chunk("a", "xx", 0, 2)}), absl::StatusCode::kOk);
  EXPECT_EQ(refused({Chunk("a", "xx", 1, 4)}), invalid);
  EXPECT_EQ(refused({Chunk("a", "xx", 0, 6), Chunk("a", "xx", 3, 6)}), invalid);
  EXPECT_EQ(refused({Chunk("a", "xx", 0, 6), Chunk("b", "xx", 0, 2)}), invalid);
  EXPECT_EQ(refused({Chunk("a", "xx", 0, 6), Chunk("a", "xx", 2, 7)}), invalid);
  EXPECT_EQ(refused({Chunk("a", "xxx", 0, 2)}), invalid);
  EXPECT_EQ(refused({Chunk("a", "", 0, 2)}), invalid);
  EXPECT_EQ(refused({Chunk("a", "xx"), Chunk("a", "xx")}), invalid);
  EXPECT_EQ(refused({Chunk("a", "xx", 0, -7)}), absl::StatusCode::kOk);  // -1: the default
  EXPECT_EQ(refused({Chunk("a", std::string((1 << 20) + 1, 'x'))}), invalid);
  EXPECT_EQ(refused({Chunk("a", std::string(1001, 'x'))}), absl::StatusCode::kResourceExhausted);
  v1::FileChunk altered = Chunk("a", "xx");
  altered.set_data("xy");
  EXPECT_EQ(refused({altered}), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(fs::is_empty(to.path())) << "what was not finished is removed";
}

TEST(StateFiles, AStateThatIsNotWholeIsDataLossAndLeavesNothing) {
  TestDirectory to;
  const auto finish = [&](const v1::FileChunk& chunk, const v1::StateEnd& end) {
    StateFilesWriter files(to.path(), 1000);
    EXPECT_TRUE(files.Add(chunk).ok());
    return files.Finish(end).code();
  };
  EXPECT_EQ(finish(Chunk("d/a", "xx", 0, 3), End(1, 3)), absl::StatusCode::kDataLoss);
  EXPECT_EQ(finish(Chunk("d/a", "xx"), End(2, 2)), absl::StatusCode::kDataLoss);
  EXPECT_EQ(finish(Chunk("d/a", "xx"), End(1, 3)), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(fs::is_empty(to.path()));
  EXPECT_EQ(finish(Chunk("d/a", "xx"), End(1, 2)), absl::StatusCode::kOk);
  EXPECT_EQ(Read(to / "d/a"), "xx");
}

TEST(StateFiles, WhatCannotBeSentIsNamed) {
  v1::StateEnd end;
  const auto read = [&](const std::string& path) {
    return ReadStateFiles(
        path, [](const v1::FileChunk&) { return true; }, &end);
  };
  EXPECT_EQ(read("/no/such/place").code(), absl::StatusCode::kNotFound);
  TestDirectory directory;
  Write(directory / "a b", "x");
  EXPECT_EQ(read(directory.path()).code(), absl::StatusCode::kFailedPrecondition);
  TestDirectory links;
  fs::create_directory_symlink("/etc", links / "etc");
  EXPECT_EQ(read(links.path()).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(ScratchDirectory, IsGoneWithEverythingInIt) {
  TestDirectory parent;
  {
    auto scratch = convert::ScratchDirectory::Make(parent.path());
    ASSERT_TRUE(scratch.ok()) << scratch.status();
    Write((*scratch)->path() + "/deep/file", "x");
    EXPECT_FALSE(fs::is_empty(parent.path()));
  }
  EXPECT_TRUE(fs::is_empty(parent.path()));
  EXPECT_FALSE(convert::ScratchDirectory::Make("/no/such/place").ok());
}

}  // namespace
}  // namespace hone
