// SPDX-License-Identifier: Apache-2.0
//
// hone verifier list|describe|test|new|worker: verifiers of one's own. docs/custom_verifiers.md.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"
#include "services/clients/embedded_files.h"
#include "services/clients/remote_verifier.h"
#include "services/clients/verifier_conformance.h"
#include "services/clients/verifier_spec.h"
#include "services/servers/verifier_worker.h"
#include "verifier/registry.h"

namespace hone::cli {
namespace {

namespace fs = std::filesystem;

struct VerifierFlags {
  std::string spec;
  std::vector<std::string> options;
  std::string cases;
  std::string name;
  std::string kind = "python";
};

constexpr std::pair<const char*, const char*> kForms[] = {
    {"rules:FILE", "declared rules in JSON; rules:{...} inline"},
    {"python:FILE.py:FUNCTION", "a reward function written for verl or TRL"},
    {"exec:COMMAND ARGS", "a program that speaks JSON Lines"},
    {"grpc:ADDR[,ADDR...][#NAME]", "a service of hone/v1/verifier_service.proto"},
};

absl::StatusOr<std::unique_ptr<Verifier>> Open(const VerifierFlags& flags,
                                               VerifierOptions* options) {
  auto parsed = ParseKeyValues("--option", flags.options);
  if (!parsed.ok()) return parsed.status();
  *options = *std::move(parsed);
  return OpenVerifier(flags.spec, *options);
}

Json RowOf(const VerifierInfo& info) {
  return {{"name", info.name},
          {"version", info.version},
          {"config_hash", info.config_hash},
          {"description", info.description},
          {"deterministic", info.deterministic}};
}

int List(const Globals& globals) {
  Json rows = Json::array(), forms = Json::array();
  for (const VerifierInfo& info : ListVerifiers()) {
    const auto options = ListVerifierOptions(info.name);
    Json row = RowOf(info);
    row["options"] = options.ok() ? Json(*options) : Json::object();
    rows.push_back(row);
    if (!globals.json) {
      std::cout << absl::StrFormat("%-28s %s\n", info.name, info.description);
    }
  }
  for (const auto& [form, what] : kForms) {
    forms.push_back({{"form", form}, {"description", what}});
    if (!globals.json) std::cout << absl::StrFormat("%-28s %s\n", form, what);
  }
  if (globals.json) WriteRow({{"verifiers", rows}, {"forms", forms}});
  return kDone;
}

int Describe(const VerifierFlags& flags, const Globals& globals) {
  VerifierOptions options;
  auto verifier = Open(flags, &options);
  if (!verifier.ok()) return Fail(verifier.status(), globals);
  const auto spec = ParseVerifierSpec(flags.spec);
  Json row = RowOf((*verifier)->Describe());
  const std::string cases = CasesPath(*spec, options);
  if (spec->custom()) row["cases"] = cases.empty() ? Json() : Json(cases);
  for (const std::string& address : spec->addresses) {
    const auto stats = RemoteVerifierStats(address);
    row["servers"][address] = stats.ok() ? Json(*stats) : Json(stats.status().message());
  }
  if (globals.json) {
    WriteRow(row);
    return kDone;
  }
  for (const auto& [key, value] : row.items()) {
    std::cout << key << ": "
              << Sanitise(value.is_string()
                              ? value.get<std::string>()
                              : value.dump(2, ' ', false, Json::error_handler_t::replace))
              << "\n";
  }
  return kDone;
}

const char* ResultName(ConformanceRow::Result result) {
  switch (result) {
    case ConformanceRow::Result::kPassed:
      return "passed";
    case ConformanceRow::Result::kFailed:
      return "FAILED";
    case ConformanceRow::Result::kWaived:
      return "waived";
    case ConformanceRow::Result::kNotApplicable:
      return "n/a";
  }
  return "";
}

void PrintReport(const ConformanceReport& report, const VerifierInfo& info,
                 const Globals& globals) {
  if (!globals.json) {
    for (const ConformanceRow& row : report.rows) {
      std::cout << absl::StrFormat("%-7s %-19s %-22s %s\n", ResultName(row.result), row.check,
                                   row.expected, Sanitise(row.found));
    }
    std::cout << (report.ok() ? "fit to learn from\n" : "not fit to learn from\n");
    return;
  }
  Json rows = Json::array();
  for (const ConformanceRow& row : report.rows) {
    rows.push_back({{"check", row.check},
                    {"result", absl::AsciiStrToLower(ResultName(row.result))},
                    {"expected", row.expected},
                    {"found", row.found}});
  }
  WriteRow({{"verifier", RowOf(info)}, {"ok", report.ok()}, {"checks", rows}});
}

int Test(const VerifierFlags& flags, const Globals& globals) {
  VerifierOptions options;
  auto verifier = Open(flags, &options);
  if (!verifier.ok()) return Fail(verifier.status(), globals);
  const std::string path =
      flags.cases.empty() ? CasesPath(*ParseVerifierSpec(flags.spec), options) : flags.cases;
  std::vector<VerifierCase> cases;
  if (!path.empty()) {
    auto read = ReadVerifierCases(path);
    if (!read.ok()) return Fail(read.status(), globals);
    cases = *std::move(read);
  }
  ConformanceOptions conformance;
  conformance.waived = WaivedChecks(options);
  const auto report = TestVerifier(**verifier, std::move(cases), conformance);
  if (!report.ok()) return Fail(report.status(), globals);
  PrintReport(*report, (*verifier)->Describe(), globals);
  return report->ok() ? kDone : kMismatch;
}

int Worker(const VerifierFlags& flags, const Globals& globals) {
  VerifierOptions options;
  auto verifier = Open(flags, &options);
  if (!verifier.ok()) return Fail(verifier.status(), globals);
  const absl::Status served = ServeWorker(**verifier, STDIN_FILENO, STDOUT_FILENO);
  if (served.ok()) return kDone;
  std::cerr << "hone: " << Sanitise(served.message()) << "\n";  // stdout speaks the protocol
  return kFailed;
}

// A file of a new verifier: where it goes and the template it is made of.
struct NewFile {
  std::string path;
  std::string source;
  bool executable = false;
};

std::vector<NewFile> FilesOf(const std::string& kind, const std::string& name) {
  const NewFile cases = {absl::StrCat(name, ".cases.jsonl"), "templates/cases.jsonl"};
  if (kind == "python") return {{absl::StrCat(name, ".py"), "templates/python.py"}, cases};
  if (kind == "exec") return {{absl::StrCat(name, ".py"), "templates/exec.py", true}, cases};
  if (kind == "rules") return {{absl::StrCat(name, ".json"), "templates/rules.json"}, cases};
  if (kind == "client") return {{"hone_reward.py", "python/hone_reward.py"}};
  return {{absl::StrCat(name, ".cc"), "templates/grpc.cc"},
          {"CMakeLists.txt", "templates/grpc.cmake"},
          {"hone/v1/verifier_service.proto", "proto/hone/v1/verifier_service.proto"},
          {"hone/v1/trajectory.proto", "proto/hone/v1/trajectory.proto"},
          cases};
}

// The commands that hold it to the checks; for "client" there is nothing to hold.
std::string TestScript(const std::string& kind, const std::string& name) {
  std::string test =
      "#!/bin/sh\n# Holds the verifier to Hone's checks; HONE is the binary.\n"
      "set -e\ncd \"$(dirname \"$0\")\"\n";
  if (kind == "grpc") {
    absl::StrAppend(&test,
                    "cmake -B build && cmake --build build\n"
                    "socket=$(mktemp -u)\nbuild/",
                    name,
                    " \"unix:$socket\" &\n"
                    "trap \"kill $!\" EXIT\nsleep 1\n"
                    "\"${HONE:-hone}\" verifier test \"grpc:unix:$socket\" --cases ",
                    name, ".cases.jsonl\n");
    return test;
  }
  const std::string spec = kind == "python" ? absl::StrCat("python:", name, ".py:compute_score")
                           : kind == "exec" ? absl::StrCat("exec:./", name, ".py")
                                            : absl::StrCat("rules:", name, ".json");
  absl::StrAppend(&test, "\"${HONE:-hone}\" verifier test ", spec, " --cases ", name,
                  ".cases.jsonl\n");
  return test;
}

absl::Status WriteNew(const fs::path& path, const std::string& text, bool executable) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) return absl::InternalError(absl::StrCat("cannot write ", path.string()));
  if (executable) chmod(path.c_str(), 0755);
  return absl::OkStatus();
}

