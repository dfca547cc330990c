// SPDX-License-Identifier: Apache-2.0
#include "rollout/tasks/jsonl_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace hone {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;

// The deepest nesting of brackets outside strings.
int Depth(absl::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
    if (c == '}' || c == ']') --depth;
  }
  return deepest;
}

// Reads up to `bytes` at `offset`, whole unless the file ends. < 0: errno.
ssize_t ReadAt(int descriptor, char* to, size_t bytes, int64_t offset) {
  size_t have = 0;
  while (have < bytes) {
    const ssize_t got = pread(descriptor, to + have, bytes - have,
                              static_cast<off_t>(offset + static_cast<int64_t>(have)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return got;
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  return static_cast<ssize_t>(have);
}

}  // namespace

JsonlFile::JsonlFile(std::string path, int descriptor)
    : path_(std::move(path)), descriptor_(descriptor) {}

JsonlFile::~JsonlFile() {
  close(descriptor_);
}

absl::StatusOr<std::unique_ptr<JsonlFile>> JsonlFile::Open(const std::string& path,
                                                           int64_t max_rows, const Visit& visit) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return absl::NotFoundError(absl::StrCat(path, ": cannot be opened: ", std::strerror(errno)));
  }
  std::unique_ptr<JsonlFile> file(new JsonlFile(path, descriptor));
  struct stat about {};
  if (fstat(descriptor, &about) != 0 || !S_ISREG(about.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a plain file"));
  }
  const absl::Status status = file->MakeIndex(max_rows, visit);
  if (!status.ok()) return status;
  return file;
}

absl::Status JsonlFile::MakeIndex(int64_t max_rows, const Visit& visit) {
  std::string pending;  // the line read so far
  std::string block(kReadBytes, '\0');
  int64_t line_start = 0;
  int64_t line = 1;
  int64_t offset = 0;
  for (;;) {
    const ssize_t got = ReadAt(descriptor_, block.data(), block.size(), offset);
    if (got < 0) {
      return absl::UnavailableError(absl::StrCat(path_, ": read: ", std::strerror(errno)));
    }
    absl::string_view rest(block.data(), static_cast<size_t>(got));
    if (offset == 0 && rest.size() >= 2 && rest[0] == '\x1f' && rest[1] == '\x8b') {
      return absl::InvalidArgumentError(absl::StrCat(path_, ": is compressed; gunzip it first"));
    }
    offset += got;
    while (!rest.empty()) {
      const size_t end = rest.find('\n');
      pending.append(rest.data(), std::min(end, rest.size()));
      if (static_cast<int64_t>(pending.size()) > kMaxLineBytes) {
        return absl::ResourceExhaustedError(
            absl::StrCat(path_, ":", line, ": the line is longer than ", kMaxLineBytes, " bytes"));
      }
      if (end == absl::string_view::npos) break;
      const absl::Status status = AddLine(line_start, line, pending, max_rows, visit);
      if (!status.ok()) return status;
      line_start += static_cast<int64_t>(pending.size()) + 1;
      ++line;
      pending.clear();
      rest.remove_prefix(end + 1);
    }
    if (static_cast<size_t>(got) < block.size()) {
      return AddLine(line_start, line, pending, max_rows, visit);
    }
  }
}

absl::Status JsonlFile::AddLine(int64_t offset, int64_t line, absl::string_view text,
                                int64_t max_rows, const Visit& visit) {
  if (absl::StripAsciiWhitespace(text).empty()) return absl::OkStatus();
  if (rows() >= max_rows) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path_, ":", line, ": more than ", max_rows, " rows"));
  }
  const absl::Status status = visit(line, text);
  if (!status.ok()) return status;
  index_.push_back({offset, static_cast<int32_t>(text.size()), static_cast<int32_t>(line)});
  return absl::OkStatus();
}

absl::StatusOr<std::string> JsonlFile::Read(int64_t row) const {
  const Entry& entry = index_.at(static_cast<size_t>(row));
  std::string text(static_cast<size_t>(entry.bytes), '\0');
  const ssize_t got = ReadAt(descriptor_, text.data(), text.size(), entry.offset);
  if (got != static_cast<ssize_t>(text.size())) {
    return absl::DataLossError(
        absl::StrCat(path_, ":", entry.line, ": the file changed since it was opened"));
  }
  return text;
}

absl::StatusOr<nlohmann::json> ParseJsonRow(absl::string_view path, int64_t line,
                                            absl::string_view text) {
  if (Depth(text) > kMaxJsonDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ":", line, ": nested deeper than ", kMaxJsonDepth));
  }
  nlohmann::json row = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (row.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ":", line, ": not valid JSON"));
  }
  if (!row.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ":", line, ": a row must be an object, {\"prompt\": ...}"));
  }
  return row;
}

std::string JsonText(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace hone
