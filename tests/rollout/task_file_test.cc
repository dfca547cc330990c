// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <thread>

#include "gmock/gmock.h"
#include "rollout/tasks/jsonl_file.h"
#include "tests/rollout/rollout_testing.h"

namespace hone {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// The message of reading `text` as a task file, without the path.
std::string Refusal(const std::string& text, const TaskOptions& key_map = {}) {
  const TestFile file(text);
  const absl::Status status = ReadTaskFile(file.path(), key_map).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), StartsWith(file.path()));
  return std::string(status.message().substr(file.path().size()));
}

TEST(TaskFile, ReadsEveryFieldAndKeepsUnknownKeysAsJson) {
  const TestFile file(
      R"({"id": "a/1", "prompt": "2+2?", "answer": "4", "verifier": "numeric", "source": "sums",)"
      R"( "split": "train", "difficulty": 2.5, "metadata": {"level": "Level 3"},)"
      R"( "nums": [3, 7], "target": 19})"
      "\n\n"
      R"({"prompt": "p", "answer": 12, "tests": ["assert f(1) == 2"], "entry_point": "f"})");
  const auto source = ReadTaskFile(file.path(), {});
  ASSERT_TRUE(source.ok()) << source.status();
  ASSERT_EQ((*source)->size(), 2);
  const Task first = *(*source)->At(0);
  EXPECT_EQ(first.id, "a/1");
  EXPECT_EQ(first.prompt, "2+2?");
  EXPECT_EQ(first.answer, "4");
  EXPECT_EQ(first.verifier, "numeric");
  EXPECT_EQ(first.source, "sums");
  EXPECT_EQ(first.split, "train");
  EXPECT_EQ(first.difficulty, 2.5);
  EXPECT_EQ(first.metadata, (std::map<std::string, std::string>{
                                {"level", "\"Level 3\""}, {"nums", "[3,7]"}, {"target", "19"}}));
  const Task second = *(*source)->At(1);
  EXPECT_EQ(second.index, 1);
  EXPECT_EQ(second.answer, "12");
  EXPECT_EQ(second.tests_json, R"(["assert f(1) == 2"])");
  EXPECT_EQ(second.metadata.at("entry_point"), "\"f\"");
  EXPECT_THAT(second.id, HasSubstr("/1"));
  EXPECT_EQ((*source)->At(2).status().code(), absl::StatusCode::kOutOfRange);
}

TEST(TaskFile, ReadsRowsOfVerlThroughAKeyMap) {
  const TestFile file(
      R"({"data_source": "countdown", "prompt": [{"role": "system", "content": "Be brief."},)"
      R"( {"role": "user", "content": "Reach 5."}], "ability": "math", "reward_model":)"
      R"( {"style": "rule", "ground_truth": {"target": 5, "numbers": [2, 3]}}})");
  const auto source =
      ReadTaskFile(file.path(), {{"source", "data_source"},
                                 {"metadata.target", "reward_model.ground_truth.target"},
                                 {"metadata.nums", "reward_model.ground_truth.numbers"}});
  ASSERT_TRUE(source.ok()) << source.status();
  const Task task = *(*source)->At(0);
  EXPECT_EQ(task.prompt, "Be brief.\n\nReach 5.");
  EXPECT_EQ(task.source, "countdown");
  EXPECT_EQ(task.metadata.at("target"), "5");
  EXPECT_EQ(task.metadata.at("nums"), "[2,3]");
  EXPECT_EQ(task.metadata.at("ability"), "\"math\"");
}

TEST(TaskFile, ReadsRowsOfTrlThroughAKeyMap) {
  const TestFile file(R"({"question": "1+1?", "solution": "2"})");
  const auto source = ReadTaskFile(file.path(), {{"prompt", "question"}, {"answer", "solution"}});
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->At(0)->answer, "2");
  EXPECT_TRUE((*source)->At(0)->metadata.empty());
}

TEST(TaskFile, ErrorsNameFileLineAndKey) {
  EXPECT_EQ(Refusal("{\"prompt\": \"p\"}\n{\"answer\": \"4\"}\n"),
            ":2: key 'prompt': is missing; give its name with --map prompt=NAME");
  EXPECT_EQ(Refusal(R"({"prompt": 3})"), ":1: key 'prompt': must be text or a list of messages");
  EXPECT_EQ(Refusal(R"({"prompt": ""})"), ":1: key 'prompt': is empty");
  EXPECT_EQ(Refusal(R"({"prompt": [{"role": "assistant", "content": "x"}]})"),
            ":1: key 'prompt': a message has the role 'assistant'; only system and user can be "
            "asked");
  EXPECT_EQ(Refusal(R"({"prompt": [{"role": 1, "content": "x"}]})"),
            ":1: key 'prompt': a chat must be a list of {\"role\", \"content\"} texts");
  EXPECT_EQ(Refusal(R"({"prompt": "p", "answer": [1]})"),
            ":1: key 'answer': must be text or a number");
  EXPECT_EQ(Refusal(R"({"prompt": "p", "difficulty": "hard"})"),
            ":1: key 'difficulty': must be a number");
  EXPECT_EQ(Refusal(R"({"prompt": "p", "a": {"b": 1}})", {{"answer", "a.c"}}),
            ":1: key 'a.c': is missing");
  EXPECT_EQ(Refusal(R"({"prompt": "p", "level": 1, "metadata": {"level": 2}})"),
            ":1: key 'metadata': 'level' is given twice");
  EXPECT_EQ(Refusal("[1]"), ":1: a row must be an object, {\"prompt\": ...}");
  EXPECT_EQ(Refusal("\n{\"prompt\": "), ":2: not valid JSON");
  EXPECT_EQ(Refusal("{\"prompt\": \"\xff\"}"), ":1: not valid JSON");
  EXPECT_EQ(Refusal(""), ": holds no row");
  EXPECT_EQ(Refusal(std::string("\x1f\x8b\x08", 3)), ": is compressed; gunzip it first");
}

