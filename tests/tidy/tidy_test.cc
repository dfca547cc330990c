// SPDX-License-Identifier: Apache-2.0
//
// The house rules, read off the tree itself: every violation is reported as file:line.
#include <algorithm>
#include <cassert>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

struct SourceFile {
  std::string path;  // from the root
  std::string text;
  Strings lines;
  bool IsA(const Strings& ends) const {
    return std::any_of(ends.begin(), ends.end(),
                       [&](const std::string& end) { return absl::EndsWith(path, end); });
  }
  bool IsCpp() const { return IsA({".h", ".cc"}); }
  bool Under(absl::string_view folder) const { return absl::StartsWith(path, folder); }
};

bool IsSkipped(const fs::path& name) {
  const std::string text = name.string();
  return absl::StartsWith(text, "build") || text == ".git" || text == "runs";
}

// Every text file of the tree. A file with a NUL byte is data and is left out.
const std::vector<SourceFile>& Tree() {
  static const std::vector<SourceFile>* const tree = [] {
    auto* files = new std::vector<SourceFile>();
    const fs::path root = HONE_SOURCE_DIR;
    for (auto at = fs::recursive_directory_iterator(root); at != fs::end(at); ++at) {
      const std::string path = fs::relative(at->path(), root).string();
      // configs/build holds CMake code; only the root's build folders are outputs.
      if (at->is_directory()) {
        if (at.depth() == 0 && IsSkipped(at->path().filename())) at.disable_recursion_pending();
        continue;
      }
      std::ifstream in(at->path(), std::ios::binary);
      SourceFile file{path, {std::istreambuf_iterator<char>(in), {}}, {}};
      if (!at->is_regular_file() || absl::StrContains(file.text, absl::string_view("\0", 1))) {
        continue;
      }
      file.lines = absl::StrSplit(file.text, '\n');
      files->push_back(std::move(file));
    }
    return files;
  }();
  return *tree;
}

std::string At(const SourceFile& file, size_t index, absl::string_view what) {
  return absl::StrCat(file.path, ":", index + 1, ": ", what);
}

void ExpectNone(const Strings& found) {
  EXPECT_TRUE(found.empty()) << absl::StrJoin(found, "\n");
}

// Needles are written with a "~" inside, so that this file does not hold them.
Strings LinesWith(Strings needles, bool (*wanted)(const SourceFile&), bool any_case = false) {
  for (std::string& needle : needles) needle.erase(needle.find('~'), 1);
  Strings found;
  for (const SourceFile& file : Tree()) {
    if (!wanted(file)) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string line = any_case ? absl::AsciiStrToLower(file.lines[i]) : file.lines[i];
      for (const std::string& needle : needles) {
        if (absl::StrContains(line, needle)) found.push_back(At(file, i, needle));
      }
    }
  }
  return found;
}

bool Any(const SourceFile&) {
  return true;
}
bool IsCode(const SourceFile& file) {
  return file.IsCpp();
}
bool IsProse(const SourceFile& file) {
  return !file.IsCpp();
}

// What a file includes: (line index, path as written).
std::vector<std::pair<size_t, std::string>> IncludesOf(const SourceFile& file) {
  std::vector<std::pair<size_t, std::string>> includes;
  for (size_t i = 0; i < file.lines.size(); ++i) {
    absl::string_view line = absl::StripAsciiWhitespace(file.lines[i]);
    if (!absl::ConsumePrefix(&line, "#include ")) continue;
    const size_t end = line.find_first_of(">\"", 1);
    if (end != absl::string_view::npos) includes.emplace_back(i, line.substr(1, end - 1));
  }
  return includes;
}

bool StartsWithAny(absl::string_view text, const Strings& starts) {
  return std::any_of(starts.begin(), starts.end(),
                     [&](const std::string& start) { return absl::StartsWith(text, start); });
}

const Strings& OurFolders() {
  static const Strings* const folders = new Strings{
      "policy/", "verifier/", "rewards/", "rollout/", "services/", "tests/", "hone/v1/"};
  return *folders;
}

