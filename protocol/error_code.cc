#include "protocol/error_code.h"

#include <array>
#include <charconv>
#include <optional>
#include <string>

#include "absl/strings/cord.h"

namespace cairn {
namespace {

using absl::StatusCode;

// Where a status keeps its wire code; read and written only here.
constexpr char kPayloadType[] = "cairn/error-code";

struct Row {
  ErrorCode code;
  std::string_view name;
  StatusCode status;
  bool transient;
};

// By number; a static_assert below sees to it that none is missing.
constexpr std::array kRows = {
    Row{ErrorCode::kOk, "OK", StatusCode::kOk, false},
    Row{ErrorCode::kInternal, "INTERNAL", StatusCode::kInternal, false},
    Row{ErrorCode::kMalformed, "MALFORMED", StatusCode::kInvalidArgument, false},
    Row{ErrorCode::kUnsupportedVersion, "UNSUPPORTED_VERSION", StatusCode::kUnimplemented, false},
    Row{ErrorCode::kInvalidRequest, "INVALID_REQUEST", StatusCode::kInvalidArgument, false},
    Row{ErrorCode::kUnknownTopic, "UNKNOWN_TOPIC", StatusCode::kNotFound, false},
    Row{ErrorCode::kUnknownPartition, "UNKNOWN_PARTITION", StatusCode::kNotFound, false},
    Row{ErrorCode::kTopicExists, "TOPIC_EXISTS", StatusCode::kAlreadyExists, false},
    Row{ErrorCode::kInvalidTopicName, "INVALID_TOPIC_NAME", StatusCode::kInvalidArgument, false},
    Row{ErrorCode::kInvalidConfig, "INVALID_CONFIG", StatusCode::kInvalidArgument, false},
    Row{ErrorCode::kOffsetOutOfRange, "OFFSET_OUT_OF_RANGE", StatusCode::kOutOfRange, false},
    Row{ErrorCode::kTooLarge, "TOO_LARGE", StatusCode::kInvalidArgument, false},
    Row{ErrorCode::kCorruptBatch, "CORRUPT_BATCH", StatusCode::kInvalidArgument, false},
    Row{ErrorCode::kUnsupportedCodec, "UNSUPPORTED_CODEC", StatusCode::kUnimplemented, false},
    Row{ErrorCode::kOutOfOrderSequence, "OUT_OF_ORDER_SEQUENCE", StatusCode::kFailedPrecondition,
        false},
    Row{ErrorCode::kStaleProducerEpoch, "STALE_PRODUCER_EPOCH", StatusCode::kFailedPrecondition,
        false},
    Row{ErrorCode::kUnknownProducer, "UNKNOWN_PRODUCER", StatusCode::kFailedPrecondition, false},
    Row{ErrorCode::kStorageFull, "STORAGE_FULL", StatusCode::kResourceExhausted, true},
    Row{ErrorCode::kStorageFailed, "STORAGE_FAILED", StatusCode::kInternal, false},
    Row{ErrorCode::kPartitionOffline, "PARTITION_OFFLINE", StatusCode::kDataLoss, false},
    Row{ErrorCode::kOutcomeUnknown, "OUTCOME_UNKNOWN", StatusCode::kUnknown, false},
    Row{ErrorCode::kStopping, "STOPPING", StatusCode::kUnavailable, true},
    Row{ErrorCode::kTooManyConnections, "TOO_MANY_CONNECTIONS", StatusCode::kResourceExhausted,
        true},
    Row{ErrorCode::kTooManyInFlight, "TOO_MANY_IN_FLIGHT", StatusCode::kResourceExhausted, true},
    Row{ErrorCode::kTimedOut, "TIMED_OUT", StatusCode::kDeadlineExceeded, true},
    Row{ErrorCode::kTruncated, "TRUNCATED", StatusCode::kDataLoss, false},
    Row{ErrorCode::kTrimmed, "TRIMMED", StatusCode::kOutOfRange, false},
    Row{ErrorCode::kNotSupported, "NOT_SUPPORTED", StatusCode::kUnimplemented, false},
    Row{ErrorCode::kPermissionDenied, "PERMISSION_DENIED", StatusCode::kPermissionDenied, false},
    Row{ErrorCode::kDuplicateSubscription, "DUPLICATE_SUBSCRIPTION", StatusCode::kAlreadyExists,
        false},
    Row{ErrorCode::kInternalTopic, "INTERNAL_TOPIC", StatusCode::kPermissionDenied, false},
    Row{ErrorCode::kKeyRequired, "KEY_REQUIRED", StatusCode::kInvalidArgument, false},
    Row{ErrorCode::kUnknownGroup, "UNKNOWN_GROUP", StatusCode::kNotFound, false},
    Row{ErrorCode::kUnknownMember, "UNKNOWN_MEMBER", StatusCode::kFailedPrecondition, false},
    Row{ErrorCode::kFencedInstance, "FENCED_INSTANCE", StatusCode::kFailedPrecondition, false},
    Row{ErrorCode::kStaleAssignment, "STALE_ASSIGNMENT", StatusCode::kFailedPrecondition, false},
    Row{ErrorCode::kCommitBehind, "COMMIT_BEHIND", StatusCode::kFailedPrecondition, false},
    Row{ErrorCode::kGroupNotEmpty, "GROUP_NOT_EMPTY", StatusCode::kFailedPrecondition, false},
    Row{ErrorCode::kResetUnderWay, "RESET_UNDER_WAY", StatusCode::kFailedPrecondition, false},
};

constexpr bool RowsAreInOrder() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<std::size_t>(kRows[i].code) != i) return false;
  }
  return kRows.back().code == ErrorCode::kResetUnderWay;
}
static_assert(RowsAreInOrder(), "every ErrorCode has its row, by number");

