// SPDX-License-Identifier: Apache-2.0
//
// What the wire accepts at most. Tests reach every one of these.
#ifndef HONE_SERVICES_CONVERT_LIMITS_H_
#define HONE_SERVICES_CONVERT_LIMITS_H_

#include <cstdint>

namespace hone::convert {

inline constexpr int64_t kMaxMessageBytes = int64_t{16} << 20;    // one gRPC message
inline constexpr int64_t kTargetMessageBytes = int64_t{4} << 20;  // streams are cut near this
inline constexpr int64_t kMaxSequenceTokens = int64_t{1} << 20;
inline constexpr int64_t kMaxItemsPerCall = 65536;  // generate requests, group members
inline constexpr int64_t kMaxNameBytes = 4096;      // ids and names
inline constexpr int64_t kMaxTextBytes = kMaxMessageBytes;
inline constexpr int64_t kMaxMapEntries = 1024;
inline constexpr int64_t kMaxSegments = 4096;  // of a trajectory or question
inline constexpr int64_t kMaxParts = 64;       // of a verdict or reward
inline constexpr int64_t kMaxExtractedBytes = 4096;
inline constexpr int64_t kMaxDetailBytes = 65536;
inline constexpr int64_t kMaxEvidenceBytes = int64_t{1} << 20;  // names and values together
inline constexpr int64_t kMaxQuestionsPerCall = 64;
inline constexpr int64_t kMaxTokenizerBytes = int64_t{12} << 20;
inline constexpr int64_t kMaxTokenizerConfigsBytes = int64_t{2} << 20;
inline constexpr int64_t kMaxGroupBytes = int64_t{1} << 28;   // one submitted group
inline constexpr int64_t kFileChunkBytes = int64_t{1} << 20;  // data of one FileChunk
inline constexpr int64_t kMaxStateFiles = 4096;

}  // namespace hone::convert

#endif  // HONE_SERVICES_CONVERT_LIMITS_H_
