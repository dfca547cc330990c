// SPDX-License-Identifier: Apache-2.0
//
// Sizes as people write and read them.
#ifndef HONE_SERVICES_CLI_BYTE_SIZES_H_
#define HONE_SERVICES_CLI_BYTE_SIZES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hone::cli {

// "5GB", "512MiB", "4096": decimal units KB, MB, GB, TB; binary ones KiB, MiB, GiB, TiB.
// INVALID_ARGUMENT when it is none, or less than one byte.
absl::StatusOr<int64_t> ParseByteSize(absl::string_view text);

// "1.50 GiB".
std::string ByteSizeText(int64_t bytes);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_BYTE_SIZES_H_
