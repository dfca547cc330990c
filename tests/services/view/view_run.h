// SPDX-License-Identifier: Apache-2.0
//
// Run folders for tests of the viewer: hostile texts, known figures, long traces, many rows.
#ifndef HONE_TESTS_SERVICES_VIEW_VIEW_RUN_H_
#define HONE_TESTS_SERVICES_VIEW_VIEW_RUN_H_

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "policy/tokenizer/tokenizer.h"
#include "rollout/store/store.h"
#include "tests/services/view/hostile_texts.h"

namespace hone::view {

// Writes a run iteration by iteration. Tokens are bytes; texts of iteration 1 are hostile.
class ViewRun {
 public:
  ViewRun(std::string folder, const std::string& name) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_ + "/checkpoints/latest");
    const std::string json = ByteTokenizerJson({"<eos>"});
    std::ofstream(folder_ + "/checkpoints/latest/tokenizer.json") << json;
    tokenizer_ = *ParseTokenizer(json);
    store_ = *Store::Open(folder_ + "/store.sqlite", Store::Mode::kCreate);
    run_.id = "00112233445566778899aabbccddeeff";
    run_.name = name;
    run_.config = "seed: 7  # <script>window.hit=30</script>";
    run_.config_hash = "c0ffee";
    run_.code_version = "0.1";
    Must(store_->PutRun(run_));
    AttemptRecord attempt;
    attempt.started = absl::FromUnixSeconds(1700000000);
    attempt.host = "elsewhere";
    attempt.pid = 1;
    attempt.environment_json = "{\"cpu\": \"<img src=x onerror=window.hit=31>\"}";
    attempt_ = *store_->BeginAttempt(attempt);
  }

  Store& store() { return *store_; }
  const std::string& folder() const { return folder_; }

  // Ends the attempt, closes the store.
  void End() {
    Must(store_->EndAttempt(attempt_, absl::FromUnixSeconds(1700000100), "finished"));
    store_.reset();
  }

  // One more iteration of `groups` groups of `samples`.
  void AddIteration(int groups, int samples) {
    const int64_t iteration = ++iterations_;
    std::vector<Group> list;
    for (int i = 0; i < groups; ++i) list.push_back(MakeGroup(iteration, samples));
    Must(store_->PutGroups(list));
    IterationRecord record;
    record.iteration = iteration;
    const double t = static_cast<double>(iteration);
    record.metrics = {{"reward/mean", 0.5 + 0.01 * t},
                      {"accuracy/mean", 0.4 + 0.01 * t},
                      {"policy/entropy", 2.0 / t},
                      {"completion/length_mean", 20 + t}};
    record.observed = {{"time/rollout_s", 1 + 0.1 * t}, {"time/update_s", 0.5},
                       {"time/generate_s", 1.0},        {"time/verify_s", 0.2},
                       {"time/store_s", 0.01},          {"time/store_wait_s", 0.001},
                       {"tokens/per_s", 1000 + t}};
    for (auto& [id, values] : references_) {
      record.channels[id]["reference_logprob"] = std::move(values);
    }
    references_.clear();
    Must(store_->PutIteration(record));
  }

  // A group of one completion of `tokens` sampled tokens.
  void AddLongTrace(int tokens) {
    std::string text = "<think> ";
    while (static_cast<int>(text.size()) < tokens - 40) {
      text += "12 + 7 = 19, wait, recheck that. ";
      if (text.size() % 5 == 0) text += "\n";
    }
    text += "</think> <answer> 19 </answer>";
    Group group = StartGroup(std::max<int64_t>(1, iterations_), "a long trace", 1);
    AddCompletion(&group, text, Outcome::kCorrect);
    Finish(&group);
    Must(store_->PutGroup(group));
  }

  // `correct` says of each task whether its one completion was right.
  void AddEvaluation(int64_t iteration, const std::string& name, const std::vector<bool>& correct) {
    Evaluation evaluation;
    evaluation.name = name;
    evaluation.n = static_cast<int64_t>(correct.size());
    evaluation.k = 1;
    for (size_t i = 0; i < correct.size(); ++i) {
      EvaluationItem item;
      item.task_id = "heldout/" + std::to_string(i);
      item.task_hash = std::string(62, '0') + std::to_string(10 + i);
      item.n = 1;
      item.correct = correct[i];
      evaluation.accuracy += correct[i] ? 1.0 / static_cast<double>(correct.size()) : 0;
      Group group = StartGroup(iteration, item.task_id, 1);
      group.key.purpose = Purpose::kEval;
      AddCompletion(&group,
                    "<think> same start </think> <answer> " +
                        std::string(correct[i] ? "right " : "wrong ") +
                        kHostileTexts[i % std::size(kHostileTexts)] + " </answer>",
                    correct[i] ? Outcome::kCorrect : Outcome::kWrong);
      group.trajectories[0].key.purpose = Purpose::kEval;
      group.trajectories[0].key.group_ordinal = i;
      group.trajectories[0].id = TrajectoryId(run_.id, group.trajectories[0].key);
      item.trajectories = std::move(group.trajectories);
      evaluation.items.push_back(std::move(item));
    }
    Must(store_->PutEvaluation(iteration, iteration, evaluation));
  }

 private:
  static void Must(const absl::Status& status) {
    if (!status.ok()) {
      std::fprintf(stderr, "view_run: %s\n", status.ToString().c_str());
      std::abort();
    }
  }

  Group StartGroup(int64_t iteration, const std::string& prompt, int samples) {
    Group group;
    group.key = {7, Purpose::kTrain, ordinal_++, 0, 0, 0};
    group.id = GroupId(run_.id, group.key);
    group.iteration = iteration;
    group.version = iteration - 1;
    group.asked = samples;
    group.task.id = "task-" + std::to_string(group.key.group_ordinal);
    group.task.source = group.key.group_ordinal % 2 == 0 ? "even" : "odd";
    group.task.split = "train";
    group.task.index = static_cast<int64_t>(group.key.group_ordinal);
    group.task.prompt = prompt;
    group.task.answer = "19";
    return group;
  }

  void AddCompletion(Group* group, const std::string& text, Outcome outcome) {
    Trajectory& t = group->trajectories.emplace_back();
    t.key = group->key;
    t.key.sample = static_cast<uint32_t>(group->trajectories.size() - 1);
    t.id = TrajectoryId(run_.id, t.key);
    t.group_id = group->id;
    Segment prompt;
    prompt.role = "user";
    prompt.text = group->task.prompt;
    Segment completion;
    completion.role = "assistant";
    completion.kind = SegmentKind::kModel;
    completion.loss_mask = true;
    completion.version = group->version;
    completion.text = text;
    for (Segment* segment : {&prompt, &completion}) {
      segment->first_token = static_cast<int32_t>(t.tokens.size());
      for (const char c : segment->text) t.tokens.push_back(static_cast<uint8_t>(c));
      segment->token_count = static_cast<int32_t>(t.tokens.size()) - segment->first_token;
    }
    t.tokens.push_back(tokenizer_->eos());
    ++completion.token_count;
    for (size_t i = 0; i < t.tokens.size(); ++i) {
      const bool sampled = i >= static_cast<size_t>(completion.first_token);
      const float logprob = -0.01f - 0.37f * static_cast<float>(i * i % 17);
      t.behaviour_logprobs.push_back(sampled ? logprob : 0.0f);
      t.entropy.push_back(sampled ? 0.1f * static_cast<float>(i * i % 23) : 0.0f);
    }
    t.segments = {prompt, completion};
    t.stop_reason = StopReason::kStopToken;
    t.sampling.max_tokens = 1 << 16;
    t.backend = "cpu/avx512/abc";
    t.tokenizer_hash = tokenizer_->hash();
    t.template_name = "plain";
    t.verdict.outcome = outcome;
    t.verdict.extracted = "<b onclick=window.hit=40>18</b>";
    t.verdict.detail = "compared 19 with <u>18</u>";
    t.verdict.verifier = "math/1/0123456789abcdef";
    t.verdict.parts = {{"accuracy", outcome == Outcome::kCorrect ? 1.0 : 0.0, {}}};
    t.verdict.evidence = {{"gold", "19"},
                          {"tests", "pass wrong not_run"},
                          {"expected", "<i>19</i>"},
                          {"got", "18\n"},
                          {"stderr", "Traceback\n<script>window.hit=41</script>"}};
    t.reward.parts = {{"accuracy", t.verdict.parts[0].raw, 1.0, false, {}},
                      {"format", 1.0, 0.1, false, {}}};
    t.reward.total = t.reward.parts[0].value() + 0.1;
  }

  void Finish(Group* group) {
    const double n = static_cast<double>(group->trajectories.size());
    for (const Trajectory& t : group->trajectories) group->baseline += t.reward.total / n;
    for (Trajectory& t : group->trajectories) {
      t.advantage = t.reward.total - group->baseline;
      group->reward_std += t.advantage * t.advantage / n;
    }
    group->reward_std = std::sqrt(group->reward_std);
    group->flat = group->reward_std < 1e-12;
    std::vector<float>& reference = references_[group->trajectories[0].id];
    reference = group->trajectories[0].behaviour_logprobs;
    for (float& value : reference) value *= 0.9f;
  }

  Group MakeGroup(int64_t iteration, int samples) {
    const uint64_t ordinal = ordinal_;
    const char* hostile = kHostileTexts[ordinal % std::size(kHostileTexts)];
    const std::string prompt = iteration == 1
                                   ? "Question " + std::to_string(ordinal) + ": " + hostile
                                   : "Make " + std::to_string(ordinal % 97) + " from 3 7 12";
    Group group = StartGroup(iteration, prompt, samples);
    for (int i = 0; i < samples; ++i) {
      const uint64_t mixed = (ordinal * 31 + static_cast<uint64_t>(i) * 17) % 11;
      const std::string said =
          iteration == 1 ? std::string(hostile) : "3 + 7 + " + std::to_string(mixed) + " zebra";
      AddCompletion(&group, "<think> " + said + " </think> <answer> " + said + " </answer>",
                    mixed < 4 ? Outcome::kCorrect : Outcome::kWrong);
    }
    Finish(&group);
    return group;
  }

  std::string folder_;
  RunRecord run_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Store> store_;
  int64_t attempt_ = 0;
  int64_t iterations_ = 0;
  uint64_t ordinal_ = 0;
  std::map<std::string, std::vector<float>> references_;  // of the next iteration's record
};

}  // namespace hone::view

#endif  // HONE_TESTS_SERVICES_VIEW_VIEW_RUN_H_
