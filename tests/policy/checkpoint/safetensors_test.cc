// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/safetensors.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/policy/checkpoint/test_state.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

// A file of a header and `buffer_bytes` zeros.
std::string FileOf(const std::string& header, size_t buffer_bytes) {
  const uint64_t size = header.size();
  std::string file(reinterpret_cast<const char*>(&size), sizeof(size));
  return file + header + std::string(buffer_bytes, '\0');
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

TEST(Safetensors, ReadsWhatTheFormatAllows) {
  const auto header = ParseSafetensors(FileOf("{\"__metadata__\":{\"format\":\"pt\",\"x\":\"y\"}," +
                                                  Entry("b", "F32", "[2,1]", "[4,12]") + "," +
                                                  Entry("a", "BF16", "[2]", "[0,4]") + "," +
                                                  Entry("none", "F32", "[3,0]", "[12,12]") + "," +
                                                  Entry("scalar", "U8", "[]", "[12,13]") + "}   ",
                                              13));
  ASSERT_TRUE(header.ok()) << header.status();
  ASSERT_EQ(header->tensors.size(), 4u);
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[1].name, "b");
  EXPECT_EQ(header->tensors[1].shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(header->tensors[1].elements, 2);
  EXPECT_EQ(header->tensors[2].elements, 0);
  EXPECT_EQ(header->tensors[3].elements, 1);
  EXPECT_EQ(header->metadata.at("format"), "pt");
  EXPECT_TRUE(ParseSafetensors(FileOf("{}", 0)).ok());
}

TEST(Safetensors, KnowsTheSizeOfEveryType) {
  const struct {
    const char* dtype;
    int bytes_of_eight;
  } types[] = {{"BOOL", 8},    {"U8", 8},   {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8},
               {"F8_E8M0", 8}, {"I16", 16}, {"U16", 16}, {"F16", 16},    {"BF16", 16},
               {"I32", 32},    {"U32", 32}, {"F32", 32}, {"F64", 64},    {"I64", 64},
               {"U64", 64},    {"C64", 64}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}};
  for (const auto& [dtype, bytes] : types) {
    const std::string header =
        "{" + Entry("t", dtype, "[8]", absl::StrCat("[0,", bytes, "]")) + "}";
    EXPECT_TRUE(ParseSafetensors(FileOf(header, static_cast<size_t>(bytes))).ok()) << dtype;
    EXPECT_FALSE(ParseSafetensors(FileOf(header, static_cast<size_t>(bytes) + 1)).ok()) << dtype;
  }
}

struct Hostile {
  const char* name;
  std::string file;
  const char* words;
};

std::string One(const std::string& entry, size_t bytes) {
  return FileOf("{" + entry + "}", bytes);
}

