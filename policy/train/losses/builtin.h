// SPDX-License-Identifier: Apache-2.0
//
// The losses that exist, and the parameters several of them share. A new loss is a file, a line
// here and a line in loss.cc.
#ifndef HONE_POLICY_TRAIN_LOSSES_BUILTIN_H_
#define HONE_POLICY_TRAIN_LOSSES_BUILTIN_H_

#include "policy/train/losses/loss.h"

namespace hone {

const Loss& PpoClipLoss();
const Loss& CispoLoss();
const Loss& ReinforceLoss();
const Loss& CrossEntropyLoss();
const Loss& CustomLoss();

inline constexpr ParameterRule kKlCoefficientRule = {
    "kl_coefficient", &LossSettings::kl_coefficient, 0, 0, 1e6, "weight of the KL term"};
inline constexpr ParameterRule kEntropyCoefficientRule = {
    "entropy_coefficient",        &LossSettings::entropy_coefficient, 0, 0, 1e6,
    "weight of the entropy bonus"};
inline constexpr ParameterRule kMaxTokensRule = {
    "max_tokens",
    &LossSettings::max_tokens,
    0,
    1,
    1e9,
    "constant length that seq_mean_token_sum_norm divides by"};
inline constexpr ParameterRule kBehaviourWeightCapRule = {
    "behaviour_weight_cap",
    &LossSettings::behaviour_weight_cap,
    0,
    0,
    1e6,
    "tokens weigh min(proximal / behaviour, cap); 0: off"};

}  // namespace hone

#endif  // HONE_POLICY_TRAIN_LOSSES_BUILTIN_H_
