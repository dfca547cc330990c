// SPDX-License-Identifier: Apache-2.0
//
// Which files hold the tensors of a directory.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/weights.h"
#include "policy/tokenizer/json_limits.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr JsonLimits kIndexLimits = {size_t{128} << 20, 8, int64_t{2} << 20};
constexpr size_t kMaxShards = 10'000;

std::string NameOf(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// A file name of the directory itself: no path, nothing hidden, nothing that ends a C string.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

}  // namespace

absl::Status CheckStaysInside(FileSystem& files, const std::string& directory,
                              const std::string& name) {
  const std::string path = absl::StrCat(directory, "/", name);
  const absl::StatusOr<FileKind> kind = files.KindOf(path);
  if (!kind.ok()) return kind.status();
  if (*kind != FileKind::kSymlink) return absl::OkStatus();
  const absl::StatusOr<std::string> home = files.RealPath(directory);
  if (!home.ok()) return home.status();
  const absl::StatusOr<std::string> target = files.RealPath(path);
  if (!target.ok()) return target.status();
  if (absl::StartsWith(*target, *home + "/")) return absl::OkStatus();
  const std::string snapshots = ParentOf(*home);
  if (NameOf(snapshots) == "snapshots" &&
      absl::StartsWith(*target, ParentOf(snapshots) + "/blobs/")) {
    return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat(path, " is a link to ", *target,
                                          ", which is outside its directory; put the file itself "
                                          "there"));
}

absl::Status WeightFiles::Add(SafetensorsFile file) {
  files_.push_back(std::make_unique<SafetensorsFile>(std::move(file)));
  const SafetensorsFile& added = *files_.back();
  for (const SafetensorsTensor& tensor : added.header().tensors) {
    const auto [at, fresh] = places_.emplace(tensor.name, Place{&added, &tensor});
    if (!fresh) {
      return absl::DataLossError(absl::StrCat("the tensor ", tensor.name, " is both in ",
                                              at->second.file->path(), " and in ", added.path()));
    }
  }
  if (places_.size() > kMaxSafetensorsTensors) {
    return absl::DataLossError(absl::StrCat(added.path(), " and the shards before it have ",
                                            places_.size(), " tensors; at most ",
                                            kMaxSafetensorsTensors, " are accepted"));
  }
  return absl::OkStatus();
}

WeightFiles::Place WeightFiles::Find(const std::string& name) const {
  const auto at = places_.find(name);
  return at == places_.end() ? Place{} : at->second;
}

int64_t WeightFiles::tensor_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, place] : places_) {
    bytes += static_cast<int64_t>(place.tensor->end - place.tensor->begin);
  }
  return bytes;
}

absl::StatusOr<WeightFiles> WeightFiles::OpenOne(FileSystem& files, const std::string& path) {
  absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(files, path);
  if (!file.ok()) return file.status();
  WeightFiles out;
  if (absl::Status status = out.Add(*std::move(file)); !status.ok()) return status;
  return out;
}

absl::StatusOr<WeightIndex> ParseWeightIndex(absl::string_view text, absl::string_view what) {
  const absl::StatusOr<json> root = ParseJson(text, kIndexLimits, what);
  if (!root.ok()) return absl::DataLossError(root.status().message());
  const auto lost = [&](absl::string_view why) {
    return absl::DataLossError(absl::StrCat(what, ": ", why));
  };
  if (!root->is_object() || !root->contains("weight_map") || !(*root)["weight_map"].is_object()) {
    return lost("it has no weight_map");
  }
  WeightIndex index;
  std::set<std::string> shards;
  for (const auto& [name, shard] : (*root)["weight_map"].items()) {
    if (!shard.is_string()) return lost(absl::StrCat(name, " is not mapped to a file name"));
    const std::string& file = shard.get_ref<const std::string&>();
    if (!IsPlainName(file)) {
      return lost(absl::StrCat(name, " is mapped to ", shard.dump().substr(0, 300),
                               ", which is not a plain name"));
    }
    shards.insert(file);
    index.shard_of.emplace(name, file);
  }
  if (shards.size() > kMaxShards) {
    return lost(absl::StrCat(shards.size(), " shards; at most ", kMaxShards, " are accepted"));
  }
  // Some published indexes do not say their size, and some say it as 1e9.
  const auto metadata = root->find("metadata");
  if (metadata != root->end() && metadata->is_object() && metadata->contains("total_size") &&
      (*metadata)["total_size"].is_number()) {
    const double bytes = (*metadata)["total_size"].get<double>();
    index.stated_bytes = bytes >= 0 && bytes < 9e18 ? static_cast<int64_t>(bytes) : -2;
  }
  return index;
}

absl::Status WeightFiles::AddShards(FileSystem& files, const std::string& directory,
                                    const std::map<std::string, std::string>& shard_of) {
  const auto lost = [&](absl::string_view why) {
    return absl::DataLossError(absl::StrCat(directory, "/", kIndexName, ": ", why));
  };
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    absl::Status status = CheckStaysInside(files, directory, shard);
    if (!status.ok()) return status;
    absl::StatusOr<SafetensorsFile> file =
        SafetensorsFile::Open(files, absl::StrCat(directory, "/", shard));
    if (!file.ok()) return file.status();
    status = Add(*std::move(file));
    if (!status.ok()) return status;
  }
  for (const auto& [name, shard] : shard_of) {
    const Place place = Find(name);
    const std::string path = absl::StrCat(directory, "/", shard);
    if (place.tensor == nullptr || place.file->path() != path) {
      return lost(absl::StrCat(name, " is not in ", path));
    }
  }
  for (const auto& [name, place] : places_) {
    if (shard_of.count(name) > 0) continue;
    return lost(absl::StrCat(place.file->path(), " has the tensor ", name, ", which it omits"));
  }
  return absl::OkStatus();
}

absl::StatusOr<WeightFiles> WeightFiles::Open(FileSystem& files, const std::string& directory,
                                              const CheckpointManifest* manifest) {
  const std::string index_path = absl::StrCat(directory, "/", kIndexName);
  const absl::StatusOr<FileKind> kind = files.KindOf(index_path);
  if (!kind.ok()) return kind.status();
  const bool sharded = manifest != nullptr ? manifest->files.count(std::string(kIndexName)) > 0
                                           : *kind != FileKind::kNone;
  const std::string first(sharded ? kIndexName : kWeightsName);
  if (absl::Status status = CheckStaysInside(files, directory, first); !status.ok()) return status;
  if (!sharded) return OpenOne(files, absl::StrCat(directory, "/", kWeightsName));

  const absl::StatusOr<std::string> text = ReadFile(files, index_path, kIndexLimits.bytes);
  if (!text.ok()) return text.status();
  const absl::StatusOr<WeightIndex> index = ParseWeightIndex(*text, index_path);
  if (!index.ok()) return index.status();
  WeightFiles out;
  absl::Status status = out.AddShards(files, directory, index->shard_of);
  if (!status.ok()) return status;
  out.stated_bytes_ = index->stated_bytes;
  return out;
}

}  // namespace hone
