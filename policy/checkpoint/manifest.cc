// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/manifest.h"

#include <cassert>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/hash.h"
#include "policy/tokenizer/json_limits.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr absl::string_view kFormat = "hone-checkpoint";
constexpr JsonLimits kLimits = {size_t{16} << 20, 8, int64_t{1} << 16};

bool IsSha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// The digest of a manifest's text: SHA-256 of it with the digest's own digits as zeros. "" when
// `digest` is not there exactly once.
std::string SelfDigest(absl::string_view text, const std::string& digest) {
  const size_t at = text.find(digest);
  if (at == absl::string_view::npos || text.find(digest, at + 1) != absl::string_view::npos) {
    return "";
  }
  Sha256 hash;
  hash.Update(text.substr(0, at));
  hash.Update(std::string(digest.size(), '0'));
  hash.Update(text.substr(at + digest.size()));
  return hash.FinishHex();
}

// Reads members of the types that the format says; anything else is noted.
struct Members {
  const json& object;
  bool ok = true;

  template <typename T>
  T Get(const char* name, json::value_t type) {
    const auto at = object.find(name);
    if (at == object.end() || at->type() != type) {
      ok = false;
      return T();
    }
    return at->get<T>();
  }
  int64_t Count(const char* name) {
    const uint64_t value = Get<uint64_t>(name, json::value_t::number_unsigned);
    ok = ok && value <= uint64_t{1} << 62;
    return static_cast<int64_t>(value);
  }
  std::string Text(const char* name) { return Get<std::string>(name, json::value_t::string); }
  json Object(const char* name) { return Get<json>(name, json::value_t::object); }
};

bool ReadFiles(const json& list, CheckpointManifest* manifest) {
  for (const auto& [name, entry] : list.items()) {
    const bool plain = !name.empty() && name[0] != '.' && name.find('/') == std::string::npos;
    if (!plain || !entry.is_object()) return false;
    Members members{entry};
    FileDigest digest;
    digest.bytes = static_cast<uint64_t>(members.Count("bytes"));
    digest.sha256 = members.Text("sha256");
    if (!members.ok || !IsSha256(digest.sha256)) return false;
    manifest->files[name] = digest;
  }
  return true;
}

}  // namespace

std::string ManifestJson(const CheckpointManifest& manifest) {
  nlohmann::ordered_json files = nlohmann::ordered_json::object();
  for (const auto& [name, digest] : manifest.files) {
    files[name] = {{"bytes", digest.bytes}, {"sha256", digest.sha256}};
  }
  nlohmann::ordered_json extra = nlohmann::ordered_json::object();
  for (const auto& [name, value] : manifest.extra) extra[name] = value;
  const bool second = !manifest.freeze.empty() || manifest.files.count("adapter_config.json") > 0;
  const std::string zeros(64, '0');
  nlohmann::ordered_json out = {
      {"format", std::string(kFormat)},
      {"format_version", second ? 2 : 1},
      {"policy_version", manifest.policy_version},
      {"backend", manifest.backend},
      {"dtype", manifest.dtype == DType::kBFloat16 ? "bfloat16" : "float32"},
      {"weights_hash", manifest.weights_hash},
      {"parameters", manifest.parameters},
      {"optimizer_steps", manifest.optimizer_steps},
      {"extra", extra},
  };
  if (!manifest.freeze.empty()) out["freeze"] = manifest.freeze;
  out["files"] = files;
  out["digest"] = zeros;
  std::string text = out.dump(2) + "\n";
  // The digest is the last member, so the last such run of zeros is its.
  const size_t at = text.rfind(zeros);
  const std::string digest = Sha256Hex(text);
  text.replace(at, zeros.size(), digest);
  return text;
}

absl::StatusOr<CheckpointManifest> ParseManifest(absl::string_view text, absl::string_view what) {
  const auto lost = [&](absl::string_view why) {
    return absl::DataLossError(absl::StrCat(what, " was altered or is no checkpoint's: ", why));
  };
  const absl::StatusOr<json> root = ParseJson(text, kLimits, what);
  if (!root.ok()) return lost(root.status().message());
  if (!root->is_object()) return lost("not an object");
  Members members{*root};
  if (members.Text("format") != kFormat) return lost("\"format\" is not hone-checkpoint");
  const int64_t version = members.Count("format_version");
  if (!members.ok || version < 1) return lost("\"format_version\" is not a positive integer");
  if (version > kCheckpointFormatVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        what, " has checkpoint format version ", version, ", and this Hone reads up to ",
        kCheckpointFormatVersion, ": use the Hone that wrote it, or a newer one"));
  }
  const std::string digest = members.Text("digest");
  if (!members.ok || !IsSha256(digest)) return lost("it has no \"digest\"");
  const std::string found = SelfDigest(text, digest);
  if (found != digest) {
    return lost(
        absl::StrCat("its digest is ", found.empty() ? "ambiguous" : found, ", it says ", digest));
  }
  CheckpointManifest manifest;
  manifest.policy_version = members.Count("policy_version");
  manifest.backend = members.Text("backend");
  const std::string dtype = members.Text("dtype");
  manifest.dtype = dtype == "bfloat16" ? DType::kBFloat16 : DType::kFloat32;
  manifest.weights_hash = members.Text("weights_hash");
  manifest.parameters = members.Count("parameters");
  manifest.optimizer_steps = members.Count("optimizer_steps");
  const json extra = members.Object("extra");
  const json files = members.Object("files");
  for (const json& entry : root->value("freeze", json::array())) {
    if (!entry.is_string()) return lost("freeze is no list of strings");
    manifest.freeze.push_back(entry.get<std::string>());
  }
  if (!members.ok || (dtype != "bfloat16" && dtype != "float32")) {
    return lost("a member is absent or of the wrong type");
  }
  for (const auto& [name, value] : extra.items()) {
    if (!value.is_string()) return lost(absl::StrCat("extra.", name, " is not a string"));
    manifest.extra[name] = value.get<std::string>();
  }
  if (!ReadFiles(files, &manifest)) return lost("its list of files is malformed");
  return manifest;
}

absl::StatusOr<CheckpointManifest> ReadManifest(FileSystem& files, const std::string& directory) {
  const std::string path = directory + "/hone.json";
  const absl::StatusOr<std::string> text = ReadFile(files, path, kLimits.bytes);
  if (!text.ok()) return text.status();
  return ParseManifest(*text, path);
}

}  // namespace hone
