// SPDX-License-Identifier: Apache-2.0
#include "verifier/code/code_text.h"

#include <string>

#include "gtest/gtest.h"
#include "verifier/code/stdout_compare.h"
#include "verifier/code/value.h"

namespace hone {
namespace {

std::string Found(const std::string& completion, bool lenient, bool bare = false) {
  Question question;
  question.segments = {{"assistant", "model", completion}};
  question.lenient = lenient;
  question.bare = bare;
  return FindCode(question, "f").code;
}

std::string Strict(const std::string& completion) {
  return Found(completion, false);
}

std::string Lenient(const std::string& completion) {
  return Found(completion, true);
}

TEST(CodeText, StrictTakesTheLastClosedPythonBlockOfTheAnswer) {
  EXPECT_EQ(Strict("```python\nx = 1\n```"), "x = 1");
  EXPECT_EQ(Strict("```py\nx = 1\n```\nor\n```python3\nx = 2\n```\n"), "x = 2");
  EXPECT_EQ(Strict("```python\nx = 1\n```\n```\nits output\n```"), "x = 1");
  EXPECT_EQ(Strict("```\nx = 1\n```"), "x = 1");
  EXPECT_EQ(Strict("```cpp\nint x;\n```"), "");
  EXPECT_EQ(Strict("```python\nx = 1\n"), "");
  EXPECT_EQ(Strict("x = 1"), "");
  EXPECT_EQ(Strict("<think>```python\nx = 1\n```</think>none"), "");
  EXPECT_EQ(Strict("<think>a</think><answer>\n```python\nx = 1\n```\n</answer>\n"
                   "```python\nx = 2\n```"),
            "x = 1");
}

TEST(CodeText, AnAnswerWithoutAFenceIsTheProgram) {
  EXPECT_EQ(Strict("<think>a</think><answer>\nx = 1\n</answer>"), "x = 1");
  EXPECT_EQ(Strict("<think>a</think><answer> x = 1</answer>"), "x = 1");
  EXPECT_EQ(Strict("<think>a</think><answer>\n    return 1\n</answer>"), "    return 1");
  EXPECT_EQ(Strict("<think>a</think><answer>\n```python\nx = 1\n</answer>"), "");
}

TEST(CodeText, LenientTakesABlockThatDefinesTheEntryPointOrTheWholeText) {
  EXPECT_EQ(Lenient("```python\ndef f(): pass\n```\nUse it:\n```python\nprint(f())\n```"),
            "def f(): pass");
  EXPECT_EQ(Lenient("```python\nx = 1\n```\nUse it:\n```python\ny = 1\n```"), "y = 1");
  EXPECT_EQ(Lenient("```python\nx = 1"), "x = 1");
  EXPECT_EQ(Lenient("\n\n    return 1\n"), "    return 1");
  EXPECT_EQ(Lenient("<think>\nhm</think>    return 1\n"), "    return 1");
  EXPECT_EQ(Lenient("```\n```"), "");
}

TEST(CodeText, BareIsTheProgramItself) {
  EXPECT_EQ(Found("    return 1\n", false, true), "    return 1");
  EXPECT_EQ(Found("s = '''\n```python\n'''\n", false, true), "s = '''\n```python\n'''");
  EXPECT_EQ(Found("```python\nx = 1\n```", false, true), "x = 1");
  EXPECT_EQ(Found(" \n", false, true), "");
}

TEST(CodeText, ABlockInAListLosesTheListsIndent) {
  EXPECT_EQ(Lenient("1. so:\n   ```python\n   if x:\n       y = 1\n   ```\n"), "if x:\n    y = 1");
}

TEST(CodeText, ALongerNameIsNotTheEntryPoint) {
  EXPECT_EQ(Lenient("```python\ndef f(): pass\n```\n```python\ndef f_test(): f()\n```"),
            "def f(): pass");
}

TEST(CodeText, AFenceInsideADocstringIsText) {
  const std::string code = "def f():\n    '''\n    ```\n    f()\n    ```\n    '''";
  EXPECT_EQ(Strict("```python\n" + code + "\n```"), code);
}

TEST(CodeText, LongerFencesHoldShorterOnes) {
  EXPECT_EQ(Strict("````python\ns = '''\n```\n'''\n````"), "s = '''\n```\n'''");
}

TEST(StdoutCompare, IgnoresBlanksAtTheEndsAndNothingElse) {
  std::string where;
  EXPECT_TRUE(SameOutput("1 2\n3\n", "1 2 \r\n3\n\n\n", 0, &where));
  EXPECT_TRUE(SameOutput("", "\n \n", 0, &where));
  EXPECT_FALSE(SameOutput("1 2\n3\n", "1 2\n", 0, &where));
  EXPECT_EQ(where, "line 2 is missing");
  EXPECT_FALSE(SameOutput("1 2\n", "1 2\n3\n", 0, &where));
  EXPECT_FALSE(SameOutput("  *\n", "*\n", 0, &where));
  EXPECT_FALSE(SameOutput("1 2", "1\n2", 0, &where));
  EXPECT_FALSE(SameOutput("1  2", "1 2", 0, &where));
  EXPECT_FALSE(SameOutput("", "0", 0, &where));
}

TEST(StdoutCompare, ToleranceIsForNumbersWithAPoint) {
  std::string where;
  EXPECT_TRUE(SameOutput("1.0000001 a", "1 a", 1e-6, &where));
  EXPECT_TRUE(SameOutput("1e6", "1000000.5", 1e-6, &where));
  EXPECT_FALSE(SameOutput("1000000", "1000001", 1e-3, &where));
  EXPECT_FALSE(SameOutput("1.0 a", "1.0 b", 1e-3, &where));
  EXPECT_FALSE(SameOutput("1.0", "nan", 1e-3, &where));
  EXPECT_FALSE(SameOutput("1.0", "1.0 1.0", 1e-3, &where));
}

TEST(Value, ReadsAndWritesJson) {
  for (const char* text :
       {"null", "true", "[1,-2.5,\"x\"]", "{\"a\":[{}]}", "123456789012345678901234567890", "[]"}) {
    const auto value = ParseJson(text);
    ASSERT_TRUE(value.ok()) << value.status();
    EXPECT_EQ(ToJson(*value), text);
  }
  EXPECT_FALSE(ParseJson("[1").ok());
  EXPECT_FALSE(ParseJson("").ok());
  EXPECT_FALSE(ParseJson("NaN").ok());
  EXPECT_FALSE(ParseJson(std::string(100000, '[')).ok());
}

std::string FromWireText(const std::string& text) {
  const auto json = ParseJson(text);
  if (!json.ok()) return "no JSON";
  const auto value = FromWire(*json);
  return value.ok() ? ShowValue(*value, 100) : "refused";
}

TEST(Value, ReadsTheWire) {
  EXPECT_EQ(FromWireText("{\"t\":[1,{\"t\":[]}]}"), "(1, ())");
  EXPECT_EQ(FromWireText("{\"d\":[[1,2],[\"x\",{\"n\":\"nan\"}]]}"), "{1: 2, \"x\": nan}");
  EXPECT_EQ(FromWireText("{\"i\":\"-0x10000000000000000000000000\"}"),
            "-1267650600228229401496703205376");
  EXPECT_EQ(FromWireText("{\"i\":\"0x0\"}"), "0");
  EXPECT_EQ(FromWireText("{\"s\":[1]}"), "<s>");
  for (const char* bad : {"{}", "{\"t\":1}", "{\"d\":[[1]]}", "{\"i\":1}", "{\"i\":\"12\"}",
                          "{\"n\":\"many\"}", "{\"d\":[1]}"}) {
    EXPECT_EQ(FromWireText(bad), "refused") << bad;
  }
}

}  // namespace
}  // namespace hone
