// SPDX-License-Identifier: Apache-2.0
#include "services/convert/state_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "hone/v1/policy_service.pb.h"
#include "policy/hash.h"
#include "services/convert/limits.h"

namespace hone::convert {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxDepth = 4;
constexpr size_t kMaxFileName = 1024;

// A relative path of plain parts: it cannot leave the directory it is put into.
bool IsPlainName(const std::string& name) {
  if (name.empty() || name.size() > kMaxFileName) return false;
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  if (parts.size() > kMaxDepth) return false;
  for (const std::string& part : parts) {
    if (part.empty() || part == "." || part == "..") return false;
    for (char c : part) {
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') {
        return false;
      }
    }
  }
  return true;
}

absl::Status FileError(absl::string_view what, const std::string& path) {
  const int error = errno;
  const std::string message = absl::StrCat("cannot ", what, " ", path, ": ", strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  if (error == ENOENT) return absl::NotFoundError(message);
  return absl::InternalError(message);
}

absl::StatusOr<std::vector<std::string>> ListFiles(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_directory() && !it->is_symlink()) continue;
    const std::string name = it->path().lexically_relative(directory).string();
    if (!it->is_regular_file()) {
      return absl::FailedPreconditionError(
          absl::StrCat(directory, "/", name, " is not a regular file and cannot be sent"));
    }
    if (!IsPlainName(name)) {
      return absl::FailedPreconditionError(
          absl::StrCat(directory, "/", name,
                       " cannot be sent: names are of letters, digits, '.', '_', '-', at "
                       "most ",
                       kMaxDepth, " deep"));
    }
    names.push_back(name);
    if (names.size() > static_cast<size_t>(kMaxStateFiles)) {
      return absl::FailedPreconditionError(
          absl::StrCat(directory, " holds more than ", kMaxStateFiles, " files"));
    }
  }
  if (error) {
    return absl::NotFoundError(absl::StrCat("cannot list ", directory, ": ", error.message()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

class File {
 public:
  File(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

absl::Status ReadOne(const std::string& directory, const std::string& name,
                     const std::function<bool(const v1::FileChunk&)>& on_chunk, v1::StateEnd* end) {
  const std::string path = absl::StrCat(directory, "/", name);
  File file(path, O_RDONLY);
  if (file.fd() < 0) return FileError("open", path);
  const int64_t total = lseek(file.fd(), 0, SEEK_END);
  if (total < 0) return FileError("measure", path);
  v1::FileChunk chunk;
  chunk.set_name(name);
  chunk.set_total_bytes(total);
  int64_t offset = 0;
  do {
    const int64_t want = std::min(kFileChunkBytes, total - offset);
    chunk.set_offset_bytes(offset);
    std::string* data = chunk.mutable_data();
    data->resize(static_cast<size_t>(want));
    for (int64_t got = 0; got < want;) {
      const ssize_t n =
          pread(file.fd(), data->data() + got, static_cast<size_t>(want - got), offset + got);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FileError("read", path);
      if (n == 0) return absl::DataLossError(absl::StrCat(path, " shrank while it was read"));
      got += n;
    }
    chunk.set_crc32c(Crc32c(data->data(), data->size()));
    if (!on_chunk(chunk)) return absl::CancelledError("the receiver of the state is gone");
    offset += want;
  } while (offset < total);
  end->set_files(end->files() + 1);
  end->set_total_bytes(end->total_bytes() + total);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadStateFiles(const std::string& directory,
                            const std::function<bool(const v1::FileChunk&)>& on_chunk,
                            v1::StateEnd* end) {
  end->Clear();
  auto names = ListFiles(directory);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const absl::Status status = ReadOne(directory, name, on_chunk, end);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

struct StateFilesWriter::State {
  std::string directory;
  int64_t max_bytes = 0;
  std::vector<std::string> written;  // paths, files only
  std::string current;               // name of the open file; empty: none
  std::unique_ptr<File> file;
  int64_t offset = 0;
  int64_t total = 0;
  int64_t all_bytes = 0;
  bool finished = false;

  std::string Path(const std::string& name) const { return absl::StrCat(directory, "/", name); }

  absl::Status Open(const v1::FileChunk& chunk) {
    if (static_cast<int64_t>(written.size()) >= kMaxStateFiles) {
      return absl::ResourceExhaustedError(absl::StrCat("more than ", kMaxStateFiles, " files"));
    }
    const std::string path = Path(chunk.name());
    std::error_code error;
    fs::create_directories(fs::path(path).parent_path(), error);
    file = std::make_unique<File>(path, O_WRONLY | O_CREAT | O_EXCL);
    if (file->fd() < 0 && errno == EEXIST) {
      return absl::InvalidArgumentError(absl::StrCat("file '", chunk.name(), "' comes twice"));
    }
    if (file->fd() < 0) return FileError("create", path);
    written.push_back(path);
    current = chunk.name();
    offset = 0;
    total = chunk.total_bytes();
    return absl::OkStatus();
  }

  absl::Status CloseIfWhole() {
    if (offset < total) return absl::OkStatus();
    if (fsync(file->fd()) != 0) return FileError("fsync", Path(current));
    file.reset();
    current.clear();
    return absl::OkStatus();
  }

  absl::Status Write(const std::string& data) {
    for (size_t done = 0; done < data.size();) {
      const ssize_t n = write(file->fd(), data.data() + done, data.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FileError("write", Path(current));
      done += static_cast<size_t>(n);
    }
    offset += static_cast<int64_t>(data.size());
    all_bytes += static_cast<int64_t>(data.size());
    return CloseIfWhole();
  }

  absl::Status Check(const v1::FileChunk& chunk) const {
    const auto bad = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat("file '", chunk.name(), "': ", what));
    };
    const int64_t bytes = static_cast<int64_t>(chunk.data().size());
    if (!IsPlainName(chunk.name())) return bad("not a plain relative name");
    if (bytes > kFileChunkBytes) return bad("a piece is over 1 MiB");
    if (bytes == 0 && chunk.total_bytes() != 0) return bad("an empty piece");
    if (!current.empty() && chunk.name() != current) return bad("another file is not whole yet");
    const int64_t expected = current.empty() ? 0 : offset;
    if (chunk.offset_bytes() != expected) return bad("pieces out of order");
    if (!current.empty() && chunk.total_bytes() != total) return bad("its size changes");
    if (chunk.total_bytes() < expected + bytes) return bad("more bytes than declared");
    if (all_bytes + chunk.total_bytes() - expected > max_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat("the state is over ", max_bytes, " bytes"));
    }
    if (Crc32c(chunk.data().data(), chunk.data().size()) != chunk.crc32c()) {
      return absl::DataLossError(absl::StrCat("file '", chunk.name(), "' at byte ",
                                              chunk.offset_bytes(),
                                              ": the checksum does not hold"));
    }
    return absl::OkStatus();
  }
};

StateFilesWriter::StateFilesWriter(std::string directory, int64_t max_bytes)
    : state_(std::make_unique<State>()) {
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  state_->directory = std::move(directory);
  state_->max_bytes = max_bytes;
}

StateFilesWriter::~StateFilesWriter() {
  if (state_->finished) return;
  state_->file.reset();
  std::error_code error;
  for (const std::string& path : state_->written) {
    fs::remove(path, error);
    // Directories that we made are empty now; the state's own is not ours to remove.
    for (fs::path up = fs::path(path).parent_path(); up != fs::path(state_->directory);
         up = up.parent_path()) {
      if (!fs::remove(up, error)) break;
    }
  }
}

absl::Status StateFilesWriter::Add(const v1::FileChunk& chunk) {
  const absl::Status good = state_->Check(chunk);
  if (!good.ok()) return good;
  if (state_->current.empty()) {
    const absl::Status opened = state_->Open(chunk);
    if (!opened.ok()) return opened;
  }
  return state_->Write(chunk.data());
}

absl::Status StateFilesWriter::Finish(const v1::StateEnd& end) {
  if (!state_->current.empty()) {
    return absl::DataLossError(absl::StrCat("file '", state_->current, "' is cut short"));
  }
  if (end.files() != static_cast<int64_t>(state_->written.size()) ||
      end.total_bytes() != state_->all_bytes) {
    return absl::DataLossError(absl::StrCat("the state is not whole: ", state_->written.size(),
                                            " files of ", end.files(), ", ", state_->all_bytes,
                                            " bytes of ", end.total_bytes()));
  }
  state_->finished = true;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ScratchDirectory>> ScratchDirectory::Make(
    const std::string& parent) {
  std::string base = parent;
  if (base.empty()) {
    const char* tmp = std::getenv("TMPDIR");
    base = tmp != nullptr && *tmp != '\0' ? tmp : "/tmp";
  }
  std::string path = absl::StrCat(base, "/hone-state-XXXXXX");
  if (mkdtemp(path.data()) == nullptr) return FileError("make a directory in", base);
  return std::unique_ptr<ScratchDirectory>(new ScratchDirectory(std::move(path)));
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code error;
  fs::remove_all(path_, error);
}

}  // namespace hone::convert
