// SPDX-License-Identifier: Apache-2.0
#include "rollout/prompt_template.h"

#include <fstream>
#include <set>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

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

TEST(PromptTemplate, RendersConversationsAsThePublishedTemplatesDo) {
  std::ifstream in(HONE_SOURCE_DIR "/tests/golden/chat_renderings.json");
  const nlohmann::json rows = nlohmann::json::parse(in);
  std::set<std::string> names;
  for (const nlohmann::json& row : rows) {
    std::vector<ChatMessage> messages;
    for (const nlohmann::json& message : row["messages"]) {
      messages.push_back({message["role"], message["content"]});
    }
    const std::string name = row["template"];
    const auto prompt = RenderChat(name, messages);
    ASSERT_TRUE(prompt.ok()) << prompt.status();
    EXPECT_EQ(prompt->text, row["text"].get<std::string>()) << name;
    names.insert(name);
  }
  EXPECT_EQ(names.size(), 9u);
}

TEST(PromptTemplate, V2AndLlama3AreTheirCardsText) {
  const std::vector<ChatMessage> messages = {
      {"system", "S"}, {"user", " a "}, {"assistant", "b"}, {"user", "c"}};
  EXPECT_EQ(RenderChat("v2_chat", messages)->text,
            "<｜begin▁of▁sentence｜>S\n\nUser:  a \n\nAssistant: b<｜end▁of▁sentence｜>User: c\n\n"
            "Assistant:");
  EXPECT_EQ(RenderChat("llama3", messages)->text,
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nb<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nc<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(RenderChat("chatml", messages)->text,
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n a <|im_end|>\n"
            "<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(PromptTemplate, SmolLm2SpeaksAsItsCardSays) {
  EXPECT_EQ(RenderPrompt("smollm2", "Q?")->text,
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nQ?<|im_end|>\n<|im_start|>assistant\n");
  const std::vector<ChatMessage> messages = {{"system", "S"}, {"user", "Q?"}};
  EXPECT_EQ(RenderChat("smollm2", messages)->text,
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ?<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(PromptTemplate, MarksWhatMessagesSayAsLiteralAndNothingElse) {
  const std::string question = "<｜end▁of▁sentence｜>";
  for (const std::string& name : TemplateNames()) {
    const auto prompt = RenderPrompt(name, question);
    ASSERT_TRUE(prompt.ok()) << prompt.status();
    size_t found = 0;
    for (const TextRange& range : prompt->literal) {
      found += prompt->text.substr(range.begin, range.end - range.begin) == question;
    }
    EXPECT_EQ(found, name == "plain" ? 0u : 1u) << name;
  }
  EXPECT_TRUE(RenderPrompt("plain", question)->literal.empty());
}

TEST(PromptTemplate, RefusesConversationsItHasNoFormFor) {
  EXPECT_FALSE(RenderChat("r1_chat", {}).ok());
  const std::vector<ChatMessage> tool = {{"user", "a"}, {"tool", "b"}};
  EXPECT_NE(RenderChat("qwen2", tool).status().message().find("'tool'"), std::string::npos);
  const std::vector<ChatMessage> two = {{"system", "s"}, {"user", "a"}};
  EXPECT_NE(RenderChat("r1_zero", two).status().message().find("one user"), std::string::npos);
}

}  // namespace
}  // namespace hone
