#include "protocol/types.h"

#include <array>
#include <random>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/limits.h"

namespace cairn {
namespace {

bool IsTopicNameCharacter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsDashBefore(std::size_t byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

using UuidBytes = std::array<std::uint8_t, 16>;

UuidBytes RandomUuid() {
  std::random_device source;
  UuidBytes bytes;
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(source());
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);  // RFC 4122 variant
  return bytes;
}

std::string UuidText(const UuidBytes& bytes) {
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (IsDashBefore(i)) text.push_back('-');
    absl::StrAppendFormat(&text, "%02x", bytes[i]);
  }
  return text;
}

}  // namespace

TopicId NewTopicId() { return {RandomUuid()}; }
MemberId NewMemberId() { return {RandomUuid()}; }

std::string ToString(const TopicId& id) { return UuidText(id.bytes); }
std::string ToString(const MemberId& id) { return UuidText(id.bytes); }

absl::StatusOr<TopicId> ParseTopicId(std::string_view text) {
  const auto refuse = [&] {
    return absl::InvalidArgumentError(absl::StrFormat(
        "'%s' is not an id of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", text.substr(0, 64)));
  };
  if (text.size() != 36) return refuse();
  TopicId id;
  std::size_t at = 0;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    if (IsDashBefore(i) && text[at++] != '-') return refuse();
    const int high = HexDigit(text[at]);
    const int low = HexDigit(text[at + 1]);
    if (high < 0 || low < 0) return refuse();
    id.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
    at += 2;
  }
  return id;
}

std::string_view ToString(Durability durability) {
  switch (durability) {
    case Durability::kNone:
      return "none";
    case Durability::kWritten:
      return "written";
    case Durability::kDurable:
      return "durable";
  }
  return "none";
}

absl::Status CheckTopicName(std::string_view name) {
  if (name.empty()) return MakeError(ErrorCode::kInvalidTopicName, "a topic name cannot be empty");
  if (name.size() > kTopicNameBytesMax) {
    return MakeError(ErrorCode::kInvalidTopicName,
                     absl::StrFormat("a topic name has at most %d characters, this one has %d",
                                     kTopicNameBytesMax, name.size()));
  }
  if (name == "." || name == "..") {
    return MakeError(ErrorCode::kInvalidTopicName, "a topic cannot be named '.' or '..'");
  }
  for (const char c : name) {
    if (IsTopicNameCharacter(c)) continue;
    return MakeError(
        ErrorCode::kInvalidTopicName,
        absl::StrFormat("a topic name is made of A-Z a-z 0-9 . _ -, this one holds byte 0x%02x",
                        static_cast<unsigned char>(c)));
  }
  return absl::OkStatus();
}

bool IsInternalTopicName(std::string_view name) { return name.substr(0, 2) == "__"; }

}  // namespace cairn
