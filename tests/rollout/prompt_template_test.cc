// SPDX-License-Identifier: Apache-2.0
#include "rollout/prompt_template.h"

#include "gtest/gtest.h"

namespace hone {
namespace {

TEST(PromptTemplate, R1ZeroIsThePapersText) {
  EXPECT_EQ(*ApplyTemplate("r1_zero", "What is 1 + 1?"),
            "A conversation between User and Assistant. The user asks a question, and the "
            "Assistant solves it. The assistant first thinks about the reasoning process in the "
            "mind and then provides the user with the answer. The reasoning process and answer "
            "are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
            "i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: "
            "What is 1 + 1?. Assistant:");
}

TEST(PromptTemplate, TinyZeroIsItsBaseText) {
  EXPECT_EQ(*ApplyTemplate("tiny_zero", "Using the numbers [1, 2], create an equation."),
            "A conversation between User and Assistant. The user asks a question, and the "
            "Assistant solves it. The assistant first thinks about the reasoning process in the "
            "mind and then provides the user with the answer.\n"
            "User: Using the numbers [1, 2], create an equation. Show your work in <think> "
            "</think> tags. And return the final answer in <answer> </answer> tags, for example "
            "<answer> (1 + 2) / 3 </answer>.\n"
            "Assistant: Let me solve this step by step.\n<think>");
}

TEST(PromptTemplate, R1ChatForcesTheThinkTag) {
  EXPECT_EQ(*ApplyTemplate("r1_chat", "hi"),
            "<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜><think>\n");
}

TEST(PromptTemplate, PlainIsTheQuestionAlone) {
  EXPECT_EQ(*ApplyTemplate("plain", "a b"), "a b");
}

TEST(PromptTemplate, AnUnknownNameListsTheKnownOnes) {
  const absl::Status status = ApplyTemplate("r2", "").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("plain, r1_zero, tiny_zero, r1_chat"), std::string::npos);
}

TEST(PromptTemplate, SaysWhichPromptsEndInsideAnOpenedThink) {
  EXPECT_TRUE(PrefillsThink("tiny_zero"));
  EXPECT_TRUE(PrefillsThink("r1_chat"));
  EXPECT_FALSE(PrefillsThink("r1_zero"));
  EXPECT_FALSE(PrefillsThink("plain"));
  EXPECT_FALSE(PrefillsThink("unknown"));
}

}  // namespace
}  // namespace hone
