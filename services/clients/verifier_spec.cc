// SPDX-License-Identifier: Apache-2.0
#include "services/clients/verifier_spec.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <initializer_list>
#include <sstream>
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

absl::StatusOr<std::unique_ptr<Verifier>> OpenExec(const VerifierSpec& spec,
                                                   const VerifierOptions& options, WorkerLog log) {
  OptionReader reader(spec.text, options,
                      {"workers", "in_flight", "timeout_s", "start_timeout_s", "min", "max",
                       "threshold", "cases", "waive"});
  ProcessVerifierOptions process;
  ReadProcessOptions(reader, &process);
  if (!reader.status().ok()) return reader.status();
  process.argv = spec.command;
  process.identity = spec.text;
  process.log = std::move(log);
  return ProcessVerifier::Open(std::move(process));
}

absl::StatusOr<std::unique_ptr<Verifier>> OpenPython(const VerifierSpec& spec,
                                                     const VerifierOptions& options,
                                                     WorkerLog log) {
  OptionReader reader(spec.text, options,
                      {"workers", "in_flight", "timeout_s", "start_timeout_s", "min", "max",
                       "threshold", "interpreter", "cases", "waive"});
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
