// SPDX-License-Identifier: Apache-2.0
//
// What scripts/mtp_agreement.py runs: logprobs of a module that predicts further ahead.
// Usage: mtp_driver DIRECTORY, token rows on stdin, one a line; a row of logprobs each, from
// token 2.
#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "policy/checkpoint/checkpoint.h"
#include "policy/kernels/backend.h"
#include "policy/model/packed_pass.h"

int main(int argc, char** argv) {
  using namespace hone;
  if (argc != 2) return 2;
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
  return 0;
}
