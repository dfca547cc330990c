// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/event_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/hash.h"
#include "services/trainer/group_events.h"
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
  EventRecord record;
  record.figures = {{"a/b", 0.5}, {"n", NAN}};
  const auto messages = Messages(EventOf(1.0, 300, record));
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(Hex(messages[0]), "09000000000000f03f10ac022a0c0a0a0a03612f62150000003f");
}

// Checksums that were computed by TensorFlow's own writer.
TEST(EventFile, ItsChecksumsAreTensorFlows) {
  EXPECT_EQ(Crc32c("123456789", 9), 0xe3069283u);
  std::string version(9, '\0');
  version[0] = 0x09;
  version +=
      "\x1a\x0d"
      "brain.Event:2";
  ASSERT_EQ(version.size(), 24u);
  const std::string record = TfRecord(version);
  EXPECT_EQ(Hex(record.substr(0, 12)), "1800000000000000a37f4b22");
  EXPECT_EQ(Hex(record.substr(36)), "eedf28a3");
}

TEST(EventFile, HoldsAHistogramWithItsBuckets) {
  EventRecord record;
  record.histograms["h"] = EventHistogram::Of({2, 2});
  record.histograms["none"] = EventHistogram::Of({NAN, INFINITY});
  const auto messages = Messages(EventOf(1.0, 3, record));
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(Hex(messages[0]),
            "09000000000000f03f1003"  // head
            "2a48"
            "0a46"
            "0a0168"
            "2a41"  // summary, value, tag, histo
            "090000000000000040"
            "110000000000000040"  // min, max
            "190000000000000040"
            "210000000000001040"  // num 2, sum 4
            "290000000000002040"  // sum of squares 8
            "32080000000000000040"
            "3a080000000000000040");  // up to 2: 2
}

TEST(EventFile, HoldsATextAsAStringTensorOfTheTextPlugin) {
  EventRecord record;
  record.texts["t"] = "hi";
  const auto messages = Messages(EventOf(1.0, 3, record));
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(Hex(messages[0]),
            "09000000000000f03f1003"
            "2a19"
            "0a17"
            "0a0174"  // summary, value, tag
            "4208"
            "0807"
            "1200"
            "42026869"  // tensor: string, a scalar, "hi"
            "4a08"
            "0a06"
            "0a0474657874");  // metadata: plugin "text"
}

TEST(EventHistogram, CountsEveryFigureOnceBetweenLeastAndGreatest) {
  std::vector<double> figures;
  for (int i = 0; i < 300; ++i) figures.push_back(i * 0.1 - 7);
  const EventHistogram of = EventHistogram::Of(figures);
  ASSERT_EQ(of.upper.size(), static_cast<size_t>(EventHistogram::kBuckets));
  EXPECT_EQ(of.upper.back(), of.max);
  double total = 0;
  for (const double count : of.counts) {
    EXPECT_NEAR(count, 10, 1);
    total += count;
  }
  EXPECT_EQ(total, 300);
  // A range of a few units in the last place has no thirty buckets.
  const EventHistogram narrow = EventHistogram::Of({1.0, std::nextafter(1.0, 2.0)});
  EXPECT_EQ(narrow.counts, std::vector<double>({2}));
  EXPECT_EQ(EventHistogram::Of({}).count, 0);
}

Group SampleGroup() {
  Group group;
  group.task.id = "a`b\nc";
  for (int i = 0; i < 3; ++i) {
    Trajectory one;
    one.id = absl::StrCat("id", i);
    one.reward.total = i == 1 ? -1 : i;
    one.advantage = 0.5 * i;
    one.entropy = {9, 0.25f, 0.5f};
    one.behaviour_logprobs = {9, -1, -2};
    one.segments.resize(2);
    one.segments[0].text = "why?";
    one.segments[1].kind = SegmentKind::kModel;
    one.segments[1].loss_mask = true;
    one.segments[1].first_token = 1;
    one.segments[1].token_count = 2;
    one.segments[1].text = "```\n<b>\x1b[31m\xff\xe2\x80\xae";
    group.trajectories.push_back(one);
  }
  return group;
}

TEST(GroupEvents, DistributionsAreOfSampledTokensAlone) {
  EventRecord record;
  AddDistributions({SampleGroup()}, &record);
  EXPECT_EQ(record.histograms.size(), 5u);
  EXPECT_EQ(record.histograms["distribution/reward"].sum, 1);
  EXPECT_EQ(record.histograms["distribution/advantage"].max, 1);
  EXPECT_EQ(record.histograms["distribution/completion_length"].sum, 6);
  EXPECT_EQ(record.histograms["distribution/entropy"].count, 6);
  EXPECT_EQ(record.histograms["distribution/entropy"].max, 0.5);
  EXPECT_EQ(record.histograms["distribution/logprob"].min, -2);
}

TEST(GroupEvents, SamplesShowHostileTextAsCodeAndSayWhatIsLeftOut) {
  Group group = SampleGroup();
  group.trajectories[0].segments[1].text += std::string(10000, 'x');
  EventRecord record;
  AddSamples({group}, &record);
  ASSERT_EQ(record.texts.size(), 3u);
  EXPECT_TRUE(absl::StrContains(record.texts["sample/best"], "id2"));
  EXPECT_TRUE(absl::StrContains(record.texts["sample/worst"], "id1"));
  const std::string& first = record.texts["sample/first"];
  EXPECT_TRUE(absl::StrContains(first, "    ```\n    <b>\\x1b[31m\\xff\\u{202e}xxx")) << first;
  EXPECT_TRUE(absl::StrContains(first, "(1824 more bytes are in the store)")) << first.substr(8000);
  EXPECT_TRUE(absl::StrContains(first, "task `a'b c`")) << first;
}

TEST(EventFile, StandsInTheRunsFolderWithARecordForEachIteration) {
  std::string folder = (std::filesystem::temp_directory_path() / "hone_events_XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  {
    auto run = RunDirectory::Create(folder + "/run");
    ASSERT_TRUE(run.ok()) << run.status();
    for (int64_t i = 1; i <= 3; ++i) {
      ASSERT_TRUE((*run)
                      ->AppendMetrics(i, {{{"reward/mean", 0.25 * static_cast<double>(i)}}, {}, {}})
                      .ok());
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
