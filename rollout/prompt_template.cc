// SPDX-License-Identifier: Apache-2.0
#include "rollout/prompt_template.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "policy/tokenizer/utf8.h"

namespace hone {
namespace {

using Messages = absl::Span<const ChatMessage>;

constexpr absl::string_view kEndOfThought = "</think>";

// What stands after the last </think>, or all of it.
absl::string_view AfterThought(absl::string_view content) {
  const size_t at = content.rfind(kEndOfThought);
  return at == absl::string_view::npos ? content : content.substr(at + kEndOfThought.size());
}

absl::string_view WithoutNewlines(absl::string_view text, bool front, bool back) {
  while (front && absl::ConsumePrefix(&text, "\n")) {
  }
  while (back && absl::ConsumeSuffix(&text, "\n")) {
  }
  return text;
}

// Whether a character is one that Python's strip() takes.
bool IsStripped(const Utf8Front& front) {
  return front.kind == Utf8Front::Kind::kCharacter &&
         (IsUnicodeSpace(front.character) || (front.character >= 0x1c && front.character <= 0x1f));
}

absl::string_view Trimmed(absl::string_view text) {
  while (!text.empty()) {
    const Utf8Front front = ReadUtf8(text);
    if (!IsStripped(front)) break;
    text.remove_prefix(front.bytes);
  }
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (text[begin] & 0xc0) == 0x80) --begin;
    if (!IsStripped(ReadUtf8(text.substr(begin)))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

void Plain(Messages messages, PromptText* out) {
  out->Append(messages[0].content);
}

void R1Zero(Messages messages, PromptText* out) {
  out->Append(
      "A conversation between User and Assistant. The user asks a question, and the Assistant "
      "solves it. The assistant first thinks about the reasoning process in the mind and then "
      "provides the user with the answer. The reasoning process and answer are enclosed within "
      "<think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process "
      "here </think> <answer> answer here </answer>. User: ");
  out->AppendLiteral(messages[0].content);
  out->Append(". Assistant:");
}

void TinyZero(Messages messages, PromptText* out) {
  out->Append(
      "A conversation between User and Assistant. The user asks a question, and the Assistant "
      "solves it. The assistant first thinks about the reasoning process in the mind and then "
      "provides the user with the answer.\nUser: ");
  out->AppendLiteral(messages[0].content);
  out->Append(
      " Show your work in <think> </think> tags. And return the final answer in <answer> </answer> "
      "tags, for example <answer> (1 + 2) / 3 </answer>.\nAssistant: Let me solve this step by "
      "step.\n<think>");
}

// DeepSeek's forms since V3: all system messages first, then the turns.
void DeepSeekSystem(Messages messages, PromptText* out) {
  out->Append("<｜begin▁of▁sentence｜>");
  bool first = true;
  for (const ChatMessage& message : messages) {
    if (message.role != "system") continue;
    if (!first) out->Append("\n\n");
    out->AppendLiteral(message.content);
    first = false;
  }
}

void DeepSeekTurns(Messages messages, bool thoughts, absl::string_view end, PromptText* out) {
  DeepSeekSystem(messages, out);
  for (const ChatMessage& message : messages) {
    if (message.role == "user") {
      out->Append("<｜User｜>");
      out->AppendLiteral(message.content);
    } else if (message.role == "assistant") {
      out->Append("<｜Assistant｜>");
      out->AppendLiteral(thoughts ? message.content : AfterThought(message.content));
      out->Append("<｜end▁of▁sentence｜>");
    }
  }
  out->Append(end);
}

void R1Chat(Messages messages, PromptText* out) {
  DeepSeekTurns(messages, false, "<｜Assistant｜><think>\n", out);
}

void V3Chat(Messages messages, PromptText* out) {
  DeepSeekTurns(messages, true, "<｜Assistant｜>", out);
}

void V31(Messages messages, absl::string_view end, PromptText* out) {
  DeepSeekSystem(messages, out);
  bool after_user = false;
  for (const ChatMessage& message : messages) {
    if (message.role == "user") {
      out->Append("<｜User｜>");
      out->AppendLiteral(message.content);
      after_user = true;
    } else if (message.role == "assistant") {
      if (after_user) out->Append("<｜Assistant｜></think>");
      const size_t at = message.content.find(kEndOfThought.data(), 0, kEndOfThought.size());
      out->AppendLiteral(absl::string_view(message.content)
                             .substr(at == std::string::npos ? 0 : at + kEndOfThought.size()));
      out->Append("<｜end▁of▁sentence｜>");
      after_user = false;
    }
  }
  if (after_user) out->Append(absl::StrCat("<｜Assistant｜>", end));
}

void V31Chat(Messages messages, PromptText* out) {
  V31(messages, kEndOfThought, out);
}

void V31Think(Messages messages, PromptText* out) {
  V31(messages, "<think>", out);
}

void V2Chat(Messages messages, PromptText* out) {
  out->Append("<｜begin▁of▁sentence｜>");
  for (const ChatMessage& message : messages) {
    if (message.role == "user") out->Append("User: ");
    if (message.role == "assistant") out->Append("Assistant: ");
    out->AppendLiteral(message.content);
    out->Append(message.role == "assistant" ? "<｜end▁of▁sentence｜>" : "\n\n");
  }
  out->Append("Assistant:");
}

void ChatMlTurn(absl::string_view role, absl::string_view content, PromptText* out) {
  out->Append(absl::StrCat("<|im_start|>", role, "\n"));
  out->AppendLiteral(content);
  out->Append("<|im_end|>\n");
}

void ChatMl(Messages messages, PromptText* out) {
  for (const ChatMessage& message : messages) ChatMlTurn(message.role, message.content, out);
  out->Append("<|im_start|>assistant\n");
}

void Qwen2(Messages messages, PromptText* out) {
  if (messages[0].role != "system") {
    ChatMlTurn("system", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
               out);
  }
  ChatMl(messages, out);
}

void SmolLm2(Messages messages, PromptText* out) {
  if (messages[0].role != "system") {
    ChatMlTurn("system", "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
               out);
  }
  ChatMl(messages, out);
}

void Qwq(Messages messages, PromptText* out) {
  for (const ChatMessage& message : messages) {
    const bool cut = message.role == "assistant" && &message != &messages.back();
    ChatMlTurn(message.role,
               cut ? WithoutNewlines(AfterThought(message.content), true, false) : message.content,
               out);
  }
  out->Append("<|im_start|>assistant\n<think>\n");
}

// An assistant's turn after the last question keeps its thought; those before lose it.
void Qwen3Assistant(const ChatMessage& message, bool after_question, bool last, PromptText* out) {
  absl::string_view content = message.content;
  absl::string_view thought;
  if (absl::StrContains(content, kEndOfThought)) {
    thought = WithoutNewlines(content.substr(0, content.find(kEndOfThought)), false, true);
    const size_t opened = thought.rfind("<think>");
    if (opened != absl::string_view::npos) thought.remove_prefix(opened + 7);
    thought = WithoutNewlines(thought, true, true);
    content = WithoutNewlines(AfterThought(content), true, false);
  }
  if (!after_question || (!last && thought.empty())) return ChatMlTurn("assistant", content, out);
  out->Append("<|im_start|>assistant\n<think>\n");
  out->AppendLiteral(thought);
  out->Append("\n</think>\n\n");
  out->AppendLiteral(WithoutNewlines(content, true, false));
  out->Append("<|im_end|>\n");
}

void Qwen3(Messages messages, PromptText* out) {
  size_t question = messages.size() - 1;  // the last one that is not a tool's reply
  for (size_t i = messages.size(); i-- > 0;) {
    const bool tool = absl::StartsWith(messages[i].content, "<tool_response>") &&
                      absl::EndsWith(messages[i].content, "</tool_response>");
    if (messages[i].role != "user" || tool) continue;
    question = i;
    break;
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role == "assistant") {
      Qwen3Assistant(messages[i], i > question, i + 1 == messages.size(), out);
    } else {
      ChatMlTurn(messages[i].role, messages[i].content, out);
    }
  }
  out->Append("<|im_start|>assistant\n");
}

void Qwen3NoThink(Messages messages, PromptText* out) {
  Qwen3(messages, out);
  out->Append("<think>\n\n</think>\n\n");
}

void Llama3Turns(Messages messages, PromptText* out) {
  for (const ChatMessage& message : messages) {
    out->Append(absl::StrCat("<|start_header_id|>", message.role, "<|end_header_id|>\n\n"));
    out->AppendLiteral(Trimmed(message.content));
    out->Append("<|eot_id|>");
  }
  out->Append("<|start_header_id|>assistant<|end_header_id|>\n\n");
}

void Llama3(Messages messages, PromptText* out) {
  out->Append("<|begin_of_text|>");
  Llama3Turns(messages, out);
}

void Llama32(Messages messages, PromptText* out) {
  out->Append(
      "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
      "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
  if (messages[0].role == "system") {
    out->AppendLiteral(Trimmed(messages[0].content));
    messages.remove_prefix(1);
  }
  out->Append("<|eot_id|>");
  Llama3Turns(messages, out);
}

struct Template {
  const char* name;
  void (*render)(Messages messages, PromptText* out);
  bool one_question;  // no conversations
};

constexpr Template kTemplates[] = {
    {"plain", Plain, true},
    {"r1_zero", R1Zero, true},
    {"tiny_zero", TinyZero, true},
    {"r1_chat", R1Chat, false},
    {"v3_chat", V3Chat, false},
    {"v31_chat", V31Chat, false},
    {"v31_think", V31Think, false},
    {"v2_chat", V2Chat, false},
    {"chatml", ChatMl, false},
    {"qwen2", Qwen2, false},
    {"smollm2", SmolLm2, false},
    {"qwq", Qwq, false},
    {"qwen3", Qwen3, false},
    {"llama3", Llama3, false},
    {"qwen3_no_think", Qwen3NoThink, false},
    {"llama3_2", Llama32, false},
};

const Template* Find(absl::string_view name) {
  for (const Template& known : kTemplates) {
    if (name == known.name) return &known;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<PromptText> RenderChat(absl::string_view name, Messages messages) {
  const Template* found = Find(name);
  if (found == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown prompt template '", name, "'; there are ", absl::StrJoin(TemplateNames(), ", ")));
  }
  if (messages.empty()) return absl::InvalidArgumentError("a conversation without a message");
  if (found->one_question && (messages.size() != 1 || messages[0].role != "user")) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt template '", name, "' takes one user message and nothing else"));
  }
  for (const ChatMessage& message : messages) {
    if (message.role == "system" || message.role == "user" || message.role == "assistant") continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "the role '", message.role, "'; prompt templates know system, user and assistant"));
  }
  PromptText prompt;
  found->render(messages, &prompt);
  return prompt;
}

absl::StatusOr<PromptText> RenderPrompt(absl::string_view name, absl::string_view question) {
  const ChatMessage message = {"user", std::string(question)};
  return RenderChat(name, {&message, 1});
}

absl::StatusOr<std::string> ApplyTemplate(absl::string_view name, absl::string_view question) {
  absl::StatusOr<PromptText> prompt = RenderPrompt(name, question);
  if (!prompt.ok()) return prompt.status();
  return std::move(prompt->text);
}

bool PrefillsThink(absl::string_view name) {
  const auto prompt = RenderPrompt(name, "");
  return name != "plain" && prompt.ok() &&
         (absl::EndsWith(prompt->text, "<think>") || absl::EndsWith(prompt->text, "<think>\n"));
}

std::vector<std::string> TemplateNames() {
  std::vector<std::string> names;
  for (const Template& known : kTemplates) names.push_back(known.name);
  return names;
}

}  // namespace hone
