// SPDX-License-Identifier: Apache-2.0
//
// Cuts what may be larger than one message into a stream of them.
#ifndef HONE_SERVICES_RPC_PIECES_H_
#define HONE_SERVICES_RPC_PIECES_H_

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "services/convert/limits.h"

namespace hone::rpc {

// RESOURCE_EXHAUSTED when the message cannot be sent; `what` names it.
template <typename Message>
absl::Status CheckSize(const Message& message, absl::string_view what) {
  const int64_t bytes = static_cast<int64_t>(message.ByteSizeLong());
  if (bytes <= convert::kMaxMessageBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(what, " is ", bytes, " bytes on the wire, at most ", convert::kMaxMessageBytes));
}

// Sends `first` with items 0..count-1 in as many messages as keep near kTargetMessageBytes; later
// messages hold items alone. add(i, message) puts item i into an empty message; write(message)
// returns false when the peer is gone: CANCELLED. The first message goes out even without items.
template <typename Message, typename Add, typename Write>
absl::Status WriteInPieces(size_t count, Message first, const Add& add, const Write& write) {
  Message piece = std::move(first);
  int64_t bytes = static_cast<int64_t>(piece.ByteSizeLong());
  bool pending = true;
  const auto flush = [&]() -> absl::Status {
    const absl::Status fits = CheckSize(piece, "one item of a call");
    if (!fits.ok()) return fits;
    if (!write(piece)) return absl::CancelledError("the peer is gone");
    piece.Clear();
    bytes = 0;
    pending = false;
    return absl::OkStatus();
  };
  for (size_t i = 0; i < count; ++i) {
    Message one;
    add(i, &one);
    const int64_t size = static_cast<int64_t>(one.ByteSizeLong());
    if (pending && bytes > 0 && bytes + size > convert::kTargetMessageBytes) {
      const absl::Status sent = flush();
      if (!sent.ok()) return sent;
    }
    if (bytes == 0) {
      piece = std::move(one);
    } else {
      piece.MergeFrom(one);
    }
    bytes += size;
    pending = true;
  }
  return pending ? flush() : absl::OkStatus();
}

}  // namespace hone::rpc

#endif  // HONE_SERVICES_RPC_PIECES_H_
