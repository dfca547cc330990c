// SPDX-License-Identifier: Apache-2.0
#include "services/replay/bundle.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/checkpoint.h"
#include "policy/hash.h"
#include "rollout/store/subset.h"
#include "services/trainer/run_directory.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kBlock = 512;
constexpr char kManifest[] = "manifest.json";
constexpr uint64_t kMaxManifestBytes = 1 << 20;   // some 7,000 files
constexpr uint64_t kMaxFileBytes = 077777777777;  // eleven octal digits: 8 GiB - 1

struct Entry {
  uint64_t bytes = 0;
  std::string sha256;
};

// A header of ustar: every field but the name, size and checksum is the same for all.
std::string TarHeader(const std::string& name, uint64_t bytes) {
  std::string block(kBlock, '\0');
  const auto put = [&](size_t at, absl::string_view text) {
    std::copy(text.begin(), text.end(), block.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, absl::StrFormat("%011o", bytes));
  put(136, "00000000000");
  put(148, "        ");
  put(156, "0");
  put(257, absl::string_view("ustar\00000", 8));
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put(148, absl::StrFormat("%06o", sum));
  block[154] = '\0';
  return block;
}

absl::Status Damaged(const std::string& file, absl::string_view why) {
  return absl::DataLossError(absl::StrCat(file, " is no whole file of `hone export`: ", why));
}

// "checkpoints/step-000003/hone.json": at most three plain names.
bool IsPlainPath(absl::string_view path) {
  const std::vector<absl::string_view> names = absl::StrSplit(path, '/');
  if (path.size() > 99 || names.size() > 3) return false;
  for (const absl::string_view name : names) {
    if (name.empty() || name[0] == '.') return false;
    for (const char c : name) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && !absl::StrContains("._-", c)) {
        return false;
      }
    }
  }
  return true;
}

absl::Status AppendFile(std::ofstream& out, const std::string& name, const std::string& path,
                        uint64_t bytes) {
  out << TarHeader(name, bytes);
  std::ifstream in(path, std::ios::binary);
  std::vector<char> buffer(1 << 20);
  uint64_t copied = 0;
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    out.write(buffer.data(), in.gcount());
    copied += static_cast<uint64_t>(in.gcount());
  }
  if (copied != bytes) return absl::DataLossError(absl::StrCat(path, " changed while it was read"));
  out << std::string((kBlock - bytes % kBlock) % kBlock, '\0');
  return absl::OkStatus();
}

absl::StatusOr<Entry> DigestOf(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  Sha256 hash;
  Entry entry;
  std::vector<char> buffer(1 << 20);
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    hash.Update(buffer.data(), static_cast<size_t>(in.gcount()));
    entry.bytes += static_cast<uint64_t>(in.gcount());
  }
  entry.sha256 = hash.FinishHex();
  return entry;
}

// Name in the bundle to the file that is to stand there.
using Sources = std::map<std::string, std::string>;

absl::Status AddCheckpoint(const RunCheckpoint& checkpoint, Sources& sources) {
  const absl::Status whole = VerifyCheckpoint(checkpoint.path);
  if (!whole.ok()) return whole;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(checkpoint.path, error)) {
    const fs::path path = entry.path();
    sources[absl::StrCat("checkpoints/", path.parent_path().filename().string(), "/",
                         path.filename().string())] = path.string();
  }
  return error ? absl::UnknownError(absl::StrCat(checkpoint.path, ": ", error.message()))
               : absl::OkStatus();
}

