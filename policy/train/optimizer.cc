// SPDX-License-Identifier: Apache-2.0
#include "policy/train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

// base^n by squaring: no libm decides a bit of a weight.
double Power(double base, int64_t n) {
  double out = 1.0;
  for (; n > 0; n /= 2, base *= base) {
    if (n % 2 == 1) out *= base;
  }
  return out;
}

double SumUp(const double* values, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += values[i];
  return sum;
}

}  // namespace

absl::Status CheckAdamW(const AdamWParams& params) {
  const auto refuse = [](absl::string_view name, double value, absl::string_view must) {
    return absl::InvalidArgumentError(
        absl::StrCat("AdamW: ", name, " is ", value, "; it must be ", must));
  };
  const auto at_least_zero = [](double x) { return x >= 0 && std::isfinite(x); };
  if (!at_least_zero(params.learning_rate)) {
    return refuse("learning_rate", params.learning_rate, "finite and at least 0");
  }
  if (!(params.beta1 >= 0 && params.beta1 < 1)) return refuse("beta1", params.beta1, "in [0, 1)");
  if (!(params.beta2 >= 0 && params.beta2 < 1)) return refuse("beta2", params.beta2, "in [0, 1)");
  if (!(params.epsilon > 0 && params.epsilon <= 1)) {
    return refuse("epsilon", params.epsilon, "in (0, 1]");
  }
  if (!at_least_zero(params.weight_decay)) {
    return refuse("weight_decay", params.weight_decay, "finite and at least 0");
  }
  if (!at_least_zero(params.max_grad_norm)) {
    return refuse("max_grad_norm", params.max_grad_norm, "finite and at least 0 (0: no clipping)");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Optimizer>> Optimizer::Create(Model<float>& model) {
  std::unique_ptr<Optimizer> optimizer(new Optimizer(model));
  const std::vector<ParameterInfo>& all = model.registry().all();
  bool rounded = false;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i].trainable) continue;
    optimizer->stepped_.push_back(i);
    optimizer->trunk_ += all[i].group != ParameterGroup::kMtp;
    rounded |= all[i].dtype == DType::kBFloat16;
  }
  const size_t bytes = static_cast<size_t>(model.registry().trainable_elements()) * sizeof(float);
  std::vector<std::pair<Buffer*, size_t>> wanted = {
      {&optimizer->m_, bytes},
      {&optimizer->v_, bytes},
      {&optimizer->sums_, 3 * optimizer->stepped_.size() * sizeof(double)}};
  if (rounded) wanted.push_back({&optimizer->master_, bytes});
  for (auto& [buffer, size] : wanted) {
    auto allocated = Buffer::Allocate(model.device(), size);
    if (!allocated.ok()) return allocated.status();
    *buffer = *std::move(allocated);
  }
  optimizer->Reset();
  return optimizer;
}

void Optimizer::Reset() {
  Device& device = model_->device();
  device.Zero(m_.data(), m_.bytes(), nullptr);
  device.Zero(v_.data(), v_.bytes(), nullptr);
  if (master_.data() != nullptr) {
    device.CopyWithin(master_.data(), model_->values(), master_.bytes(), nullptr);
  }
  steps_ = 0;
}

