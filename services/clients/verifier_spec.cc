// SPDX-License-Identifier: Apache-2.0
#include "services/clients/verifier_spec.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <numeric>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "services/clients/embedded_files.h"
#include "services/clients/process_verifier.h"
#include "services/clients/verifier_group.h"
#include "verifier/rules/declarative.h"

namespace hone {
namespace {

constexpr char kDefaultPython[] = "/usr/bin/python3";
constexpr size_t kMaxFileBytes = size_t{1} << 20;

absl::Status BadSpec(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("verifier \"", text, "\": ", why,
                   ". The forms are NAME, rules:FILE, python:FILE.py:FUNCTION, "
                   "exec:COMMAND ARGS, grpc:ADDRESS[,ADDRESS][#NAME]"));
}

// Words as a shell without expansions splits them: blanks part, quotes of both kinds hold together,
// a backslash takes the next byte as it is.
absl::StatusOr<std::vector<std::string>> SplitCommand(absl::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = '\0';
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      word.push_back(text[++i]);
      in_word = true;
    } else if (quote != '\0') {
      if (c == quote) {
        quote = '\0';
      } else {
        word.push_back(c);
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (c == ' ' || c == '\t' || c == '\n') {
      if (in_word) words.push_back(std::exchange(word, ""));
      in_word = false;
    } else {
      word.push_back(c);
      in_word = true;
    }
  }
  if (quote != '\0') return absl::InvalidArgumentError("a quote is not closed");
  if (in_word) words.push_back(word);
  if (words.empty()) return absl::InvalidArgumentError("the command is empty");
  return words;
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("no file at ", path));
  std::string text(kMaxFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (file.bad()) return absl::NotFoundError(absl::StrCat(path, " cannot be read"));
  if (text.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is larger than 1 MiB"));
  }
  return text;
}

// The options a kind takes, read one by one; the first that is wrong is kept.
class OptionReader {
 public:
  OptionReader(absl::string_view spec, const VerifierOptions& options,
               std::initializer_list<absl::string_view> known)
      : spec_(spec), options_(options) {
    for (const auto& [key, value] : options) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        Fail(absl::StrCat("there is no option \"", key, "\"; it takes ",
                          absl::StrJoin(known, ", ")));
      }
    }
  }
  std::string Text(const std::string& key, absl::string_view otherwise) {
    const auto found = options_.find(key);
    return found == options_.end() ? std::string(otherwise) : found->second;
  }
  std::optional<double> Number(const std::string& key) {
    const auto found = options_.find(key);
    if (found == options_.end()) return std::nullopt;
    double value = 0;
    if (absl::SimpleAtod(found->second, &value) && std::isfinite(value)) return value;
    Fail(absl::StrCat(key, ": \"", found->second, "\" is not a number"));
    return std::nullopt;
  }
  int Count(const std::string& key, int otherwise) {
    const double value = Number(key).value_or(otherwise);
    if (value != std::floor(value) || value < 1 || value > 1000) {
      Fail(absl::StrCat(key, " is a whole number from 1"));
      return otherwise;
    }
    return static_cast<int>(value);
  }
  absl::Duration Seconds(const std::string& key, absl::Duration otherwise) {
    const std::optional<double> value = Number(key);
    if (!value) return otherwise;
    if (*value <= 0 || *value > 86400) Fail(absl::StrCat(key, " is in (0, 86400]"));
    return absl::Seconds(*value);
  }
  const absl::Status& status() const { return status_; }

 private:
  void Fail(absl::string_view why) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(absl::StrCat("verifier \"", spec_, "\": ", why));
    }
  }
  const absl::string_view spec_;
  const VerifierOptions& options_;
  absl::Status status_;
};

void ReadProcessOptions(OptionReader& reader, ProcessVerifierOptions* to) {
  to->workers = reader.Count("workers", to->workers);
  to->in_flight = reader.Count("in_flight", to->in_flight);
  to->item_timeout = reader.Seconds("timeout_s", to->item_timeout);
  to->start_timeout = reader.Seconds("start_timeout_s", to->start_timeout);
  to->min = reader.Number("min");
  to->max = reader.Number("max");
  to->threshold = reader.Number("threshold");
}

constexpr int64_t kJailedCpuMs = 3600 * 1000;  // of one worker's life: then the next takes over
constexpr int64_t kJailedWallMs = 4 * 3600 * 1000;
constexpr int kJailedMemoryMb = 512;

bool IsOfTheSystem(const std::string& path) {
  return absl::StartsWith(path, "/usr/") || absl::StartsWith(path, "/bin/") ||
         absl::StartsWith(path, "/lib");
}