int New(const VerifierFlags& flags, const Globals& globals) {
  const fs::path folder = flags.name;
  const std::string name = folder.filename().string();
  for (const char c : name) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_') continue;
    return Fail(absl::InvalidArgumentError(
                    absl::StrCat("the name \"", name, "\": letters, digits and _ make a name")),
                globals);
  }
  std::error_code error;
  if (name.empty() || fs::exists(folder, error)) {
    return Fail(absl::FailedPreconditionError(
                    absl::StrCat(folder.string(), ": it exists already; nothing is overwritten")),
                globals);
  }
  Json written = Json::array();
  std::vector<NewFile> files = FilesOf(flags.kind, name);
  for (const NewFile& file : files) {
    const std::string text = absl::StrReplaceAll(
        EmbeddedFile(file.source),
        {{"{{name}}", name}, {"{{path}}", absl::StrCat(folder.string(), "/", name)}});
    const absl::Status status = WriteNew(folder / file.path, text, file.executable);
    if (!status.ok()) return Fail(status, globals);
    written.push_back((folder / file.path).string());
  }
  if (flags.kind != "client") {
    const absl::Status status =
        WriteNew(folder / "test.sh", TestScript(flags.kind, name), /*executable=*/true);
    if (!status.ok()) return Fail(status, globals);
    written.push_back((folder / "test.sh").string());
  }
  if (globals.json) {
    WriteRow({{"written", written}});
    return kDone;
  }
  for (const Json& path : written) std::cout << path.get<std::string>() << "\n";
  return kDone;
}

