// SPDX-License-Identifier: Apache-2.0
//
// hone view: runs in a browser.
#include "services/cli/cmd_view.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "services/cli/command.h"
#include "services/cli/interrupt.h"
#include "services/cli/metrics_flags.h"
#include "services/http/http_guard.h"
#include "services/view/view_server.h"

namespace hone::cli {
namespace {

struct ViewFlags {
  std::vector<std::string> runs;
  std::string listen = "127.0.0.1:7860";
  std::string token_file;
  bool make_token = false;
  std::vector<std::string> names;
};

absl::StatusOr<view::ViewOptions> OptionsOf(const ViewFlags& flags) {
  view::ViewOptions options;
  options.runs = flags.runs.empty() ? std::vector<std::string>{"runs"} : flags.runs;
  options.http.names = flags.names;
  for (const std::string& path : options.runs) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      return absl::NotFoundError(
          absl::StrCat("no folder ", path, ": name runs, or a folder of runs"));
    }
  }
  absl::Status status = ParseHttpListen("--listen", flags.listen, &options.http);
  if (!status.ok()) return status;
  if (!flags.token_file.empty()) {
    absl::StatusOr<std::string> token = ReadToken(flags.token_file);
    if (!token.ok()) return token.status();
    options.http.token = *std::move(token);
  } else if (flags.make_token || !IsLoopback(options.http.host)) {
    options.http.token = MakeToken();
  }
  return options;
}

int View(const ViewFlags& flags, const Globals& globals) {
  CatchInterrupts();
  const absl::StatusOr<view::ViewOptions> options = OptionsOf(flags);
  if (!options.ok()) return Fail(options.status(), globals);
  auto server = view::ViewServer::Start(*options);
  if (!server.ok()) return Fail(server.status(), globals);
  if (globals.json) {
    std::cout << nlohmann::json{{"listening", (*server)->address()}}.dump() << std::endl;
  } else {
    std::cout << (*server)->address() << std::endl;
    if (!IsLoopback(options->http.host)) {
      std::cerr << "hone: others can reach this address, and what passes is not encrypted: "
                   "an ssh tunnel to 127.0.0.1 is safer\n";
    }
    if (!globals.quiet) std::cerr << "Ctrl-C stops it\n";
  }
  while (InterruptFlag()->load() == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  // Nothing is written here, so a question that takes for ever need not be waited for.
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::seconds(3));
    std::_Exit(kDone);
  }).detach();
  return kDone;
}

}  // namespace

Action SetUpView(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<ViewFlags>();
  app.add_option("RUN", flags->runs, "runs, or folders of runs; none: the folder runs");
  app.add_option("--listen", flags->listen, "ADDRESS:PORT; port 0: any free one")
      ->capture_default_str();
  app.add_option("--token-file", flags->token_file,
                 "ask for the token in this file's first line (mode 0600)");
  app.add_flag("--token", flags->make_token,
               "ask for a token made now and printed; always so beyond this machine");
  app.add_option("--allow-host", flags->names, "a host name it may be called by")
      ->allow_extra_args(false);
  return [flags, &globals] { return View(*flags, globals); };
}

}  // namespace hone::cli
