// SPDX-License-Identifier: Apache-2.0
#include "services/convert/learning.h"

#include <string>
#include <utility>

#include "hone/v1/policy_service.pb.h"
#include "services/convert/check.h"
#include "services/convert/limits.h"
#include "services/convert/values.h"

namespace hone::convert {
namespace {

using Floats = google::protobuf::RepeatedField<float>;

void Assign(const std::vector<float>& from, Floats* to) {
  to->Assign(from.begin(), from.end());
}

void TakeArray(absl::string_view field, const Floats& from, int64_t tokens, Checker& check,
               std::vector<float>* to) {
  check.LengthOrEmpty(field, from.size(), tokens);
  check.AllFinite(field, from, 1);
  to->assign(from.begin(), from.end());
}

}  // namespace

void ToProto(const TrainSequence& from, v1::TrainSequence* to) {
  to->Clear();
  to->mutable_tokens()->Assign(from.tokens.begin(), from.tokens.end());
  Assign(from.loss_mask, to->mutable_loss_mask());
  Assign(from.advantages, to->mutable_advantages());
  Assign(from.behaviour_logprobs, to->mutable_behaviour_logprobs());
  Assign(from.proximal_logprobs, to->mutable_proximal_logprobs());
  Assign(from.reference_logprobs, to->mutable_reference_logprobs());
  Assign(from.d_logprobs, to->mutable_d_logprobs());
  if (from.routes.moe_layers > 0) ToProto(from.routes, to->mutable_routes());
  to->set_weight(from.weight);
}

absl::StatusOr<TrainSequence> FromProto(const v1::TrainSequence& from) {
  Checker check;
  TrainSequence to;
  const int64_t tokens = from.tokens_size();
  check.Tokens("tokens", from.tokens());
  TakeArray("loss_mask", from.loss_mask(), tokens, check, &to.loss_mask);
  TakeArray("advantages", from.advantages(), tokens, check, &to.advantages);
  TakeArray("behaviour_logprobs", from.behaviour_logprobs(), tokens, check, &to.behaviour_logprobs);
  TakeArray("proximal_logprobs", from.proximal_logprobs(), tokens, check, &to.proximal_logprobs);
  TakeArray("reference_logprobs", from.reference_logprobs(), tokens, check, &to.reference_logprobs);
  TakeArray("d_logprobs", from.d_logprobs(), tokens, check, &to.d_logprobs);
  check.Finite("weight", from.weight());
  if (from.has_routes()) check.Take("routes", FromProto(from.routes()), &to.routes);
  if (!check.ok()) return check.status();
  to.tokens = {from.tokens().begin(), from.tokens().end()};
  to.weight = from.weight();
  return to;
}

void SettingsToProto(const ForwardBackwardRequest& from, v1::ForwardBackwardRequest* to) {
  v1::LossSpec* loss = to->mutable_loss();
  loss->set_name(from.loss.name);
  loss->mutable_parameters()->insert(from.loss.parameters.begin(), from.loss.parameters.end());
  loss->mutable_options()->insert(from.loss.options.begin(), from.loss.options.end());
  to->set_temperature(from.temperature);
  to->set_top_p(from.top_p);
  to->set_top_k(from.top_k);
  to->set_mask_vocabulary(from.mask_vocabulary);
  to->set_first_index(from.first_index);
  to->set_total_loss_tokens(from.total_loss_tokens);
  to->set_total_sequences(from.total_sequences);
  to->set_forward_only(from.forward_only);
  to->set_live_routes(from.live_routes);
}

absl::StatusOr<ForwardBackwardRequest> SettingsFromProto(const v1::ForwardBackwardRequest& from) {
  Checker check;
  ForwardBackwardRequest to;
  check.Name("loss.name", from.loss().name());
  check.Range("loss.parameters", from.loss().parameters_size(), 0, kMaxMapEntries);
  check.Range("loss.options", from.loss().options_size(), 0, kMaxMapEntries);
  for (const auto& [name, value] : from.loss().parameters()) {
    check.Finite(absl::StrCat("loss parameter '", name, "'"), value);
  }
  check.Finite("temperature", from.temperature());
  check.Require(from.temperature() >= 0, "temperature", "is negative");
  check.Require(from.top_p() > 0 && from.top_p() <= 1, "top_p", "is not in (0, 1]");
  check.Require(from.top_k() >= 0, "top_k", "is negative");
  check.Require(from.first_index() >= 0, "first_index", "is negative");
  check.Finite("total_loss_tokens", from.total_loss_tokens());
  check.Finite("total_sequences", from.total_sequences());
  check.Require(from.total_loss_tokens() >= 0, "total_loss_tokens", "is negative");
  check.Require(from.total_sequences() >= 0, "total_sequences", "is negative");
  check.Name("request_id", from.request_id());
  if (!check.ok()) return check.status();
  to.loss.name = from.loss().name();
  to.loss.parameters = {from.loss().parameters().begin(), from.loss().parameters().end()};
  to.loss.options = {from.loss().options().begin(), from.loss().options().end()};
  to.temperature = from.temperature();
  to.top_p = from.top_p();
  to.top_k = from.top_k();
  to.mask_vocabulary = from.mask_vocabulary();
  to.first_index = from.first_index();
  to.total_loss_tokens = from.total_loss_tokens();
  to.total_sequences = from.total_sequences();
  to.forward_only = from.forward_only();
  to.live_routes = from.live_routes();
  return to;
}

void MetricsToProto(const ForwardBackwardResult& from, v1::ForwardBackwardResponse* to) {
  to->mutable_metrics()->insert(from.metrics.begin(), from.metrics.end());
}

absl::Status MetricsFromProto(const v1::ForwardBackwardResponse& from, ForwardBackwardResult* to) {
  Checker check;
  check.Range("metrics", from.metrics_size(), 0, kMaxMapEntries);
  if (check.ok()) to->metrics.insert(from.metrics().begin(), from.metrics().end());
  return check.status();
}

void SequenceToProto(const ForwardBackwardResult& from, size_t i,
                     v1::ForwardBackwardResponse_Sequence* to) {
  Assign(from.logprobs[i], to->mutable_logprobs());
  Assign(from.entropy[i], to->mutable_entropy());
  to->set_clipped(std::string(from.clipped[i].begin(), from.clipped[i].end()));
}

absl::Status AppendFromProto(const v1::ForwardBackwardResponse_Sequence& from, size_t tokens,
                             ForwardBackwardResult* to) {
  Checker check;
  const int64_t expected = static_cast<int64_t>(tokens);
  check.Length("logprobs", from.logprobs_size(), expected);
  check.Length("entropy", from.entropy_size(), expected);
  check.Length("clipped", static_cast<int64_t>(from.clipped().size()), expected);
  for (char flag : from.clipped()) check.Range("clipped", flag, 0, 2);
  if (!check.ok()) return check.status();
  to->logprobs.emplace_back(from.logprobs().begin(), from.logprobs().end());
  to->entropy.emplace_back(from.entropy().begin(), from.entropy().end());
  to->clipped.emplace_back(from.clipped().begin(), from.clipped().end());
  return absl::OkStatus();
}

void ToProto(const OptimStepRequest& from, v1::OptimStepRequest* to) {
  to->set_expected_version(from.expected_version);
  to->set_update_id(from.update_id);
  v1::AdamWParams* adamw = to->mutable_adamw();
  adamw->set_learning_rate(from.adamw.learning_rate);
  adamw->set_beta1(from.adamw.beta1);
  adamw->set_beta2(from.adamw.beta2);
  adamw->set_epsilon(from.adamw.epsilon);
  adamw->set_weight_decay(from.adamw.weight_decay);
  adamw->set_max_grad_norm(from.adamw.max_grad_norm);
}

absl::StatusOr<OptimStepRequest> FromProto(const v1::OptimStepRequest& from) {
  Checker check;
  check.Name("update_id", from.update_id());
  check.Finite("adamw.learning_rate", from.adamw().learning_rate());
  check.Require(from.adamw().beta1() >= 0 && from.adamw().beta1() < 1, "adamw.beta1",
                "is not in [0, 1)");
  check.Require(from.adamw().beta2() >= 0 && from.adamw().beta2() < 1, "adamw.beta2",
                "is not in [0, 1)");
  check.Finite("adamw.epsilon", from.adamw().epsilon());
  check.Finite("adamw.weight_decay", from.adamw().weight_decay());
  check.Finite("adamw.max_grad_norm", from.adamw().max_grad_norm());
  check.Require(from.adamw().max_grad_norm() >= 0, "adamw.max_grad_norm", "is negative");
  if (!check.ok()) return check.status();
  OptimStepRequest to;
  to.expected_version = from.expected_version();
  to.update_id = from.update_id();
  to.adamw = {from.adamw().learning_rate(), from.adamw().beta1(),
              from.adamw().beta2(),         from.adamw().epsilon(),
              from.adamw().weight_decay(),  from.adamw().max_grad_norm()};
  return to;
}

void ToProto(const OptimStepResult& from, v1::OptimStepResponse* to) {
  to->set_version(from.version);
  to->set_hash_before(from.hash_before);
  to->set_hash_after(from.hash_after);
  to->set_grad_norm(from.grad_norm);
  to->set_update_to_weight(from.update_to_weight);
  for (const TensorFingerprint& tensor : from.tensors) {
    v1::TensorFingerprint* one = to->add_tensors();
    one->set_name(tensor.name);
    one->set_value(tensor.value);
  }
}

absl::StatusOr<OptimStepResult> FromProto(const v1::OptimStepResponse& from) {
  Checker check;
  check.Require(from.version() >= 0, "version", "is negative");
  check.Name("hash_before", from.hash_before());
  check.Name("hash_after", from.hash_after());
  check.Finite("grad_norm", from.grad_norm());
  for (int i = 0; i < from.tensors_size(); ++i) {
    check.Name(At("tensors", i), from.tensors(i).name());
  }
  if (!check.ok()) return check.status();
  OptimStepResult to{from.version(),   from.hash_before(),      from.hash_after(),
                     from.grad_norm(), from.update_to_weight(), {}};
  for (const v1::TensorFingerprint& tensor : from.tensors()) {
    to.tensors.push_back({tensor.name(), tensor.value()});
  }
  return to;
}

}  // namespace hone::convert
