#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

// Every maximum in one place. Sizes are bytes unless the name says otherwise.
namespace cairn {

inline constexpr std::uint16_t kProtocolVersion = 1;
inline constexpr std::uint16_t kDefaultPort = 7654;

// Frames. Before Hello a connection may send only a small one.
inline constexpr std::size_t kFrameBytesMax = (64u << 20) + (64u << 10);
inline constexpr std::size_t kControlBytesMax = 1u << 20;
inline constexpr std::size_t kFrameBytesMaxBeforeHello = 4096;
// What a verifier accepts in one control message.
inline constexpr unsigned kControlDepthMax = 16;
inline constexpr unsigned kControlTablesMax = 4096;

// Records and batches.
inline constexpr std::size_t kBatchBytesMax = 64u << 20;  // the largest max.message.bytes
inline constexpr std::size_t kBatchBytesDefault = (1u << 20) + 12;
inline constexpr std::int32_t kBatchRecordsMax = 1'000'000;
// A reader holds 40 bytes for each, where two bytes of a record may make one.
inline constexpr std::int64_t kRecordHeadersMax = 10'000;
inline constexpr std::size_t kDecompressedBytesMax = 256u << 20;

// Pushes to a subscriber: one frame carries at most this, or one batch.
inline constexpr std::size_t kDataFrameBytesMax = 256u << 10;

// Topics.
inline constexpr std::size_t kTopicNameBytesMax = 200;
// So that a topic can be described in one control message.
inline constexpr std::int32_t kPartitionsPerTopicMax = 10'000;
inline constexpr std::size_t kMetadataTopicsPerReply = 1000;

// Consumer groups.
inline constexpr std::size_t kGroupNameBytesMax = 255;
inline constexpr std::size_t kInstanceIdBytesMax = 255;
inline constexpr std::size_t kGroupTopicsMax = 1000;           // names and patterns of one member
inline constexpr std::size_t kGroupTopicBytesMax = 64u << 10;  // of all of these together
inline constexpr std::size_t kGroupMembersMax = 2000;
// Together these make an assignment that fits in one control message. No request names more
// partitions either.
inline constexpr std::size_t kGroupPartitionsMax = 10'000;
inline constexpr std::size_t kGroupTopicsReadMax = 2500;
inline constexpr std::size_t kCommitMetadataBytesMax = 4096;
inline constexpr std::size_t kGroupPartitionsPerReply = 4000;
inline constexpr std::size_t kGroupsPerReply = 2000;
inline constexpr std::chrono::seconds kSessionTimeoutMin{1};
inline constexpr std::chrono::minutes kSessionTimeoutMax{30};
inline constexpr std::chrono::minutes kResetTimeoutMax{10};

// Text that a peer sends about itself.
inline constexpr std::size_t kClientIdBytesMax = 256;

// The last batches that are remembered per producer and partition.
inline constexpr std::size_t kProducerBatchesKept = 5;

// Patience.
inline constexpr std::chrono::seconds kHelloTimeout{10};
inline constexpr std::chrono::seconds kWriteProgressTimeout{30};
inline constexpr std::chrono::hours kProducerIdleExpiry{24};

}  // namespace cairn
