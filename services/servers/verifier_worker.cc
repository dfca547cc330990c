// SPDX-License-Identifier: Apache-2.0
#include "services/servers/verifier_worker.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/clients/worker_process.h"
#include "services/clients/worker_protocol.h"

namespace hone {
namespace {

constexpr size_t kMaxBatch = 64;

absl::Status WriteLines(int fd, const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written = write(fd, bytes.data() + done, bytes.size() - done);
    if (written > 0) {
      done += static_cast<size_t>(written);
    } else if (errno != EINTR) {
      return absl::UnavailableError(absl::StrCat("cannot answer: ", strerror(errno)));
    }
  }
  return absl::OkStatus();
}

absl::Status JudgeLines(Verifier& verifier, const std::vector<std::string>& lines, int out_fd) {
  std::vector<std::string> ids;
  std::vector<Question> questions;
  for (const std::string& line : lines) {
    auto item = ParseItem(line);
    if (!item.ok()) return item.status();
    ids.push_back(std::move(item->first));
    questions.push_back(std::move(item->second));
  }
  const auto verdicts = verifier.Verify(questions);
  Verdict outage;
  outage.outcome = Outcome::kOutage;
  const bool told = verdicts.ok() && verdicts->size() == ids.size();
  if (!told) {
    outage.detail = verdicts.ok() ? "the verifier answered another number of questions"
                                  : std::string(verdicts.status().message());
  }
  std::string replies;
  for (size_t i = 0; i < ids.size(); ++i) {
    absl::StrAppend(&replies, FormatReply(ids[i], told ? (*verdicts)[i] : outage), "\n");
  }
  return WriteLines(out_fd, replies);
}

}  // namespace

absl::Status ServeWorker(Verifier& verifier, int in_fd, int out_fd) {
  absl::Status status = WriteLines(out_fd, absl::StrCat(FormatHello(verifier.Describe()), "\n"));
  std::string buffer;
  std::vector<char> chunk(size_t{64} << 10);
  while (status.ok()) {
    const ssize_t got = read(in_fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (buffer.empty()) return absl::OkStatus();
      return absl::InvalidArgumentError("the input ends in the middle of a line");
    }
    buffer.append(chunk.data(), static_cast<size_t>(got));
    std::vector<std::string> lines;
    size_t begin = 0;
    for (size_t end = buffer.find('\n'); end != std::string::npos && status.ok();
         end = buffer.find('\n', begin)) {
      lines.push_back(buffer.substr(begin, end - begin));
      begin = end + 1;
      if (lines.size() < kMaxBatch) continue;
      status = JudgeLines(verifier, std::exchange(lines, {}), out_fd);
    }
    buffer.erase(0, begin);
    if (status.ok() && !lines.empty()) status = JudgeLines(verifier, lines, out_fd);
    if (status.ok() && buffer.size() > WorkerProcess::kMaxLineBytes) {
      status = absl::InvalidArgumentError("a line of more than 1 MiB");
    }
  }
  return status;
}

}  // namespace hone