constexpr Row kUnknownRow{ErrorCode::kInternal, "UNKNOWN", StatusCode::kUnknown, false};

const Row& RowOf(ErrorCode code) {
  const auto number = static_cast<std::size_t>(code);
  return number < kRows.size() ? kRows[number] : kUnknownRow;
}

std::optional<ErrorCode> PayloadOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayloadType);
  if (!payload.has_value()) return std::nullopt;
  const std::string text(*payload);
  std::uint16_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return static_cast<ErrorCode>(number);
}

ErrorCode NearestTo(StatusCode status) {
  switch (status) {
    case StatusCode::kInvalidArgument:
      return ErrorCode::kInvalidRequest;
    case StatusCode::kNotFound:
      return ErrorCode::kUnknownTopic;
    case StatusCode::kAlreadyExists:
      return ErrorCode::kTopicExists;
    case StatusCode::kOutOfRange:
      return ErrorCode::kOffsetOutOfRange;
    case StatusCode::kResourceExhausted:
      return ErrorCode::kTooManyInFlight;
    case StatusCode::kDataLoss:
      return ErrorCode::kPartitionOffline;
    case StatusCode::kUnavailable:
    case StatusCode::kAborted:
    case StatusCode::kCancelled:
      return ErrorCode::kStopping;
    case StatusCode::kDeadlineExceeded:
      return ErrorCode::kTimedOut;
    case StatusCode::kUnimplemented:
      return ErrorCode::kNotSupported;
    case StatusCode::kPermissionDenied:
    case StatusCode::kUnauthenticated:
      return ErrorCode::kPermissionDenied;
    default:
      return ErrorCode::kInternal;
  }
}

}  // namespace

std::string_view NameOf(ErrorCode code) { return RowOf(code).name; }
absl::StatusCode StatusCodeOf(ErrorCode code) { return RowOf(code).status; }
bool IsTransient(ErrorCode code) { return RowOf(code).transient; }

absl::Status MakeError(ErrorCode code, std::string_view message) {
  absl::Status status(StatusCodeOf(code), absl::string_view(message.data(), message.size()));
  if (!status.ok()) {
    status.SetPayload(kPayloadType, absl::Cord(std::to_string(static_cast<unsigned>(code))));
  }
  return status;
}

ErrorCode CodeOf(const absl::Status& status) {
  if (status.ok()) return ErrorCode::kOk;
  if (const std::optional<ErrorCode> code = PayloadOf(status)) return *code;
  return NearestTo(status.code());
}

bool IsTransient(const absl::Status& status) {
  if (status.ok()) return false;
  if (const std::optional<ErrorCode> code = PayloadOf(status)) return IsTransient(*code);
  return status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kAborted;
}

}  // namespace cairn
