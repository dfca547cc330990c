// SPDX-License-Identifier: Apache-2.0
//
// A question, or a conversation, to the text a policy reads. Templates are functions, not a
// template language:
//
//   plain      the question as it is; alone among these, special tokens in it are recognised
//   r1_zero    the R1-Zero paper's text (Table 1), for base models; the completion opens <think>
//   tiny_zero  TinyZero's base text; ends in "<think>"
//   r1_chat    DeepSeek-R1: earlier thoughts are taken out; ends in "<think>\n"
//   v3_chat    DeepSeek-V3
//   v31_chat, v31_think   DeepSeek-V3.1 without and with thinking
//   v2_chat    DeepSeek-V2 and V2-Lite
//   chatml     <|im_start|>role ... <|im_end|>, as Moonlight's and SmolLM's kin begin from
//   qwen2      Qwen2.5: chatml with its system prompt where the conversation has none
//   smollm2    SmolLM2-Instruct: the same with its own
//   qwq        Qwen's QwQ: earlier thoughts are taken out; ends in "<think>\n"
//   qwen3, qwen3_no_think   Qwen3; the latter ends in an empty thought
//   llama3     Llama 3;  llama3_2  Llama 3.1 and 3.2, with their date lines (26 Jul 2024)
//
// Where a template ends in an opened <think>, completions hold none: the format rule to use is
// strict_prefilled, and that is the caller's config.
#ifndef HONE_ROLLOUT_PROMPT_TEMPLATE_H_
#define HONE_ROLLOUT_PROMPT_TEMPLATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/tokenizer/prompt_text.h"

namespace hone {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// The contents of messages are literal: no special token is recognised in them. The template ends
// where the assistant is to go on. INVALID_ARGUMENT: an unknown template (listing the known ones)
// or role, no message at all, or other than one question for plain, r1_zero and tiny_zero.
absl::StatusOr<PromptText> RenderChat(absl::string_view name,
                                      absl::Span<const ChatMessage> messages);
// A conversation of one question.
absl::StatusOr<PromptText> RenderPrompt(absl::string_view name, absl::string_view question);
// Its text alone.
absl::StatusOr<std::string> ApplyTemplate(absl::string_view name, absl::string_view question);

// Whether prompts end inside an opened <think>. False for an unknown name.
bool PrefillsThink(absl::string_view name);

std::vector<std::string> TemplateNames();

}  // namespace hone

#endif  // HONE_ROLLOUT_PROMPT_TEMPLATE_H_