absl::StatusOr<StepStats> Optimizer::Step(ThreadTeam& team, const AdamWParams& params,
                                          const float* gradient) {
  const absl::Status checked = CheckAdamW(params);
  if (!checked.ok()) return checked;
  const std::vector<ParameterInfo>& all = model_->registry().all();
  const kernels::KernelTable<float>& table = model_->table();
  const size_t count = stepped_.size();
  double* sums = sums_.as<double>();
  team.Run(static_cast<int>(count), [&](int piece, int) {
    const ParameterInfo& info = all[stepped_[static_cast<size_t>(piece)]];
    kernels::SumSquaresArgs<float> args;
    args.x = {gradient + info.offset, {info.elements}};
    args.sum = {sums + piece, {1}};
    table.sum_squares(nullptr, args);
  });
  std::vector<double> host(3 * count);
  model_->device().CopyOut(host.data(), sums, count * sizeof(double), nullptr);
  StepStats stats;
  stats.grad_norm = std::sqrt(SumUp(host.data(), trunk_));
  const double mtp_norm = std::sqrt(SumUp(host.data() + trunk_, count - trunk_));
  for (const double norm : {stats.grad_norm, mtp_norm}) {
    if (std::isfinite(norm)) continue;
    return absl::DataLossError(absl::StrCat("the gradient norm is ", norm,
                                            "; nothing was changed and the pending gradients "
                                            "were dropped"));
  }
  ++steps_;
  kernels::AdamWArgs<float> step;
  const auto scale = [&params](double norm) {
    const bool clip = params.max_grad_norm > 0 && norm > params.max_grad_norm;
    return clip ? params.max_grad_norm / norm : 1.0;
  };
  const double trunk_scale = scale(stats.grad_norm), mtp_scale = scale(mtp_norm);
  step.learning_rate = params.learning_rate;
  step.beta1 = params.beta1;
  step.beta2 = params.beta2;
  step.epsilon = params.epsilon;
  step.bias1 = 1.0 - Power(params.beta1, steps_);
  step.bias2 = 1.0 - Power(params.beta2, steps_);
  team.Run(static_cast<int>(count), [&](int piece, int) {
    const ParameterInfo& info = all[stepped_[static_cast<size_t>(piece)]];
    kernels::AdamWArgs<float> args = step;
    args.grad_scale = static_cast<size_t>(piece) < trunk_ ? trunk_scale : mtp_scale;
    args.master = {master() + info.offset, {info.elements}};
    args.m = {m_.as<float>() + info.offset, {info.elements}};
    args.v = {v_.as<float>() + info.offset, {info.elements}};
    args.grad = {gradient + info.offset, {info.elements}};
    args.value = {model_->values() + info.offset, {info.elements}};
    args.weight_decay = info.decay ? params.weight_decay : 0.0;
    args.round_bf16 = info.dtype == DType::kBFloat16;
    args.change_squares = {sums + count + static_cast<size_t>(piece), {1}};
    args.weight_squares = {sums + 2 * count + static_cast<size_t>(piece), {1}};
    table.adamw(nullptr, args);
  });
  model_->device().CopyOut(host.data(), sums, host.size() * sizeof(double), nullptr);
  const double change = SumUp(&host[count], trunk_);
  const double weight = SumUp(&host[2 * count], trunk_);
  stats.update_to_weight = weight > 0 ? std::sqrt(change / weight) : 0.0;
  return stats;
}

OptimizerArrays Optimizer::Arrays() const {
  OptimizerArrays out;
  out.steps = steps_;
  if (steps_ == 0) return out;
  const auto reader = [this](const Buffer& from) {
    return [this, &from](const ParameterInfo& info, int64_t first, int64_t count, float* to) {
      const ParameterInfo* own = model_->registry().Find(info.name);
      // What is never stepped (the correction bias) has its only truth in the values.
      const bool values = &from == &master_ && !own->trainable;
      const float* place = values ? model_->values() : from.as<float>();
      model_->device().CopyOut(to, place + own->offset + first,
                               static_cast<size_t>(count) * sizeof(float), nullptr);
      return absl::OkStatus();
    };
  };
  out.m = reader(m_);
  out.v = reader(v_);
  if (master_.data() != nullptr) out.master = reader(master_);
  return out;
}

absl::Status Optimizer::Load(const OptimizerArrays& arrays) {
  if (static_cast<bool>(arrays.m) != static_cast<bool>(arrays.v) ||
      (master_.data() == nullptr && arrays.master) ||
      (master_.data() != nullptr && arrays.m && !arrays.master)) {
    return absl::InvalidArgumentError(
        "the optimizer's state does not fit the model: its moments or master weights are absent, "
        "or too many");
  }
  Reset();
  constexpr int64_t kPieceElements = int64_t{1} << 18;
  const std::pair<const ReadParameter&, const Buffer&> parts[] = {
      {arrays.master, master_}, {arrays.m, m_}, {arrays.v, v_}};
  std::vector<float> piece;
  for (const auto& [read, buffer] : parts) {
    if (!read) continue;
    for (const ParameterInfo& info : model_->registry().all()) {
      for (int64_t first = 0; !info.frozen && first < info.elements; first += kPieceElements) {
        const int64_t count = std::min(kPieceElements, info.elements - first);
        piece.resize(static_cast<size_t>(count));
        const absl::Status status = read(info, first, count, piece.data());
        if (!status.ok()) return status;
        model_->device().CopyIn(buffer.as<float>() + info.offset + first, piece.data(),
                                piece.size() * sizeof(float), nullptr);
      }
    }
  }
  steps_ = arrays.m ? arrays.steps : 0;
  return absl::OkStatus();
}

}  // namespace hone
