// SPDX-License-Identifier: Apache-2.0
#include "policy/types.h"

namespace hone {

const char* StopReasonName(StopReason reason) {
  switch (reason) {
    case StopReason::kStopToken:
      return "stop_token";
    case StopReason::kLength:
      return "length";
    case StopReason::kContext:
      return "context";
    case StopReason::kCancelled:
      return "cancelled";
    case StopReason::kNone:
      break;
  }
  return "none";
}

StopReason StopReasonFromName(const std::string& name) {
  for (StopReason reason : {StopReason::kStopToken, StopReason::kLength, StopReason::kContext,
                            StopReason::kCancelled}) {
    if (name == StopReasonName(reason)) return reason;
  }
  return StopReason::kNone;
}

}  // namespace hone