std::vector<Hostile> HostileFiles() {
  const std::string good = Entry("a", "F32", "[1]", "[0,4]");
  std::string huge = FileOf("{}", 0);
  huge[7] = '\x7f';
  const std::string many(17, '1');
  std::string ranks = "[1";
  for (int i = 0; i < 16; ++i) ranks += ",1";
  ranks += "]";
  return {
      {"empty", "", "8 of its length"},
      {"seven bytes", std::string(7, '\0'), "8 of its length"},
      {"no header", std::string(8, '\0'), "does not begin"},
      {"length beyond the file", FileOf("{}", 0).substr(0, 9), "claims 2 bytes"},
      {"length of exabytes", huge, "claims"},
      {"a list", FileOf("[]", 0), "does not begin"},
      {"leading blank", FileOf(" {}", 0), "does not begin"},
      {"cut JSON", FileOf("{\"a\":", 0), "not JSON"},
      {"bytes behind the JSON", FileOf("{}x", 0), "not JSON"},
      {"not UTF-8", FileOf("{\"\xff\":1}", 0), "not JSON"},
      {"a comment", FileOf("{/**/}", 0), "not JSON"},
      {"hole at the front", One(Entry("a", "F32", "[1]", "[4,8]"), 8), "hole"},
      {"hole", FileOf("{" + good + "," + Entry("b", "F32", "[1]", "[8,12]") + "}", 12), "hole"},
      {"overlap", FileOf("{" + good + "," + Entry("b", "F32", "[1]", "[2,6]") + "}", 6), "overlap"},
      {"the same bytes twice",
       FileOf("{" + good + "," + Entry("b", "F32", "[1]", "[0,4]") + "}", 4), "overlap"},
      {"trailing bytes", One(good, 5), "the file has 5"},
      {"truncated", One(good, 3), "truncated"},
      {"offsets reversed", One(Entry("a", "F32", "[1]", "[4,0]"), 4), "data_offsets"},
      {"offsets and shape disagree", One(Entry("a", "F32", "[2]", "[0,4]"), 4), "take 8 bytes"},
      {"duplicate name", FileOf("{" + good + "," + good + "}", 4), "twice"},
      {"duplicate metadata", FileOf("{\"__metadata__\":{},\"__metadata__\":{}}", 0), "twice"},
      {"duplicate metadata entry", FileOf("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0),
       "twice"},
      {"metadata number", FileOf("{\"__metadata__\":{\"a\":1}}", 0), "where the format has none"},
      {"metadata null", FileOf("{\"__metadata__\":null}", 0), "where the format has none"},
      {"unknown dtype", One(Entry("a", "F33", "[1]", "[0,4]"), 4), "F33"},
      {"dtype number", FileOf(R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,4]}})", 4),
       "where the format"},
      {"dtype twice",
       FileOf(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
       "dtype twice"},
      {"offsets twice",
       FileOf(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1]}})", 1),
       "data_offsets twice"},
      {"no shape", FileOf(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), "lacks"},
      {"no offsets", FileOf(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "lacks"},
      {"one offset", One(Entry("a", "F32", "[1]", "[0]"), 4), "lacks one of its data_offsets"},
      {"three offsets", One(Entry("a", "F32", "[1]", "[0,4,4]"), 4), "more than two"},
      {"unknown key", FileOf(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", 1),
       "unknown key"},
      {"negative extent", One(Entry("a", "F32", "[-1]", "[0,4]"), 4), "negative"},
      {"fractional extent", One(Entry("a", "F32", "[1.0]", "[0,4]"), 4), "1.0"},
      {"nested shape", One(Entry("a", "F32", "[[1]]", "[0,4]"), 4), "a list"},
      {"extent over 63 bits", One(Entry("a", "U8", "[9223372036854775808]", "[0,4]"), 4), "extent"},
      {"offset over 64 bits", One(Entry("a", "U8", "[1]", "[0,18446744073709551616]"), 1),
       "number"},
      {"product overflows", One(Entry("a", "U8", "[4294967296,4294967296]", "[0,0]"), 0),
       "overflows"},
      {"bits overflow", One(Entry("a", "F64", "[576460752303423488]", "[0,0]"), 0), "overflows"},
      {"half a byte", One(Entry("a", "F4", "[1]", "[0,1]"), 1), "inside a byte"},
      {"seventeen dimensions", One(Entry("a", "U8", ranks, "[0,1]"), 1), "dimensions"},
      {"an entry that is a number", FileOf("{\"a\":1}", 0), "where the format has none"},
      {"deep", FileOf("{\"a\":" + std::string(100000, '['), 0), "a list"},
  };
}

TEST(Safetensors, RefusesEveryHostileFileAndSaysWhy) {
  for (const Hostile& hostile : HostileFiles()) {
    const auto header = ParseSafetensors(hostile.file);
    ASSERT_FALSE(header.ok()) << hostile.name;
    EXPECT_EQ(header.status().code(), absl::StatusCode::kDataLoss) << hostile.name;
    EXPECT_THAT(std::string(header.status().message()), HasSubstr(hostile.words)) << hostile.name;
  }
}

TEST(Safetensors, SurvivesRandomChangesOfAGoodFile) {
  const std::string good =
      FileOf("{\"__metadata__\":{\"format\":\"pt\"}," + Entry("a", "F32", "[1,2]", "[0,8]") + "," +
                 Entry("b", "BF16", "[3]", "[8,14]") + "}",
             14);
  std::mt19937 random(5);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string file = good;
    for (int change = static_cast<int>(random() % 3); change >= 0; --change) {
      file[random() % file.size()] =
          static_cast<char>(random() % 4 == 0 ? random() : '0' + random() % 10);
    }
    const auto header = ParseSafetensors(file);
    if (!header.ok()) continue;
    ++accepted;
    for (const SafetensorsTensor& tensor : header->tensors) {
      ASSERT_LE(header->buffer_begin + tensor.end, file.size());
    }
  }
  EXPECT_GT(accepted, 100);
}

TEST(Safetensors, RefusesTheSameFilesOnDisk) {
  TestFolder folder;
  for (const Hostile& hostile : HostileFiles()) {
    const std::string path = folder.path() + "/x.safetensors";
    WriteText(path, hostile.file);
    const auto file = SafetensorsFile::Open(RealFileSystem(), path);
    ASSERT_EQ(file.status().code(), absl::StatusCode::kDataLoss) << hostile.name;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(path)) << hostile.name;
  }
  EXPECT_EQ(SafetensorsFile::Open(RealFileSystem(), folder.path() + "/none").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Safetensors, RefusesAHeaderOverTheLimitWithoutReadingIt) {
  TestFolder folder;
  const std::string path = folder.path() + "/big";
  const uint64_t size = 100'000'001;
  WriteText(path, std::string(reinterpret_cast<const char*>(&size), 8) + "{");
  ASSERT_EQ(truncate(path.c_str(), 100'000'100), 0);  // sparse
  const auto file = SafetensorsFile::Open(RealFileSystem(), path);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("100000001"));
}