// Includes of our own headers by files under `folder` that start with none of `allowed`.
Strings OwnIncludesOutside(absl::string_view folder, const Strings& allowed) {
  Strings found;
  for (const SourceFile& file : Tree()) {
    if (!file.IsCpp() || !file.Under(folder)) continue;
    for (const auto& [line, path] : IncludesOf(file)) {
      if (StartsWithAny(path, OurFolders()) && !StartsWithAny(path, allowed)) {
        found.push_back(At(file, line, absl::StrCat("may not include ", path)));
      }
    }
  }
  return found;
}

// Includes of `library` (a prefix) by files that are under none of `folders`.
Strings LibraryIncludesOutside(absl::string_view library, const Strings& folders) {
  Strings found;
  for (const SourceFile& file : Tree()) {
    if (!file.IsCpp() || StartsWithAny(file.path, folders)) continue;
    for (const auto& [line, path] : IncludesOf(file)) {
      if (absl::StartsWith(path, library)) {
        found.push_back(At(file, line, absl::StrCat("may not include ", path)));
      }
    }
  }
  return found;
}

TEST(Tidy, FindsTheTreeItIsAbout) {
  EXPECT_GT(Tree().size(), 300u);
  EXPECT_TRUE(std::any_of(Tree().begin(), Tree().end(), [](const SourceFile& file) {
    return file.path == "configs/build/functions.cmake";
  }));
}

TEST(Licence, IsNamedInTheFirstLineOfEverySourceFile) {
  Strings found;
  for (const SourceFile& file : Tree()) {
    const bool script = absl::StartsWith(file.text, "#!");
    if (!script && !file.IsA({".h", ".cc", ".cc.in", ".proto", ".sh", ".cmake", "CMakeLists.txt",
                              ".py", ".sql", ".textproto"})) {
      continue;
    }
    const size_t line = script ? 1 : 0;  // after the interpreter's line
    if (file.lines.size() <= line ||
        !absl::EndsWith(file.lines[line], " SPDX-License-Identifier: Apache-2.0")) {
      found.push_back(At(file, line, "no SPDX line"));
    }
  }
  ExpectNone(found);
}

TEST(Form, NoLineOfCodeIsWiderThanAHundredColumns) {
  Strings found;
  for (const SourceFile& file : Tree()) {
    if (!file.IsA({".h", ".cc", ".proto"})) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const auto columns = std::count_if(file.lines[i].begin(), file.lines[i].end(),
                                         [](char c) { return (c & 0xc0) != 0x80; });
      if (columns > 100) found.push_back(At(file, i, absl::StrCat(columns, " columns")));
    }
  }
  ExpectNone(found);
}

TEST(Form, NoLineHasATabOrACarriageReturnOrEndsInABlank) {
  Strings found;
  for (const SourceFile& file : Tree()) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      if (line.find_first_of("\t\r") != std::string::npos)
        found.push_back(At(file, i, "tab or CR"));
      if (absl::EndsWith(line, " ")) found.push_back(At(file, i, "blank at the end"));
    }
  }
  ExpectNone(found);
}

TEST(Form, EveryTextFileEndsInOneNewline) {
  Strings found;
  for (const SourceFile& file : Tree()) {
    const bool right = absl::EndsWith(file.text, "\n") && !absl::EndsWith(file.text, "\n\n");
    if (!right && !file.text.empty()) found.push_back(At(file, file.lines.size() - 1, "the end"));
  }
  ExpectNone(found);
}

TEST(Form, NoFileIsLongerThanEightHundredLines) {
  Strings found;
  for (const SourceFile& file : Tree()) {
    if (file.lines.size() > 801) found.push_back(At(file, 800, "goes on after line 800"));
  }
  ExpectNone(found);
}

TEST(Headers, AreGuardedByTheirPath) {
  Strings found;
  for (const SourceFile& file : Tree()) {
    if (!file.IsA({".h"})) continue;
    const std::string guard = absl::StrCat(
        "HONE_", absl::AsciiStrToUpper(absl::StrReplaceAll(file.path, {{"/", "_"}, {".", "_"}})),
        "_");
    if (!absl::StrContains(file.text, absl::StrCat("#ifndef ", guard, "\n#define ", guard, "\n"))) {
      found.push_back(At(file, 0, absl::StrCat("is not guarded by ", guard)));
    }
  }
  ExpectNone(found);
}

