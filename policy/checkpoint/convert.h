// SPDX-License-Identifier: Apache-2.0
//
// The weights of one directory in another form; and what two directories differ in.
#ifndef HONE_POLICY_CHECKPOINT_CONVERT_H_
#define HONE_POLICY_CHECKPOINT_CONVERT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/file_system.h"

namespace hone {

struct ConvertOptions {
  // float32, bfloat16 (rounded to nearest, ties to even), fp8 (e4m3 in blocks of 128 x 128, scale =
  // largest magnitude / 448: the projections of attention and feed-forward; the rest is bfloat16);
  // empty: as it is, fp8 becoming bfloat16.
  std::string dtype;
  int64_t shard_bytes = kDefaultShardBytes;
  bool fuse_experts = false;         // experts.gate_up_proj, experts.down_proj; not with fp8
  bool drop_further_layers = false;  // layers that predict tokens further ahead
};

// Writes weights, config.json, the tokenizer's files and generation_config.json into `to`, an empty
// directory; a plain Hugging Face directory without Hone's own files. Nothing is held in memory but
// pieces. INVALID_ARGUMENT: options; errors of OpenCheckpoint and WriteCheckpoint.
absl::Status ConvertCheckpoint(const std::string& from, const std::string& to,
                               const ConvertOptions& options, FileSystem& files = RealFileSystem());

struct TensorScan {
  std::string name;
  int64_t not_finite = 0;
};
// Every value of the weights and carried tensors is read; those with NaN or infinity. When there is
// a weights hash, DATA_LOSS when it differs.
absl::StatusOr<std::vector<TensorScan>> ScanWeights(const OpenedCheckpoint& opened,
                                                    const std::string& directory);

struct TensorDifference {
  std::string name;
  bool equal = true;
  double max_abs = 0;        // of the difference; NaN when only one of two values is a number
  double change_norm = 0;    // L2
  double relative_norm = 0;  // over the L2 norm in the first; 0 when that is 0
};
// Of every parameter, in registry order. FAILED_PRECONDITION when the models are of another shape.
absl::StatusOr<std::vector<TensorDifference>> CompareWeights(const OpenedCheckpoint& a,
                                                             const OpenedCheckpoint& b);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_CONVERT_H_