// A file of the outside as a file of the jail; *path is where it is there.
absl::Status TakeIntoJail(std::string* path, ProcessVerifierOptions* to) {
  std::ifstream file(*path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("no file at ", *path));
  std::stringstream bytes;
  bytes << file.rdbuf();
  const std::string name = path->substr(path->rfind('/') + 1);
  if (!to->files.emplace(name, bytes.str()).second) {
    return absl::InvalidArgumentError(absl::StrCat("two files are called ", name));
  }
  *path = absl::StrCat("/box/", name);
  return absl::OkStatus();
}

// Workers in a jail each: no network, no files but /usr and those that the command or the option
// `files` names. Where that is not permitted here, an error; never a worker without a jail.
absl::Status JailWorkers(OptionReader& reader, absl::Span<const size_t> arguments,
                         ProcessVerifierOptions* to) {
  const std::string jail = reader.Text("jail", "false");
  if (jail != "true" && jail != "false") {
    return absl::InvalidArgumentError(absl::StrCat("jail: \"", jail, "\", true or false"));
  }
  const std::string others = reader.Text("files", "");
  to->limits.memory_bytes = int64_t{reader.Count("memory_mb", kJailedMemoryMb)} << 20;
  if (jail == "false") return absl::OkStatus();
  for (const size_t i : arguments) {
    std::string& argument = to->argv[i];
    std::error_code error;
    if (IsOfTheSystem(argument) || !std::filesystem::is_regular_file(argument, error)) continue;
    const absl::Status taken = TakeIntoJail(&argument, to);
    if (!taken.ok()) return taken;
  }
  for (absl::string_view other : absl::StrSplit(others, ',', absl::SkipWhitespace())) {
    std::string path(absl::StripAsciiWhitespace(other));
    const absl::Status taken = TakeIntoJail(&path, to);
    if (!taken.ok()) return taken;
  }
  to->limits.cpu_ms = kJailedCpuMs;
  to->limits.wall_ms = kJailedWallMs;
  to->limits.processes = 64;
  absl::StrAppend(&to->identity, "\njailed");
  for (const auto& [name, bytes] : to->files) absl::StrAppend(&to->identity, "\n", name, bytes);
  SandboxOptions options;
  options.slots = to->workers + 1;  // one that is being stopped still holds its slot
  options.warm_modules = {"sys"};   // workers are executed, not forked from the warm one
  absl::StatusOr<std::unique_ptr<Sandbox>> sandbox = StartSandbox(options);
  if (!sandbox.ok()) return sandbox.status();
  to->sandbox = *std::move(sandbox);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Verifier>> OpenExec(const VerifierSpec& spec,
                                                   const VerifierOptions& options, WorkerLog log) {
  OptionReader reader(spec.text, options,
                      {"workers", "in_flight", "timeout_s", "start_timeout_s", "min", "max",
                       "threshold", "jail", "files", "memory_mb", "cases", "waive"});
  ProcessVerifierOptions process;
  ReadProcessOptions(reader, &process);
  if (!reader.status().ok()) return reader.status();
  process.argv = spec.command;
  process.identity = spec.text;
  std::vector<size_t> arguments(process.argv.size());
  std::iota(arguments.begin(), arguments.end(), size_t{0});
  const absl::Status jailed = JailWorkers(reader, arguments, &process);
  if (!jailed.ok()) return jailed;
  if (!reader.status().ok()) return reader.status();
  process.log = std::move(log);
  return ProcessVerifier::Open(std::move(process));
}

absl::StatusOr<std::unique_ptr<Verifier>> OpenPython(const VerifierSpec& spec,
                                                     const VerifierOptions& options,
                                                     WorkerLog log) {
  OptionReader reader(spec.text, options,
                      {"workers", "in_flight", "timeout_s", "start_timeout_s", "min", "max",
                       "threshold", "interpreter", "jail", "files", "memory_mb", "cases", "waive"});
  ProcessVerifierOptions process;
  ReadProcessOptions(reader, &process);
  const std::string python = reader.Text("interpreter", kDefaultPython);
  if (!reader.status().ok()) return reader.status();
  auto source = ReadSmallFile(spec.file);
  if (!source.ok()) return source.status();
  process.argv = {python, "-c", std::string(EmbeddedFile("python/verifier_worker.py")), spec.file,
                  spec.function};
  process.name = absl::StrCat("python:", spec.function);
  // Another text of the function is another verifier.
  process.identity = absl::StrCat(spec.function, "\n", *source);
  const absl::Status jailed = JailWorkers(reader, {3}, &process);
  if (!jailed.ok()) return jailed;
  if (!reader.status().ok()) return reader.status();
  process.log = std::move(log);
  return ProcessVerifier::Open(std::move(process));
}

absl::StatusOr<std::unique_ptr<Verifier>> OpenRules(const VerifierSpec& spec,
                                                    const VerifierOptions& options) {
  OptionReader reader(spec.text, options, {"cases", "waive"});
  if (!reader.status().ok()) return reader.status();
  if (spec.file.empty()) return MakeDeclarativeVerifier(spec.rules);
  auto text = ReadSmallFile(spec.file);
  if (!text.ok()) return text.status();
  auto verifier = MakeDeclarativeVerifier(*text);
  if (verifier.ok()) return verifier;
  return absl::Status(verifier.status().code(),
                      absl::StrCat(spec.file, ": ", verifier.status().message()));
}

absl::StatusOr<std::unique_ptr<Verifier>> OpenGrpc(const VerifierSpec& spec,
                                                   VerifierOptions options) {
  options.erase("cases");
  options.erase("waive");
  return VerifierGroup::Connect(spec.addresses, spec.name, options);
}

}  // namespace

