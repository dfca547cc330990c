// SPDX-License-Identifier: Apache-2.0
#include "verifier/registry.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/verifier/judge.h"
#include "verifier/verifier.h"

namespace hone {
namespace {

TEST(Registry, ListsTheVerifiersItMakes) {
  std::string names;
  for (const VerifierInfo& info : ListVerifiers()) {
    names += info.name + " ";
    EXPECT_TRUE(MakeVerifier(info.name, {}).ok()) << info.name;
    EXPECT_FALSE(info.description.empty());
  }
  EXPECT_EQ(names, "exact numeric countdown math code format ");
}

TEST(Registry, SaysWhatThereIsWhenAskedForSomethingElse) {
  const absl::Status unknown = MakeVerifier("exakt", {}).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(unknown.message().find("exact, numeric, countdown, math, code, format"),
            std::string::npos);
  for (const char* planned : {"custom"}) {
    const absl::Status status = MakeVerifier(planned, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_NE(status.message().find("is not in this build"), std::string::npos) << status;
    EXPECT_NE(status.message().find("exact, numeric, countdown, math, code, format"),
              std::string::npos);
  }
}

TEST(Registry, RefusesAnOptionTheVerifierDoesNotTake) {
  for (const VerifierInfo& info : ListVerifiers()) {
    const absl::Status status = MakeVerifier(info.name, {{"colour", "red"}}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << info.name;
    EXPECT_NE(status.message().find("colour"), std::string::npos);
  }
  EXPECT_FALSE(MakeVerifier("exact", {{"case_insensitive", "yes"}}).ok());
}

TEST(Registry, ListsTheOptionsOfAVerifierWithTheirDefaults) {
  EXPECT_EQ(ListVerifierOptions("exact")->at("case_insensitive"), "false");
  EXPECT_EQ(ListVerifierOptions("format")->at("rule"), "strict");
  EXPECT_TRUE(ListVerifierOptions("countdown")->empty());
  EXPECT_EQ(ListVerifierOptions("math")->at("percent"), "either");
  EXPECT_EQ(ListVerifierOptions("custom").status().code(), absl::StatusCode::kNotFound);
  for (const VerifierInfo& info : ListVerifiers()) {
    EXPECT_TRUE(MakeVerifier(info.name, *ListVerifierOptions(info.name)).ok()) << info.name;
  }
}

TEST(Registry, HashesTheConfigurationAndNotHowItWasWritten) {
  const auto hash = [](const VerifierOptions& options) {
    return (*MakeVerifier("exact", options))->Describe().config_hash;
  };
  EXPECT_EQ(hash({}), hash({{"case_insensitive", "false"}}));
  EXPECT_NE(hash({}), hash({{"case_insensitive", "true"}}));
}

TEST(Outcome, NamesReadBack) {
  for (int i = 1; i <= 7; ++i) {
    const Outcome outcome = static_cast<Outcome>(i);
    EXPECT_EQ(OutcomeFromName(OutcomeName(outcome)), outcome);
  }
  EXPECT_EQ(OutcomeFromName("right"), Outcome::kUnspecified);
  EXPECT_EQ(OutcomeFromName("unspecified"), Outcome::kUnspecified);
}

TEST(Question, TheCompletionIsTheLastModelSegment) {
  Question question;
  EXPECT_EQ(question.completion(), "");
  question.segments = {{"user", "prompt", "p"},
                       {"assistant", "model", "first"},
                       {"tool", "tool", "t"},
                       {"assistant", "model", "second"},
                       {"tool", "environment", "e"}};
  EXPECT_EQ(question.completion(), "second");
}

}  // namespace
}  // namespace hone
