// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/spawner/sweep.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

namespace hone {

Sweeper::Sweeper(const std::vector<std::string>& directories) {
  for (const std::string& directory : directories) {
    const size_t slash = directory.rfind('/');
    if (slash == std::string::npos) continue;
    Folder folder;
    folder.name = directory.substr(slash + 1);
    folder.parent =
        Descriptor(open(directory.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    folder.self = Descriptor(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    folders_.push_back(std::move(folder));
  }
}

void Sweeper::Sweep() const {
  // Our children are the jails' first processes, and with them go all others.
  if (DIR* processes = opendir("/proc")) {
    while (const dirent* entry = readdir(processes)) {
      const pid_t pid = std::atoi(entry->d_name);
      siginfo_t info = {};
      if (pid > 0 && waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        kill(pid, SIGKILL);
    }
    closedir(processes);
  }
  while (waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
  for (const Folder& folder : folders_) {
    DIR* runs = fdopendir(dup(folder.self.get()));
    if (runs == nullptr) continue;
    while (const dirent* entry = readdir(runs)) {
      if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
        unlinkat(folder.self.get(), entry->d_name, AT_REMOVEDIR);
      }
    }
    closedir(runs);
    unlinkat(folder.parent.get(), folder.name.c_str(), AT_REMOVEDIR);
  }
}

}  // namespace hone
