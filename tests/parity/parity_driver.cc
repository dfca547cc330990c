// SPDX-License-Identifier: Apache-2.0
//
// What scripts/parity.py compares with a published implementation. Arrays are raw, little-endian.
//
//   parity_driver model DIR PROMPTS OUT   PROMPTS: int32, each prompt's length before its tokens.
//     Writes OUT/logits.f32 [rows, W] of every prompt's every token, OUT/experts.i32
//     [rows, moe layers, K], OUT/greedy.i32 [prompts, 64], OUT/grad.f32 (of the sum of the first 8
//     prompts' logprobs; flat) and OUT/grad.txt (name, offset, elements).
//   parity_driver adamw IN OUT            IN: float weights [n], then 10 gradients [n].
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "policy/checkpoint/checkpoint.h"
#include "policy/kernels/backend.h"
#include "policy/model/decode_engine.h"
#include "policy/model/model.h"
#include "policy/model/packed_pass.h"
#include "policy/model/rows.h"

namespace hone {
namespace {

constexpr int kGreedyTokens = 64;
constexpr size_t kGradientPrompts = 8;
constexpr int kSteps = 10;

template <typename T>
std::vector<T> ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
  return out;
}

template <typename T>
void WriteAll(const std::string& path, const std::vector<T>& values) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(T)));
}

// One prompt's rows through all layers and the head, as a packed pass runs them.
void Forward(const Model<float>& model, const std::vector<int32_t>& tokens,
             std::vector<float>* logits, std::vector<int32_t>* experts) {
  const int64_t rows = static_cast<int64_t>(tokens.size()), vocabulary = model.config().vocab_size;
  std::vector<int32_t> positions, lengths, zeros(tokens.size(), 0);
  std::vector<int64_t> slots;
  for (int32_t m = 0; m < rows; ++m) {
    positions.push_back(m);
    lengths.push_back(m + 1);
    slots.push_back(m);
  }
  Arena arena(model.device());
  RowBatch<float> batch;
  batch.tokens = {tokens.data(), {rows}};
  batch.positions = {positions.data(), {rows}};
  batch.row_sequence = {zeros.data(), {rows}};
  batch.row_length = {lengths.data(), {rows}};
  batch.slots = {slots.data(), {rows}};
  batch.page_table = {zeros.data(), {1, 1}};
  batch.pages.data = arena.Allocate<float>(rows * model.config().Cache().Width());
  batch.pages.rows = rows;
  batch.pages.page_tokens = batch.max_length = static_cast<int32_t>(rows);
  ForwardTrace<float> trace;
  ForwardRows(model, batch, false, arena, &trace);
  const Ops<float> ops{model.table()};
  const View<float, 2> out = Matrix<float>(arena, rows, vocabulary);
  ops.Norm(model.layout().final_norm, trace.output, trace.scratch.normed);
  ops.Apply(model.layout().head, trace.scratch.normed, out);
  logits->insert(logits->end(), out.data, out.data + rows * vocabulary);
  const int64_t layers = trace.experts.shape[0], chosen = trace.experts.shape[2];
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t layer = 0; layer < layers; ++layer) {
      const int32_t* row = trace.experts.data + (layer * rows + m) * chosen;
      experts->insert(experts->end(), row, row + chosen);
    }
  }
}

std::vector<int32_t> Greedy(const Model<float>& model,
                            const std::vector<std::vector<int32_t>>& prompts) {
  DecodeOptions options;
  options.vocabulary = model.config().vocab_size;
  DecodeEngine engine(model, options);
  std::vector<GenerateRequest> requests(prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    requests[i].request_id = std::to_string(i);
    requests[i].prompt = prompts[i];
    requests[i].sampling.temperature = 0;
    requests[i].sampling.max_tokens = kGreedyTokens;
  }
  std::vector<int32_t> out(prompts.size() * kGreedyTokens, -1);
  const absl::Status status = engine.Generate(requests, 0, [&](const GenerateChunk& chunk) {
    const size_t first = static_cast<size_t>(std::stoi(chunk.request_id)) * kGreedyTokens;
    std::copy(chunk.tokens.begin(), chunk.tokens.end(), out.begin() + static_cast<int64_t>(first));
    return true;
  });
  if (!status.ok()) std::cerr << status << "\n";
  return out;
}