TEST(Safetensors, WritesWideTypesFirstThenByNameWithAPaddedHeader) {
  TestFolder folder;
  const std::string path = folder.path() + "/x";
  const std::vector<float> values = {1.0f, -2.5f, 0.0f};
  const auto digest = WriteSafetensors(RealFileSystem(), path,
                                       {{"c", {3}, DType::kBFloat16, values.data()},
                                        {"a", {1, 3}, DType::kBFloat16, values.data()},
                                        {"b", {}, DType::kFloat32, values.data() + 1},
                                        {"none", {0}, DType::kFloat32, values.data()}});
  ASSERT_TRUE(digest.ok()) << digest.status();
  const std::string bytes = ReadText(path);
  EXPECT_EQ(digest->bytes, bytes.size());
  EXPECT_EQ(digest->sha256, Sha256Hex(bytes));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  EXPECT_EQ(header_bytes % 8, 0u);
  EXPECT_EQ(bytes.substr(8, 32), "{\"__metadata__\":{\"format\":\"pt\"},");
  const auto header = ParseSafetensors(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  std::vector<std::string> names;
  for (const SafetensorsTensor& tensor : header->tensors) names.push_back(tensor.name);
  EXPECT_THAT(names, ::testing::ElementsAre("b", "none", "a", "c"));
}

TEST(Safetensors, GivesBackTheValuesItWrote) {
  TestFolder folder;
  const std::string path = folder.path() + "/x";
  // More than one chunk, at a length that is no multiple of anything.
  std::vector<float> values(300'007);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = static_cast<uint32_t>(i * 40503u) << 16;
    values[i] = std::bit_cast<float>(bits);
    if (std::isnan(values[i])) values[i] = -0.0f;
  }
  const int64_t count = static_cast<int64_t>(values.size());
  ASSERT_TRUE(WriteSafetensors(RealFileSystem(), path,
                               {{"half", {count}, DType::kBFloat16, values.data()},
                                {"full", {count}, DType::kFloat32, values.data()}})
                  .ok());
  const auto file = SafetensorsFile::Open(RealFileSystem(), path);
  ASSERT_TRUE(file.ok()) << file.status();
  for (const char* name : {"half", "full"}) {
    const SafetensorsTensor* tensor = file->Find(name);
    ASSERT_NE(tensor, nullptr);
    std::vector<float> read(values.size(), 7.0f);
    ASSERT_TRUE(file->ReadFloats(*tensor, 0, count, read.data()).ok());
    EXPECT_EQ(std::memcmp(read.data(), values.data(), read.size() * 4), 0) << name;
    ASSERT_TRUE(file->ReadFloats(*tensor, 299'999, 8, read.data()).ok());
    EXPECT_EQ(std::memcmp(read.data(), values.data() + 299'999, 32), 0) << name;
  }
  EXPECT_EQ(file->Find("other"), nullptr);
}

TEST(Safetensors, RefusesToRoundToBFloat16) {
  TestFolder folder;
  const std::vector<float> values = {1.0f, 1.0f + 0x1p-20f};
  const auto digest = WriteSafetensors(RealFileSystem(), folder.path() + "/x",
                                       {{"w", {2}, DType::kBFloat16, values.data()}});
  EXPECT_EQ(digest.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(digest.status().message()), HasSubstr("element 1 of w"));
}

TEST(Safetensors, ReadsEveryFloat16Exactly) {
  TestFolder folder;
  std::string buffer(65536 * 2, '\0');
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    std::memcpy(&buffer[i * 2], &bits, 2);
  }
  std::string file = FileOf("{" + Entry("h", "F16", "[65536]", "[0,131072]") + "}", 0) + buffer;
  WriteText(folder.path() + "/x", file);
  const auto opened = SafetensorsFile::Open(RealFileSystem(), folder.path() + "/x");
  ASSERT_TRUE(opened.ok()) << opened.status();
  std::vector<float> values(65536);
  ASSERT_TRUE(opened->ReadFloats(*opened->Find("h"), 0, 65536, values.data()).ok());
  for (int i = 0; i < 65536; ++i) {
    const int exponent = i >> 10 & 31, mantissa = i & 1023;
    const double sign = i & 0x8000 ? -1 : 1;
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(values[i]), mantissa != 0);
      EXPECT_EQ(std::isinf(values[i]), mantissa == 0);
      continue;
    }
    const double expected = exponent == 0 ? sign * std::ldexp(mantissa, -24)
                                          : sign * std::ldexp(1024 + mantissa, exponent - 25);
    ASSERT_EQ(values[i], expected) << i;
    ASSERT_EQ(std::signbit(values[i]), sign < 0) << i;
  }
}

TEST(Safetensors, NamesATypeItCannotTurnIntoFloats) {
  TestFolder folder;
  WriteText(folder.path() + "/x", One(Entry("w", "F8_E5M2", "[4]", "[0,4]"), 4));
  const auto file = SafetensorsFile::Open(RealFileSystem(), folder.path() + "/x");
  ASSERT_TRUE(file.ok());
  float values[4];
  const absl::Status status = file->ReadFloats(*file->Find("w"), 0, 4, values);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("F8_E5M2"));
}

}  // namespace
}  // namespace hone
