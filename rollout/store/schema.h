// SPDX-License-Identifier: Apache-2.0
//
// The tables' text (schema.sql) and the numbers that say what a file is.
#ifndef HONE_ROLLOUT_STORE_SCHEMA_H_
#define HONE_ROLLOUT_STORE_SCHEMA_H_

#include <cstdint>

namespace hone {

extern const char kStoreSchemaSql[];

inline constexpr int32_t kStoreApplicationId = 0x486f6e65;  // "Hone"
// Written to user_version. A newer one is refused, an older one migrated.
inline constexpr int32_t kStoreSchemaVersion = 3;
// The form of channel blobs, in channel.format.
inline constexpr int32_t kChannelFormat = 1;

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_SCHEMA_H_
