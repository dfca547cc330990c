// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/train_position.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/hash.h"
#include "services/trainer/run_directory.h"

namespace hone {

std::string TrainPosition::ToJson() const {
  nlohmann::ordered_json json;
  json["iteration"] = iteration;
  json["task_cursor"] = task_cursor;
  json["train_seconds"] = train_seconds;
  json["max_gap"] = max_gap;
  const std::string body = json.dump();
  json["sha256"] = Sha256Hex(body);
  return json.dump();
}

absl::StatusOr<TrainPosition> TrainPosition::FromJson(const std::string& text) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(text, nullptr, false);
  const absl::Status damaged =
      absl::DataLossError("it is damaged: its digest does not match its content");
  if (!json.is_object() || !json.contains("sha256") || !json["sha256"].is_string()) return damaged;
  const std::string digest = json["sha256"];
  json.erase("sha256");
  if (Sha256Hex(json.dump()) != digest) return damaged;
  TrainPosition position;
  position.iteration = json.value("iteration", int64_t{0});
  position.task_cursor = json.value("task_cursor", int64_t{0});
  position.train_seconds = json.value("train_seconds", 0.0);
  position.max_gap = json.value("max_gap", 0.0);
  return position;
}

absl::StatusOr<TrainPosition> TrainPosition::Read(const std::string& path) {
  auto text = ReadWholeFile(path);
  if (!text.ok()) return absl::DataLossError(text.status().message());
  auto position = FromJson(*text);
  if (position.ok()) return position;
  return absl::DataLossError(absl::StrCat(path, ": ", position.status().message()));
}

}  // namespace hone
