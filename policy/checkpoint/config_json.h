// SPDX-License-Identifier: Apache-2.0
//
// config.json of published models (kModelTypes), to and from ModelConfig. Both the older names
// (rope_theta, rope_scaling, torch_dtype) and those of transformers 5 (rope_parameters, dtype) are
// read; a new file gets the older ones. Keys that do not change what the model computes are kept.
#ifndef HONE_POLICY_CHECKPOINT_CONFIG_JSON_H_
#define HONE_POLICY_CHECKPOINT_CONFIG_JSON_H_

#include <array>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/model/config.h"
#include "policy/model/parameters.h"

namespace hone {

struct ConfigFile {
  ModelConfig config;
  // Modules that predict tokens further ahead. Whether one is loaded is not the file's to say:
  // config.mtp_layers is 0.
  int32_t num_nextn_predict_layers = 0;
  // Weights in 8-bit floats (e4m3) with a scale for each such block of rows and columns; {0, 0}:
  // plain weights.
  std::array<int32_t, 2> fp8_block = {0, 0};
};

// INVALID_ARGUMENT: not such a file, or a field that is absent, of the wrong type or out of range,
// by name. UNIMPLEMENTED: a setting that Hone cannot honour, by name. The result is valid.
absl::StatusOr<ConfigFile> ParseConfigJson(absl::string_view text);

// Adds the tokens that generation_config.json says end a sequence to those of the config.
absl::Status AddGenerationConfig(absl::string_view text, ModelConfig* config);

// REQUIRES: config is valid. With config.source (a parsed file's text) every key that Hone does not
// know, and every one whose value is still the same, keeps its bytes; without, the older names.
// Weights are saved plain, so a quantization_config goes.
std::string ConfigJson(const ModelConfig& config, DType dtype);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_CONFIG_JSON_H_
