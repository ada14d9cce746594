#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

#include "protocol/bytes.h"

// The shared nouns as types of their own, so that an offset cannot be passed where a position is
// meant. Values are plain integers inside; nothing here allocates.
namespace cairn {

// An integer with a name. Adding a count gives the same kind; subtracting two gives a count.
template <typename Tag, typename Rep>
class Strong {
 public:
  using rep = Rep;

  constexpr Strong() = default;
  constexpr explicit Strong(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }

  friend constexpr auto operator<=>(Strong, Strong) = default;
  friend constexpr Strong operator+(Strong a, Rep count) {
    return Strong(static_cast<Rep>(a.value_ + count));
  }
  friend constexpr Strong operator-(Strong a, Rep count) {
    return Strong(static_cast<Rep>(a.value_ - count));
  }
  friend constexpr Rep operator-(Strong a, Strong b) {
    return static_cast<Rep>(a.value_ - b.value_);
  }

  template <typename H>
  friend H AbslHashValue(H h, Strong v) {
    return H::combine(std::move(h), v.value_);
  }

 private:
  Rep value_ = 0;
};

// Counts the records of a partition, from 0. "end" offsets are one past the last record.
using Offset = Strong<struct OffsetTag, std::int64_t>;
// The index of a partition in its topic, from 0.
using PartitionIndex = Strong<struct PartitionIndexTag, std::int32_t>;
// Milliseconds since 1970 UTC.
using Timestamp = Strong<struct TimestampTag, std::int64_t>;
// Raised at every unclean start; stands in every batch.
using LeaderEpoch = Strong<struct LeaderEpochTag, std::int32_t>;
// Given out by the broker, unique for ever in a data directory. kNoProducer: not idempotent.
using ProducerId = Strong<struct ProducerIdTag, std::int64_t>;
using ProducerEpoch = Strong<struct ProducerEpochTag, std::int16_t>;

inline constexpr Offset kNoOffset{-1};
inline constexpr Timestamp kNoTimestamp{-1};
inline constexpr LeaderEpoch kNoEpoch{-1};
inline constexpr ProducerId kNoProducer{-1};

// 16 bytes that identify something, with the kind of thing in its type.
template <typename Tag>
struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  friend auto operator<=>(const Uuid&, const Uuid&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Uuid& id) {
    return H::combine_contiguous(std::move(h), id.bytes.data(), id.bytes.size());
  }
};

// A topic's identity for life: a random UUID from the day it is created. A topic that is deleted
// and created again under the same name is another topic.
using TopicId = Uuid<struct TopicIdTag>;
// A member of a consumer group: a random UUID that the client chooses. kNoMember: nobody.
using MemberId = Uuid<struct MemberIdTag>;
inline constexpr MemberId kNoMember{};

// Random (version 4) ids.
TopicId NewTopicId();
MemberId NewMemberId();
// "c0ffee00-1234-4abc-8def-001122334455"
std::string ToString(const TopicId& id);
std::string ToString(const MemberId& id);
// kInvalidArgument: not in that form.
absl::StatusOr<TopicId> ParseTopicId(std::string_view text);

struct TopicPartition {
  TopicId topic;
  PartitionIndex partition;

  friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const TopicPartition& tp) {
    return H::combine(std::move(h), tp.topic, tp.partition);
  }
};

// How safe a record is. The order is that of strength.
enum class Durability : std::uint8_t {
  kNone = 0,     // nothing is known
  kWritten = 1,  // in the kernel's page cache: survives kill -9, not a power cut
  kDurable = 2,  // on stable storage
};

// "none", "written", "durable"
std::string_view ToString(Durability durability);

// A topic name is [A-Za-z0-9._-]{1,200}, but neither "." nor ".."; it is also a directory name.
//   kInvalidArgument  names the rule that is broken
absl::Status CheckTopicName(std::string_view name);
// Names beginning with "__" belong to the broker.
bool IsInternalTopicName(std::string_view name);

}  // namespace cairn
