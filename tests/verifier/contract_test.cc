// SPDX-License-Identifier: Apache-2.0
//
// Every verifier of the registry, and the fake, held to the contract.
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/verifier/fake_verifier.h"
#include "tests/verifier/verifier_contract.h"
#include "verifier/verifier.h"

namespace hone {
namespace {

std::function<std::shared_ptr<Verifier>()> Named(const std::string& name) {
  return [name]() -> std::shared_ptr<Verifier> { return std::move(*MakeVerifier(name, {})); };
}

Question Tagged(const std::string& answer, const std::string& gold) {
  return MakeQuestion("<think>let me see</think> <answer>" + answer + "</answer>", gold);
}

Question Countdown(const std::string& answer) {
  Question question = Tagged(answer, "");
  question.metadata = {{"nums", "[25, 93, 15, 30]"}, {"target", "70"}};
  return question;
}

VerifierContract Contract(const std::string& name, const Question& right, const Question& wrong) {
  return {name, Named(name), right, wrong, /*needs_gold=*/true};
}

VerifierContract FormatContract() {
  // Strict and alone among them, "format" has no gold and never reads the answer.
  return {"format", Named("format"), Tagged("42", ""), MakeQuestion("<answer>42</answer>", ""),
          /*needs_gold=*/false};
}

INSTANTIATE_TEST_SUITE_P(Registry, VerifierContractTest,
                         testing::Values(Contract("exact", Tagged("Mount  Ararat", "Mount Ararat"),
                                                  Tagged("Mount Elbrus", "Mount Ararat")),
                                         Contract("numeric", Tagged("37", "37"),
                                                  Tagged("38", "37")),
                                         Contract("countdown", Countdown("(30 / 15) - (25 - 93)"),
                                                  Countdown("25 + 93 + 15 + 30"))),
                         ContractName);

INSTANTIATE_TEST_SUITE_P(Format, VerifierContractTest, testing::Values(FormatContract()),
                         ContractName);

}  // namespace
}  // namespace hone