std::vector<float> Gradient(const Model<float>& model,
                            const std::vector<std::vector<int32_t>>& prompts) {
  std::vector<PackedSequence> sequences;
  PackedPass<float>::Gradients gradients;
  for (size_t i = 0; i < kGradientPrompts && i < prompts.size(); ++i) {
    sequences.push_back({prompts[i], 1, nullptr});
    gradients.d_logprobs.emplace_back(prompts[i].size(), 1.0f);
  }
  PackedOptions options;
  options.vocabulary = model.config().vocab_size;
  options.keep_for_backward = true;
  PackedPass<float> pass(model);
  pass.Forward(sequences, options);
  std::vector<float> gradient(static_cast<size_t>(model.registry().flat_elements()), 0.0f);
  pass.Backward(gradients, gradient.data());
  return gradient;
}

int RunModel(const std::string& directory, const std::string& prompts_path,
             const std::string& out) {
  const absl::StatusOr<PolicyState> state = ReadPolicyState(directory, true);
  if (!state.ok()) {
    std::cerr << state.status() << "\n";
    return 1;
  }
  const kernels::Backend backend = *kernels::FindBackend("auto");
  auto model = Model<float>::Create(state->config, *backend.table, *backend.device, {});
  if (!model.ok()) {
    std::cerr << model.status() << "\n";
    return 1;
  }
  (*model)->SetValues(state->values.data());
  std::vector<std::vector<int32_t>> prompts;
  const std::vector<int32_t> words = ReadAll<int32_t>(prompts_path);
  for (size_t at = 0; at < words.size(); at += static_cast<size_t>(words[at]) + 1) {
    const auto first = words.begin() + static_cast<int64_t>(at) + 1;
    prompts.emplace_back(first, first + words[at]);
  }
  std::vector<float> logits;
  std::vector<int32_t> experts;
  for (const auto& prompt : prompts) Forward(**model, prompt, &logits, &experts);
  WriteAll(out + "/logits.f32", logits);
  WriteAll(out + "/experts.i32", experts);
  WriteAll(out + "/greedy.i32", Greedy(**model, prompts));
  WriteAll(out + "/grad.f32", Gradient(**model, prompts));
  std::ofstream index(out + "/grad.txt");
  for (const ParameterInfo& info : (*model)->registry().all()) {
    index << info.name << " " << info.offset << " " << info.elements << "\n";
  }
  return 0;
}

int RunAdamW(const std::string& in, const std::string& out) {
  std::vector<float> words = ReadAll<float>(in);
  const int64_t n = static_cast<int64_t>(words.size()) / (kSteps + 1);
  const kernels::Backend backend = *kernels::FindBackend("auto");
  std::vector<float> m(static_cast<size_t>(n), 0.0f), v(m);
  for (int step = 1; step <= kSteps; ++step) {
    kernels::AdamWArgs<float> args;
    args.master = args.value = {words.data(), {n}};
    args.m = {m.data(), {n}};
    args.v = {v.data(), {n}};
    args.grad = View<const float, 1>(words.data() + step * n, {n});
    args.learning_rate = 1e-2;
    args.weight_decay = 0.1;
    args.bias1 = 1 - std::pow(args.beta1, step);
    args.bias2 = 1 - std::pow(args.beta2, step);
    backend.table->adamw(nullptr, args);
  }
  words.resize(static_cast<size_t>(n));
  WriteAll(out, words);
  return 0;
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() == 4 && args[0] == "model") return hone::RunModel(args[1], args[2], args[3]);
  if (args.size() == 3 && args[0] == "adamw") return hone::RunAdamW(args[1], args[2]);
  std::cerr << "usage: parity_driver model DIR PROMPTS OUT | adamw IN OUT\n";
  return 2;
}
