// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/digested_file.h"

#include <algorithm>
#include <cassert>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

constexpr size_t kBufferBytes = size_t{64} << 10;

}  // namespace

absl::StatusOr<DigestedFile> DigestedFile::Create(FileSystem& files, const std::string& path,
                                                  uint64_t total_bytes) {
  absl::StatusOr<std::unique_ptr<WritableFile>> file = files.Create(path);
  if (!file.ok()) {
    return absl::Status(file.status().code(), absl::StrCat(file.status().message(), " (it needs ",
                                                           total_bytes, " bytes)"));
  }
  return DigestedFile(*std::move(file), path, total_bytes);
}

absl::Status DigestedFile::Explain(const absl::Status& status) const {
  if (status.ok()) return status;
  return absl::Status(
      status.code(),
      absl::StrCat(status.message(), " (after ", written_bytes_, " of ", total_bytes_, " bytes; ",
                   total_bytes_ - written_bytes_, " more are needed there)"));
}

absl::Status DigestedFile::Flush() {
  if (buffer_.empty()) return absl::OkStatus();
  if (absl::Status status = file_->Append(buffer_); !status.ok()) return Explain(status);
  written_bytes_ += buffer_.size();
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status DigestedFile::Append(absl::string_view bytes) {
  hash_.Update(bytes);
  while (!bytes.empty()) {
    const size_t take = std::min(bytes.size(), kBufferBytes - buffer_.size());
    buffer_.append(bytes.data(), take);
    bytes.remove_prefix(take);
    if (buffer_.size() < kBufferBytes) break;
    if (absl::Status status = Flush(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<FileDigest> DigestedFile::Finish() {
  if (absl::Status status = Flush(); !status.ok()) return status;
  assert(written_bytes_ == total_bytes_);
  if (absl::Status status = file_->Sync(); !status.ok()) return Explain(status);
  if (absl::Status status = file_->Close(); !status.ok()) return Explain(status);
  return FileDigest{written_bytes_, hash_.FinishHex()};
}

absl::StatusOr<FileDigest> WriteDigestedFile(FileSystem& files, const std::string& path,
                                             absl::string_view text) {
  absl::StatusOr<DigestedFile> file = DigestedFile::Create(files, path, text.size());
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Append(text); !status.ok()) return status;
  return file->Finish();
}

absl::Status CheckDigest(FileSystem& files, const std::string& path, const FileDigest& expected) {
  const absl::StatusOr<std::unique_ptr<ReadableFile>> file = files.Open(path);
  if (!file.ok()) {
    return absl::DataLossError(
        absl::StrCat("the checkpoint's file ", path, " cannot be read: ", file.status().message()));
  }
  const uint64_t size = (*file)->size();
  if (size != expected.bytes) {
    return absl::DataLossError(absl::StrCat(path, " has ", size, " bytes, but its checkpoint says ",
                                            expected.bytes, ": it was ",
                                            size < expected.bytes ? "truncated" : "altered"));
  }
  Sha256 hash;
  std::string chunk(std::min<uint64_t>(size, uint64_t{1} << 20), '\0');
  for (uint64_t offset = 0; offset < size; offset += chunk.size()) {
    const size_t bytes = std::min<uint64_t>(chunk.size(), size - offset);
    if (absl::Status status = (*file)->Read(offset, bytes, chunk.data()); !status.ok()) {
      return status;
    }
    hash.Update(chunk.data(), bytes);
  }
  const std::string found = hash.FinishHex();
  if (found == expected.sha256) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, " was altered: its SHA-256 is ", found,
                                          ", but its checkpoint says ", expected.sha256));
}

}  // namespace hone
