// SPDX-License-Identifier: Apache-2.0
//
// The record everything else serves: tasks, trajectories as lists of segments, groups.
#ifndef HONE_ROLLOUT_TRAJECTORY_H_
#define HONE_ROLLOUT_TRAJECTORY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "policy/tokenizer/prompt_text.h"
#include "policy/types.h"
#include "rewards/reward.h"
#include "verifier/verdict.h"

namespace hone {

// A prompt with what is needed to judge answers to it.
struct Task {
  std::string id;          // unique in its source
  std::string source;      // "gsm8k", "mini_countdown", ...
  std::string split;       // "train", "test", "heldout", ...
  int64_t index = 0;       // position in its source
  std::string prompt;      // the question alone; the template wraps it
  std::string answer;      // gold text, may be empty
  std::string tests_json;  // tests as JSON, may be empty
  std::string verifier;    // registry name; empty: the mixture's default for the source
  double difficulty = 0;   // the source's own scale
  std::map<std::string, std::string> metadata;  // values are JSON texts ("nums": "[1,2,3]")

  // SHA-256 (hex) over every field: the same task is the same row in any run.
  std::string Hash() const;
};

// Ids of groups and trajectories: 128 bits (32 hex digits) derived, never counted.
std::string GroupId(const std::string& run_id, const SampleKey& key);  // key.sample ignored
std::string TrajectoryId(const std::string& run_id, const SampleKey& key);

enum class SegmentKind : uint8_t { kPrompt = 0, kModel = 1, kTool = 2, kEnvironment = 3 };
const char* SegmentKindName(SegmentKind kind);

struct Segment {
  std::string role;  // "user", "assistant", "tool"
  SegmentKind kind = SegmentKind::kPrompt;
  int32_t first_token = 0;  // range in the trajectory's token ids
  int32_t token_count = 0;
  int32_t turn = 0;
  bool loss_mask = false;  // learn from these tokens
  int64_t version = -1;    // behaviour version of a model segment; -1: not sampled
  std::string call_id;
  std::string text;  // decoded
  // Of `text`: words from outside, in which no special token is recognised. Used when the text is
  // encoded; not stored.
  std::vector<TextRange> literal;
};

struct Trajectory {
  std::string id;
  std::string group_id;
  SampleKey key;
  std::vector<Segment> segments;
  std::vector<TokenId> tokens;            // [T] prompt and completion
  std::vector<float> behaviour_logprobs;  // [T] 0 on tokens that were not sampled
  std::vector<float> entropy;             // [T] likewise
  StopReason stop_reason = StopReason::kNone;
  SamplingParams sampling;
  std::string backend;
  std::string tokenizer_hash;
  std::string template_name;
  Verdict verdict;
  int32_t verify_attempts = 1;
  Reward reward;  // empty unless IsVerdict(verdict.outcome)
  double advantage = 0;
  Routes routes;  // of prompt and completion; empty unless kept

  int32_t completion_tokens() const;      // tokens under loss masks
  const std::string& completion() const;  // text of the last model segment; empty if none
};

// Why a group was not trained on. Stored; the names never change.
enum class DropReason : uint8_t {
  kNone = 0,
  kFlat = 1,    // all rewards equal, and the run filters such groups
  kOutage = 2,  // too few judged completions remained
  kStale = 3,
  kPassRate = 4,   // outside the pass-rate band
  kTruncated = 5,  // nothing but truncated completions, and the run masks them
};
const char* DropReasonName(DropReason reason);

// The completions of one prompt, rewarded together.
struct Group {
  std::string id;
  Task task;
  SampleKey key;                         // .sample unused
  int64_t iteration = 0;                 // from 1; 0 outside training
  int64_t version = 0;                   // policy version of every completion
  int32_t asked = 0;                     // G
  std::vector<Trajectory> trajectories;  // judged ones, by sample; short when outages left holes
  int32_t outages = 0;                   // completions without a verdict
  int32_t skipped = 0;
  double baseline = 0;  // mean reward
  double reward_std = 0;
  bool flat = false;
  DropReason drop = DropReason::kNone;
  // Observational, outside any hash:
  int64_t generate_us = 0;
  int64_t verify_us = 0;
  std::vector<Verdict> lost;  // outages and skips, for the operator
};

}  // namespace hone

#endif  // HONE_ROLLOUT_TRAJECTORY_H_
