// SPDX-License-Identifier: Apache-2.0
//
// The parts of replay that need no run: reports, paired statistics, pages and files from strangers.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "services/replay/bisect.h"
#include "services/replay/bundle.h"
#include "services/replay/paired.h"
#include "services/replay/report.h"
#include "services/replay/retrain.h"
#include "services/replay/trace_export.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

TEST(ReplayReport, KeepsTheFirstDifferenceAndCountsTheOthers) {
  ReplayReport report;
  ReplayDifference about;
  about.iteration = 3;
  about.trajectory = "abc";
  about.what = "token";
  about.index = 7;
  report.Compare("sampling", about, int64_t{5}, int64_t{5});
  EXPECT_TRUE(report.identical());
  report.Compare("sampling", about, int64_t{5}, int64_t{6});
  about.index = 8;
  report.Compare("sampling", about, int64_t{1}, int64_t{2});
  EXPECT_FALSE(report.identical());
  const ReplayStage& stage = report.stages()[4];
  EXPECT_EQ(stage.name, "sampling");
  EXPECT_EQ(stage.compared, 3);
  EXPECT_EQ(stage.differing, 2);
  EXPECT_EQ(stage.first_difference->Sentence(),
            "iteration 3, trajectory abc, token 7: stored 5, replayed 6");
}

TEST(ReplayReport, ComparesFiguresByTheirBits) {
  ReplayReport report;
  ReplayDifference about;
  about.what = "figure";
  report.Compare("forward", about, std::nan(""), std::nan("1"));
  EXPECT_TRUE(report.identical());
  report.Compare("forward", about, 0.0, -0.0);
  EXPECT_FALSE(report.identical());
}

TEST(McNemar, IsTheTwoSidedBinomialTail) {
  EXPECT_DOUBLE_EQ(McNemarExact(0, 0), 1.0);
  EXPECT_DOUBLE_EQ(McNemarExact(5, 5), 1.0);
  EXPECT_NEAR(McNemarExact(1, 9), 22.0 / 1024, 1e-12);
  EXPECT_NEAR(McNemarExact(9, 1), 22.0 / 1024, 1e-12);
  EXPECT_NEAR(McNemarExact(0, 20), 2.0 / 1048576, 1e-15);
}

TEST(PairedBootstrap, CoversTheMeanAndRepeatsItselfFromItsSeed) {
  std::vector<double> differences;
  for (int i = 0; i < 200; ++i) differences.push_back(i % 4 == 0 ? 1.0 : 0.0);
  const BootstrapInterval one = PairedBootstrap(differences, 7, 2000);
  const BootstrapInterval again = PairedBootstrap(differences, 7, 2000);
  const BootstrapInterval other = PairedBootstrap(differences, 8, 2000);
  EXPECT_DOUBLE_EQ(one.mean, 0.25);
  EXPECT_EQ(one.low, again.low);
  EXPECT_EQ(one.high, again.high);
  EXPECT_TRUE(one.low != other.low || one.high != other.high);
  // The normal interval is 0.25 +- 1.96 * sqrt(0.25 * 0.75 / 200).
  EXPECT_NEAR(one.low, 0.19, 0.015);
  EXPECT_NEAR(one.high, 0.31, 0.015);
}

