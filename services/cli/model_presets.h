// SPDX-License-Identifier: Apache-2.0
//
// Small models of the published families, by name: config.json as such a model has it.
#ifndef HONE_SERVICES_CLI_MODEL_PRESETS_H_
#define HONE_SERVICES_CLI_MODEL_PRESETS_H_

#include <string>
#include <vector>

namespace hone::cli {

struct ModelPreset {
  const char* name;
  const char* summary;
  std::string config_json;
};
const std::vector<ModelPreset>& ModelPresets();

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_MODEL_PRESETS_H_
