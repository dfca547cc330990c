// SPDX-License-Identifier: Apache-2.0
//
// Is what listens at --policy what a run's configuration needs? Asked before anything is begun.
#ifndef HONE_SERVICES_TRAINER_CHECK_POLICY_H_
#define HONE_SERVICES_TRAINER_CHECK_POLICY_H_

#include <string>

#include "absl/status/status.h"
#include "hone/v1/run_config.pb.h"

namespace hone {

// UNAVAILABLE: nobody answers; FAILED_PRECONDITION: no policy, one that does not learn, or one
// whose updates would have other bits, with what differs; INVALID_ARGUMENT: the address.
absl::Status CheckPolicyServer(const std::string& address, const v1::RunConfig& config);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_CHECK_POLICY_H_
