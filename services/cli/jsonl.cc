// SPDX-License-Identifier: Apache-2.0
#include "services/cli/jsonl.h"

#include <zlib.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <streambuf>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace hone::cli {
namespace {

constexpr size_t kLineLimitBytes = size_t{64} << 20;
constexpr int kDepthLimit = 64;

// The bytes inside a gzip file. `damaged` once they end before they should.
class GzipBuffer : public std::streambuf {
 public:
  explicit GzipBuffer(const std::string& path) : file_(gzopen(path.c_str(), "rb")) {}
  ~GzipBuffer() override {
    if (file_ != nullptr) gzclose(file_);
  }
  bool damaged() const { return damaged_; }

 protected:
  int_type underflow() override {
    if (file_ == nullptr || damaged_) return traits_type::eof();
    const int bytes = gzread(file_, data_.data(), static_cast<unsigned>(data_.size()));
    int code = Z_OK;
    if (bytes <= 0) gzerror(file_, &code);
    damaged_ = bytes < 0 || (code != Z_OK && code != Z_STREAM_END);
    if (bytes <= 0) return traits_type::eof();
    setg(data_.data(), data_.data(), data_.data() + bytes);
    return traits_type::to_int_type(*gptr());
  }

 private:
  gzFile file_;
  bool damaged_ = false;
  std::array<char, 1 << 16> data_;
};

bool IsGzip(std::istream& in) {
  const bool gzip = in.get() == 0x1f && in.get() == 0x8b;
  in.clear();
  in.seekg(0);
  return gzip;
}

// getline with a limit: past it the rest of the line is thrown away and *too_long set.
bool ReadLine(std::streambuf* buffer, std::string* line, bool* too_long) {
  line->clear();
  *too_long = false;
  int c = buffer->sbumpc();
  if (c == EOF) return false;
  for (; c != EOF && c != '\n'; c = buffer->sbumpc()) {
    if (line->size() < kLineLimitBytes) {
      line->push_back(static_cast<char>(c));
    } else {
      *too_long = true;
    }
  }
  return true;
}

JsonlRow ParseRow(int64_t number, const std::string& line, bool too_long) {
  JsonlRow row;
  row.line = number;
  if (too_long) {
    row.error = absl::StrCat("line ", number, " is longer than ", kLineLimitBytes, " bytes");
    return row;
  }
  bool too_deep = false;
  row.value = Json::parse(
      line,
      [&](int depth, Json::parse_event_t, Json&) {
        too_deep |= depth > kDepthLimit;
        return !too_deep;
      },
      false);
  if (too_deep) {
    row.error = absl::StrCat("line ", number, " is nested deeper than ", kDepthLimit);
  } else if (row.value.is_discarded()) {
    row.error = absl::StrCat("line ", number, " is not JSON");
  } else if (!row.value.is_object()) {
    row.error = absl::StrCat("line ", number, " is not a JSON object");
  }
  if (!row.error.empty()) row.value = Json();
  return row;
}

}  // namespace

absl::Status ReadJsonl(const std::string& path, size_t batch,
                       const std::function<absl::Status(std::vector<JsonlRow>)>& take) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return absl::NotFoundError(absl::StrCat("no file at ", path));
  }
  std::unique_ptr<GzipBuffer> gzip;
  if (path != "-" && IsGzip(file)) gzip = std::make_unique<GzipBuffer>(path);
  std::streambuf* in = path == "-" ? std::cin.rdbuf() : file.rdbuf();
  if (gzip != nullptr) in = gzip.get();
  std::vector<JsonlRow> rows;
  std::string line;
  bool too_long = false;
  for (int64_t number = 1; ReadLine(in, &line, &too_long); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    rows.push_back(ParseRow(number, line, too_long));
    if (rows.size() < batch) continue;
    absl::Status taken = take(std::move(rows));
    if (!taken.ok()) return taken;
    rows.clear();
  }
  if (gzip != nullptr && gzip->damaged()) {
    return absl::DataLossError(absl::StrCat(path, " is a damaged or cut off gzip file"));
  }
  return rows.empty() ? absl::OkStatus() : take(std::move(rows));
}

void WriteRow(const Json& row) {
  std::cout << row.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
}

Json ExactFloat(float value) {
  if (!std::isfinite(value)) return nullptr;
  return std::strtod(absl::StrFormat("%.9g", value).c_str(), nullptr);
}

std::string TextOf(const Json& row, const std::string& key) {
  const auto found = row.find(key);
  if (found == row.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  return found->dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json IdOf(const Json& row) {
  if (!row.is_object()) return nullptr;
  const auto found = row.find("id");
  return found == row.end() ? Json() : *found;
}

}  // namespace hone::cli