TEST(HtmlText, LetsNoMarkupAndNoHiddenCharacterThrough) {
  EXPECT_EQ(HtmlText("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(HtmlText("\x1b[31m"), "\\u{001b}[31m");
  EXPECT_EQ(HtmlText("\xe2\x80\xae"), "\\u{202e}");
  EXPECT_EQ(HtmlText("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(HtmlText("\xc3\xa9\n"), "\xc3\xa9\n");
}

TEST(RetrainConfig, RefusesWhatMadeTheRollouts) {
  v1::RunConfig config;
  EXPECT_TRUE(absl::IsInvalidArgument(RetrainConfig(config, {"rollout.temperature=2"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(RetrainConfig(config, {"seed.x=2"}).status()));
}

TEST(FindBreak, NamesTheFirstPastALimitOrTheMostUnusual) {
  std::map<int64_t, double> values;
  for (int64_t i = 1; i <= 30; ++i) values[i] = 0.5 + 0.01 * static_cast<double>(i % 3);
  values[17] = 0.1;
  EXPECT_EQ(FindBreak(values, {}).iteration, 17);
  EXPECT_NEAR(FindBreak(values, {}).usual, 0.51, 1e-12);
  BreakRule rule;
  rule.above = 0.515;
  EXPECT_EQ(FindBreak(values, rule).iteration, 2);
  rule.above = 9;
  EXPECT_EQ(FindBreak(values, rule).iteration, 0);
  values[20] = std::nan("");
  values[17] = 0.5;
  EXPECT_EQ(FindBreak(values, {}).iteration, 20);
}

class Bundle : public testing::Test {
 protected:
  Bundle() {
    std::string name = (fs::temp_directory_path() / "hone-bundle-test-XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~Bundle() override { fs::remove_all(folder_); }

  // An archive of one member, its manifest as given.
  absl::Status Unpack(const std::string& manifest, const std::string& name,
                      const std::string& text) {
    const std::string file = folder_ + "/file";
    std::ofstream(file, std::ios::binary)
        << Member("manifest.json", manifest) << Member(name, text) << std::string(1024, '\0');
    fs::create_directory(folder_ + "/out");
    return UnpackBundle(file, folder_ + "/out");
  }

  static std::string Member(const std::string& name, const std::string& text) {
    std::string block(512, '\0');
    const auto put = [&](size_t at, const std::string& field) {
      block.replace(at, field.size(), field);
    };
    char size[13];
    std::snprintf(size, sizeof(size), "%011zo", text.size());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, size);
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, std::string("ustar\0"
                         "00",
                         8));
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    std::snprintf(size, sizeof(size), "%06o", sum);
    put(148, size);
    block[154] = '\0';
    return block + text + std::string((512 - text.size() % 512) % 512, '\0');
  }

  static std::string Manifest(const std::string& name, int version = 1) {
    // SHA-256 of "hello".
    return "{\"format\":\"hone-bundle\",\"format_version\":" + std::to_string(version) +
           ",\"files\":{\"" + name +
           "\":{\"bytes\":5,\"sha256\":"
           "\"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\"}}}";
  }

  std::string folder_;
};

TEST_F(Bundle, IsUnpackedWhereEveryByteIsAsItsManifestSays) {
  ASSERT_TRUE(Unpack(Manifest("a/b.txt"), "a/b.txt", "hello").ok());
  EXPECT_EQ(fs::file_size(folder_ + "/out/a/b.txt"), 5u);
}

TEST_F(Bundle, OfOtherBytesIsDamaged) {
  EXPECT_TRUE(absl::IsDataLoss(Unpack(Manifest("a"), "a", "hellO")));
  EXPECT_TRUE(absl::IsDataLoss(Unpack(Manifest("a"), "a", "hell")));
  EXPECT_TRUE(absl::IsDataLoss(Unpack(Manifest("a"), "b", "hello")));
  EXPECT_TRUE(absl::IsDataLoss(Unpack("{}", "a", "hello")));
  EXPECT_TRUE(absl::IsDataLoss(Unpack("not json", "a", "hello")));
}

TEST_F(Bundle, NeverWritesOutsideItsFolder) {
  for (const char* name : {"../a", "/a", "a/../../b", ".a", "a//b", "a/b/c/d", "a b", ""}) {
    EXPECT_TRUE(absl::IsDataLoss(Unpack(Manifest(name), name, "hello"))) << name;
  }
  EXPECT_FALSE(fs::exists(folder_ + "/a"));
}

TEST_F(Bundle, ChangedOrCutOffAnywhereIsRefusedOrStillTheSame) {
  const std::string whole =
      Member("manifest.json", Manifest("a")) + Member("a", "hello") + std::string(1024, '\0');
  const std::string file = folder_ + "/file";
  int refused = 0;
  for (size_t at = 0; at < whole.size(); at += 5) {
    for (const bool cut : {false, true}) {
      std::string spoilt = whole;
      cut ? spoilt.resize(at) : void(spoilt[at] = static_cast<char>(spoilt[at] ^ (1 << (at % 8))));
      std::ofstream(file, std::ios::binary) << spoilt;
      const std::string out = folder_ + "/out";
      fs::create_directory(out);
      if (UnpackBundle(file, out).ok()) {
        std::ifstream in(out + "/a");
        EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "hello") << at;
      } else {
        ++refused;
      }
      fs::remove_all(out);
    }
  }
  EXPECT_GT(refused, 300);
}

TEST_F(Bundle, OfANewerFormatIsRefusedByName) {
  const absl::Status status = Unpack(Manifest("a", 2), "a", "hello");
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "format version 2"));
}

}  // namespace
}  // namespace hone
