#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "flatbuffers/flatbuffers.h"

#include "protocol/bytes.h"
#include "protocol/cairn_generated.h"
#include "protocol/frame.h"
#include "protocol/types.h"

// Control messages as they cross the wire. This is the only place that runs the FlatBuffers
// verifier: nothing reads a table that did not come from ParseMessage.
namespace cairn {

// The message in a frame's control. Borrows the bytes, which must be aligned to 8 and live as long
// as the message is used. The body is present and of a known kind, and its required parts are there
// (ids, names), so that handlers need not ask again; values are not judged.
//   kInvalidArgument  not a valid message within the limits
absl::StatusOr<const wire::Message*> ParseMessage(ByteView control);

wire::Uuid ToWire(const TopicId& id);
wire::Uuid ToWire(const MemberId& id);
TopicId FromWire(const wire::Uuid& id);
MemberId MemberFromWire(const wire::Uuid& id);
Durability FromWire(wire::Durability durability);
wire::Durability ToWire(Durability durability);

inline flatbuffers::Offset<flatbuffers::String> ToWire(flatbuffers::FlatBufferBuilder& builder,
                                                       std::string_view text) {
  return builder.CreateString(text.data(), text.size());
}
// "" for an absent string. Borrows.
inline std::string_view FromWire(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view{} : std::string_view(text->data(), text->size());
}

// Ends the message that `builder` holds: wraps `body` in a Message and appends the whole frame's
// head (header and padded control) to `out`. The attachment, if any, is sent after it, followed by
// PadTo8(attachment_bytes) - attachment_bytes zeros. Clears the builder, which keeps its memory.
template <typename Table>
void FinishFrame(flatbuffers::FlatBufferBuilder& builder, std::uint64_t correlation,
                 flatbuffers::Offset<Table> body, std::size_t attachment_bytes, Bytes& out);

// The untyped part of FinishFrame.
void FinishFrameAs(flatbuffers::FlatBufferBuilder& builder, std::uint64_t correlation,
                   wire::Body kind, flatbuffers::Offset<void> body, std::size_t attachment_bytes,
                   Bytes& out);

// A Failure frame for `status`; its code is CodeOf(status).
void FinishFailure(flatbuffers::FlatBufferBuilder& builder, std::uint64_t correlation,
                   const absl::Status& status, Bytes& out);

// The status that a Failure, or another message with a code and a text, brings; OK for code 0.
absl::Status StatusFromWire(std::uint16_t code, std::string_view message);

template <typename Table>
void FinishFrame(flatbuffers::FlatBufferBuilder& builder, std::uint64_t correlation,
                 flatbuffers::Offset<Table> body, std::size_t attachment_bytes, Bytes& out) {
  FinishFrameAs(builder, correlation, wire::BodyTraits<Table>::enum_value, body.Union(),
                attachment_bytes, out);
}

}  // namespace cairn