TEST(Includes, OfOurHeadersAreWrittenFromTheRoot) {
  const fs::path root = HONE_SOURCE_DIR;
  Strings found;
  for (const SourceFile& file : Tree()) {
    if (!file.IsCpp()) continue;
    for (const auto& [line, path] : IncludesOf(file)) {
      const bool generated = absl::StartsWith(path, "hone/v1/") && absl::EndsWith(path, ".pb.h");
      const bool ours = !generated && StartsWithAny(path, OurFolders());
      const bool beside = fs::exists(root / fs::path(file.path).parent_path() / path);
      if (ours ? !fs::exists(root / path) : beside || absl::StartsWith(path, ".")) {
        found.push_back(At(file, line, absl::StrCat(path, " is not a path from the root")));
      }
    }
  }
  ExpectNone(found);
}

TEST(FolderGraph, PolicyKnowsNothingAboveIt) {
  ExpectNone(OwnIncludesOutside("policy/", {"policy/"}));
}

TEST(FolderGraph, VerifierKnowsNothingOfOurs) {
  ExpectNone(OwnIncludesOutside("verifier/", {"verifier/"}));
}

// The format rule is one function for the verifier and for the reward: docs/decisions/0004.
TEST(FolderGraph, RewardsKnowVerdictsAndPlainValues) {
  ExpectNone(OwnIncludesOutside("rewards/", {"rewards/", "verifier/verdict.h", "policy/types.h",
                                             "verifier/rules/format_rule.h"}));
}

// hash.h and sampling/ beyond the interfaces: docs/decisions/0005.
TEST(FolderGraph, RolloutKnowsThePolicyByItsInterfacesAlone) {
  ExpectNone(OwnIncludesOutside(
      "rollout/", {"rollout/", "rewards/", "verifier/verifier.h", "verifier/verdict.h",
                   "policy/generator.h", "policy/learner.h", "policy/types.h", "policy/hash.h",
                   "policy/sampling/rng.h", "policy/tokenizer/"}));
}

TEST(FolderGraph, ServicesKnowNoTests) {
  Strings all = OurFolders();
  all.erase(std::find(all.begin(), all.end(), "tests/"));
  ExpectNone(OwnIncludesOutside("services/", all));
}

TEST(FolderGraph, LibrariesAreIncludedOnlyWhereTheyBelong) {
  const std::map<std::string, Strings> homes = {
      {"grpcpp/", {"services/", "tests/"}},
      {"google/", {"services/", "tests/"}},
      {"CLI/", {"services/cli/"}},
      {"boost/", {"services/http/http_server.cc"}},
      // resources.cc says which SQLite this is.
      {"Python.h", {"verifier/sandbox/spawner/"}},
      {"seccomp.h", {"verifier/sandbox/spawner/"}},
      {"sqlite3.h", {"rollout/store/", "services/trainer/resources.cc", "tests/"}},
      {"pcre2.h", {"policy/tokenizer/pcre_matcher.cc"}},
      {"utf8proc.h", {"policy/tokenizer/normalizer.cc"}},
      {"zstd.h", {"rollout/store/", "tests/"}},
      {"zlib.h", {"services/cli/jsonl.cc"}},
      {"immintrin.h", {"policy/kernels/cpu/", "policy/sha256_x86.cc", "tests/bench/"}},
      {"gtest/", {"tests/"}},
      {"gmock/", {"tests/"}},
      {"benchmark/", {"tests/bench/"}},
      {"nlohmann/",
       {"policy/tokenizer/", "policy/checkpoint/", "verifier/", "rollout/", "services/", "tests/"}},
  };
  for (const auto& [library, folders] : homes) ExpectNone(LibraryIncludesOutside(library, folders));
}