absl::StatusOr<VerifierSpec> ParseVerifierSpec(absl::string_view text) {
  VerifierSpec spec;
  spec.text = std::string(text);
  if (text.size() > 4096) return BadSpec(text.substr(0, 60), "it is longer than 4 KiB");
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "rules:")) {
    spec.kind = VerifierKind::kRules;
    const absl::string_view trimmed = absl::StripAsciiWhitespace(rest);
    if (absl::StartsWith(trimmed, "{")) {
      spec.rules = std::string(trimmed);
    } else {
      spec.file = std::string(rest);
    }
    if (trimmed.empty()) return BadSpec(text, "it names no file");
  } else if (absl::ConsumePrefix(&rest, "python:")) {
    spec.kind = VerifierKind::kPython;
    const size_t colon = rest.rfind(':');
    if (colon == absl::string_view::npos || colon == 0 || colon + 1 == rest.size()) {
      return BadSpec(text, "say python:FILE.py:FUNCTION");
    }
    spec.file = std::string(rest.substr(0, colon));
    spec.function = std::string(rest.substr(colon + 1));
  } else if (absl::ConsumePrefix(&rest, "exec:")) {
    spec.kind = VerifierKind::kExec;
    auto command = SplitCommand(rest);
    if (!command.ok()) return BadSpec(text, command.status().message());
    spec.command = *std::move(command);
  } else if (absl::ConsumePrefix(&rest, "grpc:")) {
    spec.kind = VerifierKind::kGrpc;
    const std::pair<absl::string_view, absl::string_view> halves =
        absl::StrSplit(rest, absl::MaxSplits('#', 1));
    spec.name = std::string(halves.second);
    spec.addresses = absl::StrSplit(halves.first, ',', absl::SkipEmpty());
    if (spec.addresses.empty()) return BadSpec(text, "it names no address");
  } else {
    if (text.empty() || absl::StrContains(text, ":")) return BadSpec(text, "unknown form");
    spec.name = std::string(text);
  }
  return spec;
}

bool IsCustomVerifier(absl::string_view text) {
  const auto spec = ParseVerifierSpec(text);
  return spec.ok() && spec->custom();
}

absl::StatusOr<std::unique_ptr<Verifier>> OpenVerifier(absl::string_view text,
                                                       const VerifierOptions& options,
                                                       WorkerLog log) {
  auto spec = ParseVerifierSpec(text);
  if (!spec.ok()) return spec.status();
  switch (spec->kind) {
    case VerifierKind::kBuiltIn:
      return MakeVerifier(spec->name, options);
    case VerifierKind::kRules:
      return OpenRules(*spec, options);
    case VerifierKind::kPython:
      return OpenPython(*spec, options, std::move(log));
    case VerifierKind::kExec:
      return OpenExec(*spec, options, std::move(log));
    case VerifierKind::kGrpc:
      return OpenGrpc(*spec, options);
  }
  return BadSpec(text, "unknown form");
}

std::string CasesPath(const VerifierSpec& spec, const VerifierOptions& options) {
  const auto option = options.find("cases");
  if (option != options.end()) return option->second;
  if (spec.file.empty()) return "";
  const size_t dot = spec.file.rfind('.');
  const size_t slash = spec.file.rfind('/');
  const bool has_ending =
      dot != std::string::npos && (slash == std::string::npos || dot > slash + 1);
  const std::string path =
      absl::StrCat(has_ending ? spec.file.substr(0, dot) : spec.file, ".cases.jsonl");
  return access(path.c_str(), R_OK) == 0 ? path : "";
}

std::set<std::string> WaivedChecks(const VerifierOptions& options) {
  const auto found = options.find("waive");
  if (found == options.end()) return {};
  return absl::StrSplit(found->second, absl::ByAnyChar(", "), absl::SkipEmpty());
}

}  // namespace hone
