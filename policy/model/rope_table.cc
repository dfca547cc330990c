// SPDX-License-Identifier: Apache-2.0
#include "policy/model/rope_table.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "policy/kernels/scalar_math.h"

namespace hone {
namespace {

constexpr double kPi = 3.14159265358979323846;

// pi/2 in three parts of 33 bits: their products with a count below 2^20 are exact.
constexpr double kHalfPi1 = 0x1.921fb544p+0;
constexpr double kHalfPi2 = 0x1.0b4611a6p-34;
constexpr double kHalfPi3 = 0x1.3198a2e037073p-69;

// Taylor series on |r| <= pi/4; the terms left out are below 2^-63.
double SineNearZero(double r) {
  const double square = r * r;
  double sum = 0;
  for (int i = 19; i >= 3; i -= 2) sum = (sum + 1.0) * -square / (i * (i - 1));
  return r + r * sum;
}

double CosineNearZero(double r) {
  const double square = r * r;
  double sum = 0;
  for (int i = 20; i >= 2; i -= 2) sum = (sum + 1.0) * -square / (i * (i - 1));
  return 1.0 + sum;
}

// Where in [0, D/2] a pair makes `turns` full turns over the original context.
double PairOfTurns(const ModelConfig& config, double turns) {
  const double original = config.rope_scaling.original_max_position_embeddings;
  return config.RopeWidth() * kernels::Log(original / (turns * 2 * kPi)) /
         (2 * kernels::Log(config.rope_theta));
}

}  // namespace

void SineCosine(double x, double* sine, double* cosine) {
  assert(x > -0x1p20 && x < 0x1p20);
  const double scaled = x * (2 / kPi);
  const int64_t quarter = static_cast<int64_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
  const double count = static_cast<double>(quarter);
  const double r = ((x - count * kHalfPi1) - count * kHalfPi2) - count * kHalfPi3;
  const double s = SineNearZero(r);
  const double c = CosineNearZero(r);
  switch (quarter & 3) {
    case 0:
      *sine = s, *cosine = c;
      break;
    case 1:
      *sine = c, *cosine = -s;
      break;
    case 2:
      *sine = -s, *cosine = -c;
      break;
    default:
      *sine = -c, *cosine = s;
      break;
  }
}

double YarnMscale(double factor, double m) {
  return factor <= 1 ? 1.0 : 0.1 * m * kernels::Log(factor) + 1.0;
}

namespace {

// Fast pairs keep their frequency, slow ones are stretched by the factor, a ramp between.
void StretchByYarn(const ModelConfig& config, std::vector<double>* frequencies) {
  const RopeScaling& scaling = config.rope_scaling;
  const double low = std::max(std::floor(PairOfTurns(config, scaling.beta_fast)), 0.0);
  double high =
      std::min(std::ceil(PairOfTurns(config, scaling.beta_slow)), config.RopeWidth() - 1.0);
  if (high == low) high += 0.001;
  for (size_t i = 0; i < frequencies->size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    double& frequency = (*frequencies)[i];
    frequency = frequency * (1 - ramp) + frequency / scaling.factor * ramp;
  }
}

// The same between two numbers of turns over the original context.
void StretchAsLlama3(const RopeScaling& scaling, std::vector<double>* frequencies) {
  for (double& frequency : *frequencies) {
    const double turns = scaling.original_max_position_embeddings * frequency / (2 * kPi);
    const double keep = std::clamp(
        (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor),
        0.0, 1.0);
    frequency = (1 - keep) * frequency / scaling.factor + keep * frequency;
  }
}

}  // namespace

std::vector<double> RopeFrequencies(const ModelConfig& config) {
  const int32_t width = config.RopeWidth();
  const double log_theta = kernels::Log(config.rope_theta);
  std::vector<double> frequencies(static_cast<size_t>(width / 2));
  for (int32_t i = 0; i < width / 2; ++i) {
    frequencies[static_cast<size_t>(i)] = kernels::Exp(-2.0 * i / width * log_theta);
  }
  switch (config.rope_scaling.kind) {
    case RopeScalingKind::kNone:
      break;
    case RopeScalingKind::kLinear:
      for (double& frequency : frequencies) frequency /= config.rope_scaling.factor;
      break;
    case RopeScalingKind::kLlama3:
      StretchAsLlama3(config.rope_scaling, &frequencies);
      break;
    case RopeScalingKind::kYarn:
      StretchByYarn(config, &frequencies);
      break;
  }
  return frequencies;
}

template <typename Real>
std::vector<Real> RopeTable(const ModelConfig& config) {
  const std::vector<double> frequencies = RopeFrequencies(config);
  const RopeScaling& scaling = config.rope_scaling;
  const double stretch = scaling.yarn() ? YarnMscale(scaling.factor, scaling.mscale) /
                                              YarnMscale(scaling.factor, scaling.mscale_all_dim)
                                        : 1.0;
  std::vector<Real> table;
  table.reserve(static_cast<size_t>(config.max_position_embeddings) * frequencies.size() * 2);
  for (int32_t position = 0; position < config.max_position_embeddings; ++position) {
    for (double frequency : frequencies) {
      double sine, cosine;
      SineCosine(position * frequency, &sine, &cosine);
      table.push_back(static_cast<Real>(cosine * stretch));
      table.push_back(static_cast<Real>(sine * stretch));
    }
  }
  return table;
}

template std::vector<float> RopeTable<float>(const ModelConfig& config);
template std::vector<double> RopeTable<double>(const ModelConfig& config);

}  // namespace hone
