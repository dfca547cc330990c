// SPDX-License-Identifier: Apache-2.0
#include "verifier/code/code_tests.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "verifier/answer/text.h"

namespace hone {
namespace {

using Kind = Value::Kind;

// Metadata is JSON text; a plain word is taken as it stands.
std::string MetadataText(const Question& question, const std::string& key) {
  const auto found = question.metadata.find(key);
  if (found == question.metadata.end()) return "";
  const absl::StatusOr<Value> value = ParseJson(found->second);
  if (!value.ok()) return found->second;
  return value->kind == Kind::kString ? value->text : "";
}

absl::Status Unreadable(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("the tests cannot be read: ", what));
}

// A list of {"input", "output"} as {"inputs", "outputs"}.
absl::StatusOr<Value> Transposed(const Value& rows) {
  Value inputs, outputs;
  inputs.kind = outputs.kind = Kind::kList;
  for (const Value& row : rows.items) {
    const Value* input = row.Find("input");
    const Value* output = row.Find("output");
    if (input == nullptr || output == nullptr) {
      return Unreadable("a list of asserts, or of objects with \"input\" and \"output\"");
    }
    inputs.items.push_back(*input);
    outputs.items.push_back(*output);
  }
  Value names[2];
  names[0].kind = names[1].kind = Kind::kString;
  names[0].text = "inputs";
  names[1].text = "outputs";
  Value out;
  out.kind = Kind::kDict;
  out.items = {names[0], inputs, names[1], outputs};
  return out;
}

absl::Status ReadStdinTest(const Value& input, const Value& output, CodeTests* tests) {
  for (const Value* side : {&input, &output}) {
    Value text = *side;
    if (text.kind == Kind::kList) {  // lines
      std::string lines;
      for (const Value& line : text.items) {
        if (line.kind != Kind::kString) return Unreadable("a line that is no string");
        absl::StrAppend(&lines, line.text, "\n");
      }
      text.kind = Kind::kString;
      text.text = lines;
    }
    if (text.kind != Kind::kString) {
      return Unreadable(
          "inputs and outputs of a program are strings; a function needs its name "
          "as \"fn_name\" or entry_point");
    }
    (side == &input ? tests->inputs : tests->golds).push_back(std::move(text));
  }
  return absl::OkStatus();
}

// Arguments: a list, or text with one JSON value a line. Gold: a value, or JSON text along with
// arguments in text.
absl::Status ReadCallTest(const Value& input, const Value& output, const CodeOptions& options,
                          CodeTests* tests) {
  Value arguments = input, gold = output;
  if (input.kind == Kind::kString) {
    arguments = Value();
    arguments.kind = Kind::kList;
    for (absl::string_view line : absl::StrSplit(input.text, '\n')) {
      if (IsBlank(line)) continue;
      absl::StatusOr<Value> argument = ParseJson(line);
      if (!argument.ok()) return Unreadable("an argument that is no JSON");
      arguments.items.push_back(std::move(*argument));
    }
    if (output.kind == Kind::kString) {
      absl::StatusOr<Value> parsed = ParseJson(output.text);
      if (!parsed.ok()) return Unreadable("an output that is no JSON");
      gold = std::move(*parsed);
    }
  }
  if (arguments.kind != Kind::kList) return Unreadable("arguments that are no list");
  if (options.unwrap_single_outputs) {
    if (gold.kind != Kind::kList || gold.items.size() != 1) {
      return Unreadable("unwrap_single_outputs wants each output in a list of its own");
    }
    gold = Value(gold.items[0]);
  }
  tests->inputs.push_back(std::move(arguments));
  tests->golds.push_back(std::move(gold));
  return absl::OkStatus();
}

absl::Status ReadPairs(const Value& json, const CodeOptions& options, CodeTests* tests) {
  const Value* name = json.Find("fn_name");
  if (name != nullptr && name->kind == Kind::kString) tests->entry_point = name->text;
  const Value* inputs = json.Find("inputs");
  const Value* outputs = json.Find("outputs");
  if (inputs == nullptr || outputs == nullptr || inputs->kind != Kind::kList ||
      outputs->kind != Kind::kList) {
    return Unreadable("no lists \"inputs\" and \"outputs\"");
  }
  if (inputs->items.size() != outputs->items.size() || inputs->items.empty()) {
    return Unreadable(
        absl::StrCat(inputs->items.size(), " inputs and ", outputs->items.size(), " outputs"));
  }
  const size_t count = std::min(inputs->items.size(), static_cast<size_t>(options.max_tests));
  tests->left_out = static_cast<int64_t>(inputs->items.size() - count);
  tests->form = tests->entry_point.empty() ? CodeTests::Form::kStdin : CodeTests::Form::kCalls;
  for (size_t i = 0; i < count; ++i) {
    const Value &input = inputs->items[i], &output = outputs->items[i];
    const absl::Status read = tests->form == CodeTests::Form::kStdin
                                  ? ReadStdinTest(input, output, tests)
                                  : ReadCallTest(input, output, options, tests);
    if (!read.ok()) return read;
  }
  return absl::OkStatus();
}

absl::Status ReadPrograms(const Value& json, CodeTests* tests) {
  tests->form = CodeTests::Form::kAsserts;
  if (json.kind == Kind::kString) {
    tests->programs = {json.text};
  } else {
    for (const Value& item : json.items) {
      if (item.kind != Kind::kString) return Unreadable("a test that is no string");
      tests->programs.push_back(item.text);
    }
  }
  const bool blank = std::all_of(tests->programs.begin(), tests->programs.end(),
                                 [](const std::string& text) { return IsBlank(text); });
  return blank ? Unreadable("they are blank") : absl::OkStatus();
}

bool HasPreamble(const CodeTests& tests, PreambleUse use) {
  if (use != PreambleUse::kAuto) return use == PreambleUse::kAlways;
  if (tests.form == CodeTests::Form::kStdin) return false;
  if (tests.form == CodeTests::Form::kCalls || tests.entry_point == "Solution") return true;
  return std::any_of(tests.programs.begin(), tests.programs.end(),
                     [](const std::string& text) { return absl::StrContains(text, "Solution()"); });
}

}  // namespace

