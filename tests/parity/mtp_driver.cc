// SPDX-License-Identifier: Apache-2.0
//
// What scripts/mtp_agreement.py runs: a module that predicts further ahead.
// Usage: mtp_driver DIRECTORY OUT, token rows on stdin, one a line; a row of logprobs each on
// stdout, from token 2. OUT/detached.f32 and OUT/through.f32: gradients of the sum of the first
// 8 rows' logprobs (flat), alone and through the whole model; OUT/grad.txt: name, offset,
// elements.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "policy/checkpoint/checkpoint.h"
#include "policy/kernels/backend.h"
#include "policy/model/packed_pass.h"

namespace hone {
namespace {

constexpr size_t kGradientRows = 8;

void WriteGradient(PackedPass<float>& pass, const Model<float>& model,
                   const std::vector<PackedSequence>& sequences, const PackedOptions& options,
                   bool detach, const std::string& path) {
  pass.Forward(sequences, options);
  PackedPass<float>::Gradients gradients;
  for (const PackedSequence& sequence : sequences) {
    gradients.d_logprobs.emplace_back(sequence.tokens.size(), 0.0f);
    gradients.d_mtp_logprobs.emplace_back(sequence.tokens.size(), 1.0f);
  }
  gradients.mtp_detach = detach;
  std::vector<float> gradient(static_cast<size_t>(model.registry().flat_elements()), 0.0f);
  pass.Backward(gradients, gradient.data());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(gradient.data()),
             static_cast<std::streamsize>(gradient.size() * sizeof(float)));
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) {
  using namespace hone;
  if (argc != 3) return 2;
  const auto opened =
      OpenCheckpoint(argv[1], /*weights_only=*/true, RealFileSystem(), /*mtp=*/true);
  if (!opened.ok()) {
    std::cerr << opened.status() << "\n";
    return 1;
  }
  const auto backend = kernels::FindBackend("auto");
  const auto model = Model<float>::Create(opened->state.config, *backend->table, *backend->device,
                                          {opened->state.dtype, true});
  if (!model.ok() || !(*model)->Load(opened->arrays.values).ok()) return 1;
  PackedPass<float> pass(**model);
  PackedOptions options;
  options.vocabulary = opened->state.config.vocab_size;
  options.keep_for_backward = true;
  options.want_mtp = true;
  std::vector<std::vector<TokenId>> rows;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    rows.emplace_back();
    for (TokenId token = 0; words >> token;) rows.back().push_back(token);
  }
  std::vector<PackedSequence> sequences;
  for (const std::vector<TokenId>& row : rows) sequences.push_back({row});
  const PackedResult<float> result = pass.Forward(sequences, options);
  for (const std::vector<float>& logprobs : result.mtp_logprobs) {
    for (size_t t = 2; t < logprobs.size(); ++t) std::printf("%.9g ", logprobs[t]);
    std::printf("\n");
  }
  const std::string out = argv[2];
  sequences.resize(std::min(sequences.size(), kGradientRows));
  WriteGradient(pass, **model, sequences, options, true, out + "/detached.f32");
  WriteGradient(pass, **model, sequences, options, false, out + "/through.f32");
  std::ofstream index(out + "/grad.txt");
  for (const ParameterInfo& info : (*model)->registry().all()) {
    index << info.name << " " << info.offset << " " << info.elements << "\n";
  }
  return 0;
}
