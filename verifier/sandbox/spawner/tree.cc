// SPDX-License-Identifier: Apache-2.0
#include "verifier/sandbox/spawner/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string>

#include "verifier/sandbox/descriptor.h"

namespace hone {
namespace {

// The tree grows over /tmp, which this mount namespace alone sees.
const std::string kNewRoot = "/tmp";

bool Mkdir(const std::string& path, mode_t mode = 0755) {
  return mkdir(path.c_str(), mode) == 0;
}

// Binds a host directory, with everything mounted below it, read-only.
bool BindReadOnly(const std::string& from, const std::string& to) {
  if (mount(from.c_str(), to.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) return false;
  mount_attr attributes = {};
  attributes.attr_set =
      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME;
  attributes.attr_clr = MOUNT_ATTR__ATIME;
  return syscall(SYS_mount_setattr, AT_FDCWD, to.c_str(), AT_RECURSIVE, &attributes,
                 sizeof attributes) == 0;
}

// Copies what programs in /usr look for in /etc: links of alternatives and the loader's cache.
void CopyEtc() {
  Mkdir(kNewRoot + "/etc");
  Mkdir(kNewRoot + "/etc/alternatives");
  if (DIR* links = opendir("/etc/alternatives")) {
    while (const dirent* entry = readdir(links)) {
      const std::string name = entry->d_name;
      char target[4096];
      const ssize_t size =
          readlink(("/etc/alternatives/" + name).c_str(), target, sizeof target - 1);
      if (size <= 0) continue;
      target[size] = 0;
      // One that cannot be made is one command less in the jail.
      (void)!symlink(target, (kNewRoot + "/etc/alternatives/" + name).c_str());
    }
    closedir(links);
  }
  const Descriptor from(open("/etc/ld.so.cache", O_RDONLY | O_CLOEXEC));
  const Descriptor to(
      open((kNewRoot + "/etc/ld.so.cache").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0444));
  char buffer[1 << 16];
  for (ssize_t n; from.open() && (n = read(from.get(), buffer, sizeof buffer)) > 0;) {
    if (write(to.get(), buffer, static_cast<size_t>(n)) != n) break;
  }
}

// /lib, /bin and the like are links into /usr on a merged system, directories on others.
Failure BindSystem() {
  if (!Mkdir(kNewRoot + "/usr") || !BindReadOnly("/usr", kNewRoot + "/usr")) {
    return Failed(JailStep::kTree, "/usr");
  }
  for (const std::string name : {"/bin", "/sbin", "/lib", "/lib32", "/lib64"}) {
    struct stat status;
    if (lstat(name.c_str(), &status) != 0) continue;
    const std::string to = kNewRoot + name;
    if (S_ISLNK(status.st_mode)) {
      char target[4096];
      const ssize_t size = readlink(name.c_str(), target, sizeof target - 1);
      if (size <= 0) return Failed(JailStep::kTree, name);
      target[size] = 0;
      if (symlink(target, to.c_str()) != 0) return Failed(JailStep::kTree, name);
    } else if (!Mkdir(to) || !BindReadOnly(name, to)) {
      return Failed(JailStep::kTree, name);
    }
  }
  return {};
}

// A node of our own where that is permitted, else the host's bound to a file.
Failure MakeDevices() {
  const std::string dev = kNewRoot + "/dev";
  if (!Mkdir(dev)) return Failed(JailStep::kDevices, dev);
  const struct {
    const char* name;
    unsigned minor;
  } devices[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}};
  for (const auto& device : devices) {
    const std::string path = dev + "/" + device.name;
    if (mknod(path.c_str(), S_IFCHR | 0666, makedev(1, device.minor)) == 0 &&
        chmod(path.c_str(), 0666) == 0) {
      const Descriptor usable(open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (usable.open()) continue;
    }
    unlink(path.c_str());
    const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
    const std::string host = std::string("/dev/") + device.name;
    if (mount(host.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
      return Failed(JailStep::kDevices, host);
    }
  }
  const char* const links[][2] = {{"/proc/self/fd", "/fd"},
                                  {"/proc/self/fd/0", "/stdin"},
                                  {"/proc/self/fd/1", "/stdout"},
                                  {"/proc/self/fd/2", "/stderr"},
                                  {"/tmp", "/shm"}};  // semaphores of multiprocessing
  for (const auto& link : links) {
    if (symlink(link[0], (dev + link[1]).c_str()) != 0) return Failed(JailStep::kDevices, link[1]);
  }
  return {};
}

}  // namespace

Failure EnterTree() {
  umask(022);
  if (unshare(CLONE_NEWNS) != 0) return Failed(JailStep::kMountNamespace);
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return Failed(JailStep::kMountNamespace, "making mounts private");
  }
  if (mount("hone", kNewRoot.c_str(), "tmpfs", MS_NOSUID | MS_NOATIME,
            "mode=755,size=8m,nr_inodes=8192") != 0) {
    return Failed(JailStep::kTree, "tmpfs");
  }
  if (Failure failure = BindSystem(); failure.failed()) return failure;
  CopyEtc();
  if (Failure failure = MakeDevices(); failure.failed()) return failure;
  for (const char* name : {"/proc", "/tmp", "/box"}) {
    if (!Mkdir(kNewRoot + name)) return Failed(JailStep::kTree, name);
  }
  // Whole and in sight: only then does the kernel let a jail mount a /proc of its own.
  if (mount("proc", (kNewRoot + "/proc").c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
            nullptr) != 0) {
    return Failed(JailStep::kTree, "proc");
  }
  if (chdir(kNewRoot.c_str()) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 ||
      umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) {
    return Failed(JailStep::kPivot);
  }
  if (mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOATIME,
            nullptr) != 0) {
    return Failed(JailStep::kPivot, "making the root read-only");
  }
  return {};
}

}  // namespace hone