absl::Status WriteArchive(const Sources& sources, Json manifest, const std::string& path) {
  for (const auto& [name, source] : sources) {
    auto digest = DigestOf(source);
    if (!digest.ok()) return digest.status();
    if (!IsPlainPath(name) || digest->bytes > kMaxFileBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          source, " cannot be carried: its name is no plain one, or it has 8 GiB or more"));
    }
    manifest["files"][name] = {{"bytes", digest->bytes}, {"sha256", digest->sha256}};
  }
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  const std::string text = manifest.dump(1) + "\n";
  out << TarHeader(kManifest, text.size()) << text
      << std::string((kBlock - text.size() % kBlock) % kBlock, '\0');
  for (const auto& [name, source] : sources) {
    const uint64_t bytes = manifest["files"][name]["bytes"];
    const absl::Status appended = AppendFile(out, name, source, bytes);
    if (!appended.ok()) return appended;
  }
  out << std::string(2 * kBlock, '\0');
  out.close();
  if (out) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("cannot write all of ", path));
}

absl::Status FillBundle(const RecordedRun& run, int64_t first, int64_t last,
                        const std::string& folder, const std::string& archive) {
  Sources sources;
  const RunCheckpoint* start = nullptr;
  for (const RunCheckpoint& checkpoint : run.checkpoints()) {
    if (checkpoint.iteration < first && checkpoint.position.ok() &&
        VerifyCheckpoint(checkpoint.path).ok()) {
      start = &checkpoint;
    }
  }
  if (start == nullptr) {
    return absl::NotFoundError(absl::StrCat(run.path(),
                                            " has no whole checkpoint before iteration ", first,
                                            "; nothing could be replayed from the file"));
  }
  for (const RunCheckpoint& checkpoint : run.checkpoints()) {
    if (&checkpoint != start && (checkpoint.iteration < first || checkpoint.iteration > last)) {
      continue;
    }
    const absl::Status added = AddCheckpoint(checkpoint, sources);
    if (!added.ok()) return added;
  }
  const std::string path = folder + "/store.sqlite";
  {
    auto store = Store::Open(path, Store::Mode::kCreate);
    if (!store.ok()) return store.status();
    const absl::Status copied = CopyIterations(run.store(), **store, start->iteration + 1, last);
    if (!copied.ok()) return copied;
  }
  sources["store.sqlite"] = path;
  for (const char* name : {"config.textproto", "env.json"}) {
    const std::string file = absl::StrCat(run.path(), "/", name);
    if (fs::exists(file)) sources[name] = file;
  }
  Json manifest;
  manifest["format"] = "hone-bundle";
  manifest["format_version"] = 1;
  manifest["run"] = run.record().id;
  manifest["iterations"] = {first, last};
  return WriteArchive(sources, std::move(manifest), archive);
}

// Reads an archive front to back.
class Unpacker {
 public:
  Unpacker(std::string file, std::string directory)
      : file_(std::move(file)), directory_(std::move(directory)), in_(file_, std::ios::binary) {}

  absl::Status Run() {
    std::string name;
    uint64_t bytes = 0;
    absl::Status status = Header(&name, &bytes);
    if (status.ok() && (name != kManifest || bytes > kMaxManifestBytes)) {
      status = Damaged(file_, "it does not begin with a manifest");
    }
    if (status.ok()) status = ReadManifestText(bytes);
    while (status.ok() && !expected_.empty()) {
      status = Header(&name, &bytes);
      if (status.ok()) status = Member(name, bytes);
    }
    return status;
  }

 private:
  absl::Status Read(char* to, size_t bytes) {
    in_.read(to, static_cast<std::streamsize>(bytes));
    if (static_cast<size_t>(in_.gcount()) == bytes) return absl::OkStatus();
    return Damaged(file_, "it ends too early");
  }

  absl::Status Header(std::string* name, uint64_t* bytes) {
    std::string block(kBlock, '\0');
    const absl::Status read = Read(block.data(), kBlock);
    if (!read.ok()) return read;
    *name = block.substr(0, std::min<size_t>(block.find('\0'), 100));
    *bytes = 0;
    for (size_t i = 124; i < 135; ++i) {
      if (block[i] < '0' || block[i] > '7') return Damaged(file_, "an entry has no size");
      *bytes = *bytes * 8 + static_cast<uint64_t>(block[i] - '0');
    }
    // What we write is what we read: no links, owners or other kinds of entries.
    if (block == TarHeader(*name, *bytes)) return absl::OkStatus();
    return Damaged(file_, "an entry is not of the form that is written");
  }