TEST(FolderGraph, InsidePolicyGoesFromTensorToKernelsToModelToTrain) {
  const Strings base = {"policy/types.h",        "policy/hash.h",    "policy/parallel.h",
                        "policy/generator.h",    "policy/learner.h", "policy/collective.h",
                        "policy/sha256_blocks.h"};
  // sampling is below kernels: a kernel draws by philox.h. json_limits.h bounds every JSON file.
  const std::map<std::string, Strings> may = {
      {"tensor", {}},
      {"sampling", {"policy/types.h"}},
      {"kernels", {"policy/tensor/", "policy/sampling/philox.h"}},
      {"model",
       {"policy/tensor/", "policy/sampling/", "policy/kernels/", base[0], base[1], base[2],
        base[3]}},
      {"tokenizer", {"policy/types.h", "policy/hash.h"}},
      {"checkpoint",
       {"policy/hash.h", "policy/types.h", "policy/model/adaptation.h", "policy/model/config.h",
        "policy/model/merged_values.h", "policy/model/parameters.h",
        "policy/tokenizer/json_limits.h"}},
      {"train",
       {"policy/tensor/", "policy/kernels/", "policy/model/", base[0], base[2], base[4], base[5]}},
  };
  for (const auto& [part, allowed] : may) {
    const std::string folder = absl::StrCat("policy/", part, "/");
    Strings all = allowed;
    all.push_back(folder);
    ExpectNone(OwnIncludesOutside(folder, all));
  }
  for (const SourceFile& file : Tree()) {
    if (!file.IsCpp() || !file.Under("policy/") || file.path.find('/', 7) != std::string::npos) {
      continue;
    }
    ExpectNone(OwnIncludesOutside(file.path, base));
  }
}

TEST(Kernels, AreChosenByTheBuildAndNotByThePreprocessor) {
  ExpectNone(LinesWith({"#i~f ", "#i~fdef ", "#el~"}, [](const SourceFile& file) {
    return file.Under("policy/kernels/") && file.IsCpp();
  }));
}

TEST(Asserts, AreAlwaysOn) {
  int evaluated = 0;
  assert(++evaluated == 1);
  EXPECT_EQ(evaluated, 1);
  ExpectNone(LinesWith({"-DND~EBUG", "define ND~EBUG"}, Any));
}

TEST(Words, StringViewIsAbseils) {
  ExpectNone(LinesWith({"std::string~_view", "<string~_view>"}, IsCode));
}

TEST(Words, NothingIsLeftForLaterAndNoTestIsDisabled) {
  ExpectNone(LinesWith({"TO~DO", "FIX~ME", "HA~CK", "DISA~BLED_"}, Any));
}

// "Session" is a good word in code (a worker's with its trainer); prose has no use for it.
TEST(Words, NoneAreAboutTheWorkshop) {
  ExpectNone(LinesWith({"sess~ion"}, IsProse, true));
  ExpectNone(LinesWith({"helper ag~ent", "/wo~rk/", "pypi.~org", "npmjs~.", "crates.~io",
                        "proxy.gol~ang", "deb.deb~ian.org"},
                       Any, true));
}

TEST(Tests, AreAllBuilt) {
  const SourceFile* cmake = nullptr;
  for (const SourceFile& file : Tree()) {
    if (file.path == "tests/CMakeLists.txt") cmake = &file;
  }
  ASSERT_NE(cmake, nullptr);
  Strings found;
  for (const SourceFile& file : Tree()) {
    if (!file.Under("tests/") || !file.IsA({"_test.cc"})) continue;
    const std::string folder = fs::path(file.path.substr(6)).parent_path().string();
    if (!absl::StrContains(cmake->text, absl::StrCat("${here}/", folder, "/*.cc"))) {
      found.push_back(At(file, 0, "no glob of tests/CMakeLists.txt covers it"));
    }
  }
  ExpectNone(found);
}

TEST(Tests, HaveNamesThatAreWordsWithoutUnderscores) {
  Strings found;
  for (const SourceFile& file : Tree()) {
    if (!file.Under("tests/") || !file.IsCpp()) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      if (!StartsWithAny(line, {"TEST(", "TEST_F(", "TEST_P(", "TYPED_TEST("})) continue;
      if (absl::StrContains(line.substr(line.find('(')), "_")) found.push_back(At(file, i, line));
    }
  }
  ExpectNone(found);
}

}  // namespace
}  // namespace hone
