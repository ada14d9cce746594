#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace cairn {

// Why a request was not done, as it stands on the wire. Numbers are for ever; new ones are added at
// the end. The table that says what each means, which absl code it becomes and whether trying again
// can help is in error_code.cc and, for people, in WIRE.md.
enum class ErrorCode : std::uint16_t {
  kOk = 0,
  kInternal = 1,            // a defect or an unexpected state; the message says what
  kMalformed = 2,           // a frame or message that cannot be understood; the connection ends
  kUnsupportedVersion = 3,  // Hello with a version this broker does not speak
  kInvalidRequest = 4,      // understood, but a field has an impossible value
  kUnknownTopic = 5,        // no topic of that name or id
  kUnknownPartition = 6,    // the topic has no such partition
  kTopicExists = 7,
  kInvalidTopicName = 8,
  kInvalidConfig = 9,      // unknown name, bad value, or a feature that is not there
  kOffsetOutOfRange = 10,  // the message names the valid range
  kTooLarge = 11,          // batch over max.message.bytes, frame over the limit
  kCorruptBatch = 12,      // wrong checksum, magic, length, count or record structure
  kUnsupportedCodec = 13,
  kOutOfOrderSequence = 14,  // a gap: an earlier batch of this producer is missing
  kStaleProducerEpoch = 15,  // a newer epoch of this producer id has written
  kUnknownProducer = 16,     // sequence > 0 from a producer this partition does not remember
  kStorageFull = 17,         // nothing was appended; try again once there is room
  kStorageFailed = 18,       // the partition takes no writes until the broker restarts
  kPartitionOffline = 19,    // damage; the message names file, position, expected and found
  kOutcomeUnknown = 20,      // appended, but the sync failed: may or may not survive
  kStopping = 21,            // the broker is going down
  kTooManyConnections = 22,
  kTooManyInFlight = 23,  // this connection has too much outstanding
  kTimedOut = 24,
  kTruncated = 25,     // a power cut or a repair took back records this reader had seen
  kTrimmed = 26,       // the wanted records are no longer kept
  kNotSupported = 27,  // a feature this broker does not have
  kPermissionDenied = 28,
  kDuplicateSubscription = 29,  // the subscription id is in use on this connection
  kInternalTopic = 30,          // not allowed on a topic of the broker's own
  kKeyRequired = 31,            // a record without a key, on a compacted topic
  kUnknownGroup = 32,
  kUnknownMember = 33,    // its session ended, or it never joined
  kFencedInstance = 34,   // another member has the same instance id, and came later
  kStaleAssignment = 35,  // the member does not hold that partition, or under another epoch
  kCommitBehind = 36,     // below the committed offset; only a reset goes back
  kGroupNotEmpty = 37,    // not while the group has members
  kResetUnderWay = 38,    // one at a time
};

// "OUT_OF_ORDER_SEQUENCE"; "UNKNOWN_ERROR_77" style text is not made: unknown numbers give
// "UNKNOWN".
std::string_view NameOf(ErrorCode code);
absl::StatusCode StatusCodeOf(ErrorCode code);
// Whether the same request, sent again later, may succeed.
bool IsTransient(ErrorCode code);

// A status that carries `code` as a payload, for the wire.
absl::Status MakeError(ErrorCode code, std::string_view message);

// The code a status carries; one that carries none is given the nearest by its absl code.
// kOk for an OK status.
ErrorCode CodeOf(const absl::Status& status);

// Whether trying again may help: by the wire code, or kUnavailable / kAborted without one.
bool IsTransient(const absl::Status& status);

}  // namespace cairn