  absl::Status ReadManifestText(uint64_t bytes) {
    std::string text(bytes + (kBlock - bytes % kBlock) % kBlock, '\0');
    const absl::Status read = Read(text.data(), text.size());
    if (!read.ok()) return read;
    text.resize(bytes);
    const Json manifest = Json::parse(text, nullptr, false);
    if (!manifest.is_object() || manifest.value("format", Json()) != "hone-bundle" ||
        !manifest.contains("format_version") || !manifest["format_version"].is_number_integer() ||
        !manifest.contains("files") || !manifest["files"].is_object()) {
      return Damaged(file_, "its manifest is none");
    }
    const int64_t version = manifest["format_version"];
    if (version != 1) {
      return absl::FailedPreconditionError(
          absl::StrCat(file_, " has format version ", version, "; this binary reads version 1"));
    }
    for (const auto& [name, entry] : manifest["files"].items()) {
      if (!IsPlainPath(name) || !entry.is_object() || !entry.contains("bytes") ||
          !entry["bytes"].is_number_unsigned() || !entry.contains("sha256") ||
          !entry["sha256"].is_string()) {
        return Damaged(file_, "its manifest names a file that cannot be");
      }
      expected_[name] = {entry["bytes"], entry["sha256"]};
    }
    return absl::OkStatus();
  }

  absl::Status Member(const std::string& name, uint64_t bytes) {
    const auto expected = expected_.find(name);
    if (expected == expected_.end() || expected->second.bytes != bytes) {
      return Damaged(file_, "an entry is not as the manifest says");
    }
    const fs::path path = fs::path(directory_) / name;
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    Sha256 hash;
    std::vector<char> buffer(1 << 20);
    for (uint64_t left = bytes; left > 0;) {
      const size_t piece = static_cast<size_t>(std::min<uint64_t>(left, buffer.size()));
      const absl::Status read = Read(buffer.data(), piece);
      if (!read.ok()) return read;
      hash.Update(buffer.data(), piece);
      out.write(buffer.data(), static_cast<std::streamsize>(piece));
      left -= piece;
    }
    out.close();
    if (!out) return absl::ResourceExhaustedError(absl::StrCat("cannot write ", path.string()));
    if (hash.FinishHex() != expected->second.sha256) {
      return Damaged(file_, absl::StrCat(name, " is not what was exported: its digest differs"));
    }
    expected_.erase(expected);
    in_.seekg(static_cast<std::streamoff>((kBlock - bytes % kBlock) % kBlock), std::ios::cur);
    return absl::OkStatus();
  }

  const std::string file_;
  const std::string directory_;
  std::ifstream in_;
  std::map<std::string, Entry> expected_;
};

}  // namespace

absl::Status WriteBundle(const RecordedRun& run, int64_t first, int64_t last,
                         const std::string& file) {
  std::error_code error;
  if (fs::exists(file, error)) return absl::AlreadyExistsError(absl::StrCat(file, " exists"));
  const fs::path whole = fs::absolute(file).lexically_normal();
  auto folder = MakeTemporaryDirectory(whole.parent_path().string(), whole.filename().string());
  if (!folder.ok()) return folder.status();
  const std::string archive = *folder + "/bundle";
  absl::Status status = FillBundle(run, first, last, *folder, archive);
  if (status.ok() && std::rename(archive.c_str(), whole.c_str()) != 0) {
    status = absl::UnknownError(absl::StrCat("cannot write ", file, ": ", std::strerror(errno)));
  }
  fs::remove_all(*folder, error);
  return status;
}

absl::Status UnpackBundle(const std::string& file, const std::string& directory) {
  return Unpacker(file, directory).Run();
}

}  // namespace hone