absl::StatusOr<CodeTests> ReadCodeTests(const Question& question, const CodeOptions& options) {
  if (IsBlank(question.tests_json)) return Unreadable("there are none");
  absl::StatusOr<Value> json = ParseJson(question.tests_json);
  if (!json.ok()) return Unreadable(json.status().message());
  if (json->kind == Kind::kString) {  // inputs and outputs in a string, as some data sets have
    absl::StatusOr<Value> inner = ParseJson(json->text);
    const bool is_form = inner.ok() && (inner->kind == Kind::kDict ||
                                        (inner->kind == Kind::kList && !inner->items.empty()));
    if (is_form) json = std::move(inner);
  }
  CodeTests tests;
  for (const char* key : {"func_name", "fn_name", "entry_point"}) {  // the last that is there
    const std::string name = MetadataText(question, key);
    if (!name.empty()) tests.entry_point = name;
  }
  if (json->kind == Kind::kList && !json->items.empty() && json->items[0].kind == Kind::kDict) {
    json = Transposed(*json);
    if (!json.ok()) return json.status();
  }
  absl::Status read;
  if (json->kind == Kind::kDict) {
    read = ReadPairs(*json, options, &tests);
  } else if (json->kind == Kind::kString || json->kind == Kind::kList) {
    read = ReadPrograms(*json, &tests);
  } else {
    read = Unreadable("a string of Python, a list of asserts, or inputs and outputs");
  }
  if (!read.ok()) return read;
  const std::string prompt = MetadataText(question, "prompt");
  if (!prompt.empty()) tests.prompts.push_back(prompt);
  for (const QuestionSegment& segment : question.segments) {
    if (segment.kind == "prompt") tests.prompts.push_back(segment.text);
  }
  tests.has_preamble = HasPreamble(tests, options.preamble);
  return tests;
}

}  // namespace hone
