// SPDX-License-Identifier: Apache-2.0
//
// A program as bytes in a memory file: written by the service, read by PID 1 of the jail. Header
// only, because the two are different executables; only the standard library.
#ifndef HONE_VERIFIER_SANDBOX_PROGRAM_FILE_H_
#define HONE_VERIFIER_SANDBOX_PROGRAM_FILE_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace hone {

struct ProgramFile {
  std::string python_source;  // empty argv: this
  std::string source_name;
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> files;
};

inline void AppendString(const std::string& text, std::string* out) {
  const uint64_t size = text.size();
  out->append(reinterpret_cast<const char*>(&size), sizeof size);
  out->append(text);
}

inline std::string EncodeProgram(const ProgramFile& program) {
  std::string out;
  const uint64_t counts[2] = {program.argv.size(), program.files.size()};
  out.append(reinterpret_cast<const char*>(counts), sizeof counts);
  AppendString(program.python_source, &out);
  AppendString(program.source_name, &out);
  for (const std::string& arg : program.argv) AppendString(arg, &out);
  for (const auto& [name, bytes] : program.files) {
    AppendString(name, &out);
    AppendString(bytes, &out);
  }
  return out;
}

// False where the bytes are not a whole program.
inline bool DecodeProgram(const std::string& in, ProgramFile* program) {
  size_t at = 0;
  uint64_t counts[2];
  if (in.size() < sizeof counts) return false;
  std::memcpy(counts, in.data(), sizeof counts);
  at += sizeof counts;
  const auto read = [&](std::string* out) {
    uint64_t size = 0;
    if (in.size() - at < sizeof size) return false;
    std::memcpy(&size, in.data() + at, sizeof size);
    at += sizeof size;
    if (in.size() - at < size) return false;
    out->assign(in, at, size);
    at += size;
    return true;
  };
  if (!read(&program->python_source) || !read(&program->source_name)) return false;
  for (uint64_t i = 0; i < counts[0]; ++i) {
    program->argv.emplace_back();
    if (!read(&program->argv.back())) return false;
  }
  for (uint64_t i = 0; i < counts[1]; ++i) {
    program->files.emplace_back();
    if (!read(&program->files.back().first) || !read(&program->files.back().second)) return false;
  }
  return at == in.size();
}

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_PROGRAM_FILE_H_