TEST(TaskFile, RefusesAnIdThatStandsTwice) {
  EXPECT_EQ(Refusal("{\"id\": 7, \"prompt\": \"p\"}\n{\"id\": \"7\", \"prompt\": \"q\"}"),
            ":2: key 'id': '7' stands on an earlier line too");
}

TEST(TaskFile, RefusesDeepNestingAndLongLines) {
  EXPECT_EQ(Refusal("{\"prompt\": \"p\", \"x\": " + std::string(100000, '[')),
            ":1: nested deeper than 64");
  const TestFile file("{\"prompt\": \"" + std::string(size_t{17} << 20, 'x') + "\"}");
  EXPECT_EQ(ReadTaskFile(file.path(), {}).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(TaskFile, BracketsInsideTextAreNoNesting) {
  const TestFile file("{\"prompt\": \"" + std::string(1000, '[') + "\\\"\"}");
  EXPECT_TRUE(ReadTaskFile(file.path(), {}).ok());
}

TEST(TaskFile, RefusesAKeyMapWithKeysATaskDoesNotHave) {
  const absl::Status status = ReadTaskFile("unread", {{"promt", "question"}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("id, prompt, answer"));
  EXPECT_FALSE(ReadTaskFile("unread", {{"prompt", ""}}).ok());
}

TEST(TaskFile, AMissingFileIsNotFound) {
  EXPECT_EQ(ReadTaskFile("no/such/file.jsonl", {}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadTaskFile(::testing::TempDir(), {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(TaskFile, RowsAcrossReadBlocksComeBackWhole) {
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    absl::StrAppend(&text, "{\"id\": \"r", i, "\", \"prompt\": \"", std::string(i % 1500, 'x'),
                    "!\"}\n");
  }
  const TestFile file(text);
  const auto source = ReadTaskFile(file.path(), {});
  ASSERT_TRUE(source.ok()) << source.status();
  ASSERT_EQ((*source)->size(), 3000);
  for (int i : {0, 1, 700, 1499, 1500, 2999}) {
    EXPECT_EQ((*source)->At(i)->id, absl::StrCat("r", i));
    EXPECT_EQ((*source)->At(i)->prompt.size(), static_cast<size_t>(i % 1500 + 1));
  }
}

TEST(TaskFile, AFileThatShrankIsDataLoss) {
  const TestFile file("{\"prompt\": \"p\"}\n{\"prompt\": \"q\"}\n");
  const auto source = ReadTaskFile(file.path(), {});
  ASSERT_TRUE(source.ok());
  std::ofstream(file.path(), std::ios::trunc) << "{";
  EXPECT_EQ((*source)->At(1).status().code(), absl::StatusCode::kDataLoss);
}

TEST(DocumentFile, ReadsTextAndPromptWithCompletion) {
  const TestFile file("{\"text\": \"all of it\"}\n{\"prompt\": \"p\", \"completion\": \" c\"}");
  const auto source = ReadDocumentFile(file.path());
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->size(), 2);
  EXPECT_EQ((*source)->At(0)->prompt, "");
  EXPECT_EQ((*source)->At(0)->completion, "all of it");
  EXPECT_EQ((*source)->At(1)->prompt, "p");
  EXPECT_EQ((*source)->At(1)->completion, " c");
}

TEST(DocumentFile, RefusesRowsOfNeitherOrOfBothForms) {
  for (const char* row : {"{\"prompt\": \"p\"}", "{\"text\": 1}", "{\"x\": 1}",
                          "{\"text\": \"t\", \"prompt\": \"p\"}", "{\"text\": \"\"}"}) {
    const TestFile file(row);
    EXPECT_EQ(ReadDocumentFile(file.path()).status().code(), absl::StatusCode::kInvalidArgument)
        << row;
  }
}

TEST(TaskFile, ReadsTheRealCountdownTasks) {
  const char* data = std::getenv("HONE_DATA_DIR");
  if (data == nullptr) GTEST_SKIP() << "not run: HONE_DATA_DIR is not set";
  const auto source = ReadTaskFile(absl::StrCat(data, "/countdown/train.jsonl"), {});
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->size(), 4000);
  EXPECT_EQ((*source)->At(0)->metadata.at("nums"), "[69,24,80,93]");
  EXPECT_EQ((*source)->At(0)->metadata.at("target"), "58");
}

}  // namespace
}  // namespace hone
