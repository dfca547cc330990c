// SPDX-License-Identifier: Apache-2.0
//
// hone completion bash|zsh: a script that asks the binary itself, so that it never grows old.
#include <iostream>
#include <memory>

#include "services/cli/command.h"

namespace hone::cli {
namespace {

constexpr char kBash[] = R"SH(_hone() {
  local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "$(hone --help |
      awk '/^Subcommands:/{on=1;next} on&&NF==0{exit} on&&/^  [a-z]/{print $1}')" -- "$current"))
  elif [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$(hone "$command" --help |
      grep -oE -- '--[a-z][a-z-]*' | sort -u)" -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}
complete -o filenames -F _hone hone
)SH";

constexpr char kZsh[] = R"SH(autoload -U +X bashcompinit && bashcompinit
)SH";

int Completion(const std::string& shell, const Globals& globals) {
  if (shell == "zsh") {
    std::cout << kZsh << kBash;
  } else if (shell == "bash") {
    std::cout << kBash;
  } else {
    return Fail(absl::InvalidArgumentError("completion: say bash or zsh, not \"" + shell + "\""),
                globals);
  }
  return kDone;
}

}  // namespace

Action SetUpCompletion(CLI::App& app, const Globals& globals) {
  auto shell = std::make_shared<std::string>();
  app.add_option("SHELL", *shell, "bash or zsh")->required();
  app.footer("bash: source <(hone completion bash)");
  return [shell, &globals] { return Completion(*shell, globals); };
}

}  // namespace hone::cli