void AddSpec(CLI::App& app, VerifierFlags& flags) {
  app.add_option("spec", flags.spec, "the verifier")->required();
  app.add_option("--option", flags.options, "of the verifier, KEY=VALUE; repeat for more");
}

}  // namespace

Action SetUpVerifier(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<VerifierFlags>();
  app.require_subcommand(1);
  CLI::App* list = app.add_subcommand("list", "built-in verifiers, and the forms of specs");
  CLI::App* describe = app.add_subcommand("describe", "who it is; of a service, what it has done");
  AddSpec(*describe, *flags);
  CLI::App* test =
      app.add_subcommand("test", "hold it to the checks that a run makes before it learns");
  AddSpec(*test, *flags);
  test->add_option("--cases", flags->cases,
                   "JSON Lines of {\"prompt\",\"answer\",\"completion\"} that deserve full score");
  CLI::App* fresh = app.add_subcommand("new", "write a working example with its test");
  fresh->add_option("name", flags->name, "its name, and the folder to make")->required();
  fresh->add_option("--kind", flags->kind, "python, exec, rules, grpc; client: hone_reward.py")
      ->check(CLI::IsMember({"python", "exec", "rules", "grpc", "client"}))
      ->capture_default_str();
  CLI::App* worker = app.add_subcommand("worker", "answer JSON Lines on stdin with JSON Lines");
  AddSpec(*worker, *flags);
  app.footer(
      "SPEC: NAME, rules:FILE, python:FILE.py:FUNCTION, exec:COMMAND ARGS, "
      "grpc:ADDR[,ADDR][#NAME].\n"
      "test exits 0 when the verifier is fit to learn from, else 3. docs/custom_verifiers.md");
  return [flags, list, describe, test, fresh, worker, &globals] {
    if (list->parsed()) return List(globals);
    if (describe->parsed()) return Describe(*flags, globals);
    if (test->parsed()) return Test(*flags, globals);
    if (fresh->parsed()) return New(*flags, globals);
    (void)worker;
    return Worker(*flags, globals);
  };
}

}  // namespace hone::cli
