#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "flatbuffers/flatbuffers.h"

#include "protocol/bytes.h"

namespace cairn::broker {

// One fact of a coordinator: the newest value of a key counts, no value takes the key back.
struct StateRecord {
  Bytes key;
  std::optional<Bytes> value;
};

// A value that has been built.
inline Bytes RecordBytes(const flatbuffers::FlatBufferBuilder& builder) {
  const auto* begin = reinterpret_cast<const std::byte*>(builder.GetBufferPointer());
  return Bytes(begin, begin + builder.GetSize());
}

inline std::string RecordText(const flatbuffers::String* text) {
  return text == nullptr ? std::string() : std::string(text->data(), text->size());
}

// The table in `value`, if it is one. `aligned` keeps the bytes, which begin anywhere in a batch,
// and must outlive the table.
//   kDataLoss  it is none
template <typename Table>
absl::StatusOr<const Table*> ParseRecord(ByteView value, Bytes& aligned) {
  aligned.assign(value.begin(), value.end());
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(aligned.data());
  flatbuffers::Verifier verifier(bytes, aligned.size());
  if (!verifier.VerifyBuffer<Table>(nullptr)) {
    return absl::DataLossError(
        absl::StrFormat("the %d bytes of a record's value are not its table", aligned.size()));
  }
  return flatbuffers::GetRoot<Table>(bytes);
}

}  // namespace cairn::broker
