// SPDX-License-Identifier: Apache-2.0
//
// What the service and hone-sandbox say to each other over one SOCK_SEQPACKET pair. Both are built
// from one tree, so these are plain structs; kWireVersion refuses a stale executable.
//
//   service -> spawner   StartMessage (once), then RunMessage with descriptors
//   spawner -> service   StartReply (once), then one RunReply a run; with it the pidfd of PID 1
//   PID 1 or 2 -> service   RunStatus over the run's status pipe: how it ended, or what failed
//
// The program itself travels in a memory file (program_file.h), which the spawner never reads.
#ifndef HONE_VERIFIER_SANDBOX_WIRE_H_
#define HONE_VERIFIER_SANDBOX_WIRE_H_

#include <cstdint>

namespace hone {

inline constexpr uint32_t kWireVersion = 2;
inline constexpr int kSpawnerSocket = 3;  // where hone-sandbox finds its end
inline constexpr int kMaxRunDescriptors = 16;
inline constexpr int kMaxStartBytes = 16 << 10;

// What can fail on the way into the jail, in order.
enum class JailStep : int32_t {
  kNone = 0,
  kSocket,
  kMountNamespace,
  kTree,
  kDevices,
  kPivot,
  kFilterBuild,
  kPython,
  kLandlockProbe,
  kNamespaces,
  kUidMap,
  kProc,
  kTmp,
  kBox,
  kProgramFile,
  kFork,
  kDescriptors,
  kControlGroups,
  kResourceLimits,
  kUser,
  kLandlock,
  kFilter,
};

// StartMessage: text, lines "version N", "warm MODULE", "sweep DIRECTORY" (control groups that the
// spawner removes when the service's end closes; an orderly service kills the spawner instead).
struct StartReply {
  uint32_t version = kWireVersion;
  JailStep step = JailStep::kNone;  // kNone: ready
  int32_t error = 0;                // errno
  char detail[256] = {};
};

// Descriptors that travel with it, in this order: program, status, stdin, stdout, stderr, result,
// then peer_in and peer_out when `paired`, then `control_groups` files to join by.
struct RunMessage {
  uint32_t host_uid = 0;  // what uid 1000 of the jail is outside
  uint32_t paired = 0;
  uint32_t control_groups = 0;
  uint32_t slot = 0;
  int64_t cpu_ms = 0;
  int64_t memory_bytes = 0;
  int64_t file_bytes = 0;
};

struct RunReply {
  JailStep step = JailStep::kNone;
  int32_t error = 0;
};

struct RunStatus {
  JailStep step = JailStep::kNone;  // kNone: the candidate ended, and all of its processes
  int32_t error = 0;
  int32_t wait_status = 0;  // as from waitpid
  int32_t reserved = 0;
  int64_t wall_us = 0;
};

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_WIRE_H_
