#include "broker/catalog/topic_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

absl::StatusOr<std::int64_t> ParseNumber(std::string_view value, std::int64_t min,
                                         std::int64_t max) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < min || number > max) {
    return absl::InvalidArgumentError(
        absl::StrFormat("must be a whole number from %d to %d", min, max));
  }
  return number;
}

absl::Status ApplyCleanupPolicy(std::string_view value, TopicOptions& options) {
  if (value == "delete") {
    options.partition.cleanup = CleanupPolicy::kDelete;
  } else if (value == "compact") {
    options.partition.cleanup = CleanupPolicy::kCompact;
  } else if (value == "compact,delete" || value == "delete,compact") {
    options.partition.cleanup = CleanupPolicy::kCompactAndDelete;
  } else {
    return absl::InvalidArgumentError("must be delete, compact or compact,delete");
  }
  options.partition.log.compaction.enabled = options.partition.cleanup != CleanupPolicy::kDelete;
  return absl::OkStatus();
}

absl::Status ApplyRetentionMs(std::string_view value, TopicOptions& options) {
  ASSIGN_OR_RETURN(options.partition.retention.ms,
                   ParseNumber(value, storage::RetentionPolicy::kUnlimited, INT64_MAX));
  return absl::OkStatus();
}

absl::Status ApplyRetentionBytes(std::string_view value, TopicOptions& options) {
  ASSIGN_OR_RETURN(options.partition.retention.bytes,
                   ParseNumber(value, storage::RetentionPolicy::kUnlimited, INT64_MAX));
  return absl::OkStatus();
}

constexpr std::int64_t kLongestMs = std::int64_t{100} * 365 * 24 * 3600 * 1000;

absl::Status ApplyDirtyRatio(std::string_view value, TopicOptions& options) {
  double ratio = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), ratio);
  if (error != std::errc() || end != value.data() + value.size() || !(ratio >= 0 && ratio <= 1)) {
    return absl::InvalidArgumentError("must be a number from 0 to 1");
  }
  options.partition.log.compaction.min_dirty_ratio = ratio;
  return absl::OkStatus();
}

absl::Status ApplyMinCompactionLag(std::string_view value, TopicOptions& options) {
  ASSIGN_OR_RETURN(options.partition.log.compaction.min_lag_ms, ParseNumber(value, 0, kLongestMs));
  return absl::OkStatus();
}

absl::Status ApplyMaxCompactionLag(std::string_view value, TopicOptions& options) {
  ASSIGN_OR_RETURN(options.partition.log.compaction.max_lag_ms,
                   ParseNumber(value, 1000, kLongestMs));
  return absl::OkStatus();
}

absl::Status ApplyDeleteRetention(std::string_view value, TopicOptions& options) {
  ASSIGN_OR_RETURN(options.partition.log.compaction.delete_retention_ms,
                   ParseNumber(value, 0, kLongestMs));
  return absl::OkStatus();
}

absl::Status ApplySegmentBytes(std::string_view value, TopicOptions& options) {
  // Positions in an index are 32 bits wide, and a segment may end with one batch too many.
  ASSIGN_OR_RETURN(options.partition.log.segment_bytes,
                   ParseNumber(value, 16 << 10, (std::int64_t{2} << 30) - (64 << 20)));
  return absl::OkStatus();
}

absl::Status ApplySegmentMs(std::string_view value, TopicOptions& options) {
  ASSIGN_OR_RETURN(options.partition.log.segment_ms, ParseNumber(value, 1000, kLongestMs));
  return absl::OkStatus();
}

absl::Status ApplyMaxMessageBytes(std::string_view value, TopicOptions& options) {
  ASSIGN_OR_RETURN(options.batch_bytes_max, ParseNumber(value, 128, kBatchBytesMax));
  return absl::OkStatus();
}

absl::Status ApplyTimestampType(std::string_view value, TopicOptions& options) {
  if (value != "CreateTime" && value != "LogAppendTime") {
    return absl::InvalidArgumentError("must be CreateTime or LogAppendTime");
  }
  options.log_append_time = value == "LogAppendTime";
  return absl::OkStatus();
}

absl::Status ApplyTimestampAfterMaxMs(std::string_view value, TopicOptions& options) {
  ASSIGN_OR_RETURN(options.timestamp_after_max_ms, ParseNumber(value, 0, INT64_MAX));
  return absl::OkStatus();
}

absl::Status ApplyDurability(std::string_view value, TopicOptions& options) {
  if (value == "durable") {
    options.partition.durability = Durability::kDurable;
  } else if (value == "written") {
    options.partition.durability = Durability::kWritten;
  } else {
    return absl::InvalidArgumentError("must be durable or written");
  }
  return absl::OkStatus();
}

absl::Status ApplyFlushMs(std::string_view value, TopicOptions& options) {
  ASSIGN_OR_RETURN(options.partition.flush_ms, ParseNumber(value, 1, 3600 * 1000));
  return absl::OkStatus();
}

absl::Status ApplyPartitioner(std::string_view value, TopicOptions&) {
  if (value == "xxh3") return absl::OkStatus();
  return absl::InvalidArgumentError("must be xxh3");
}

absl::Status ApplyValidateRecords(std::string_view value, TopicOptions& options) {
  if (value != "header" && value != "full") {
    return absl::InvalidArgumentError("must be header or full");
  }
  options.validate_full = value == "full";
  return absl::OkStatus();
}

constexpr std::array kRows = {
    TopicConfigRow{"cleanup.policy", "delete", false,
                   "what becomes of old records: 'delete' drops them by age and size, 'compact' "
                   "keeps the newest of each key, 'compact,delete' does both",
                   &ApplyCleanupPolicy},
    TopicConfigRow{"delete.retention.ms", "86400000", false,
                   "when compacted: how long tombstones stay once all that they stand against is "
                   "gone",
                   &ApplyDeleteRetention},
    TopicConfigRow{"durability", "durable", false,
                   "what an acknowledgement promises, and what consumers see: 'durable' records on "
                   "stable storage, 'written' ones in the page cache",
                   &ApplyDurability},
    TopicConfigRow{"flush.ms", "1000", false,
                   "on a 'written' topic: how long a record may wait for its sync", &ApplyFlushMs},
    TopicConfigRow{"max.compaction.lag.ms", "3153600000000", false,
                   "when compacted: a record waits no longer than this for its cleaning",
                   &ApplyMaxCompactionLag},
    TopicConfigRow{"max.message.bytes", "1048588", false, "the largest record batch, in bytes",
                   &ApplyMaxMessageBytes},
    TopicConfigRow{"message.timestamp.after.max.ms", "3600000", false,
                   "a record whose timestamp is further than this ahead of the broker's clock is "
                   "refused",
                   &ApplyTimestampAfterMaxMs},
    TopicConfigRow{"message.timestamp.type", "CreateTime", false,
                   "which time a record has: the producer's, 'CreateTime', or that of the broker "
                   "when it was appended, 'LogAppendTime'",
                   &ApplyTimestampType},
    TopicConfigRow{
        "min.cleanable.dirty.ratio", "0.5", false,
        "when compacted: a partition is cleaned when this share of its complete segments "
        "is not cleaned yet",
        &ApplyDirtyRatio},
    TopicConfigRow{"min.compaction.lag.ms", "0", false,
                   "when compacted: a record is left alone at least this long",
                   &ApplyMinCompactionLag},
    TopicConfigRow{"partitioner", "xxh3", true, "how a key names its partition", &ApplyPartitioner},
    TopicConfigRow{"retention.bytes", "-1", false,
                   "the oldest segments of a partition are dropped while it would still hold this "
                   "much without them; -1: without limit",
                   &ApplyRetentionBytes},
    TopicConfigRow{"retention.ms", "604800000", false,
                   "a segment is dropped when this long has passed since the broker last appended "
                   "to it; -1: without limit",
                   &ApplyRetentionMs},
    TopicConfigRow{"segment.bytes", "1073741824", false,
                   "a new segment is begun when one has grown to this size", &ApplySegmentBytes},
    TopicConfigRow{"segment.ms", "604800000", false,
                   "a new segment is begun when one has grown this old", &ApplySegmentMs},
    TopicConfigRow{"validate.records", "header", false,
                   "of compressed batches check the 'header', or unpack and walk the 'full' batch",
                   &ApplyValidateRecords},
};

// Known to whoever knows Kafka, or to our design, but what they would do is not there yet.
constexpr std::array<std::string_view, 15> kNotAvailable = {
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "file.delete.delay.ms",
    "flush.messages",
    "index.interval.bytes",
    "local.retention.bytes",
    "local.retention.ms",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "min.insync.replicas",
    "preallocate",
};

const TopicConfigRow* FindRow(std::string_view name) {
  const auto* row = std::find_if(kRows.begin(), kRows.end(),
                                 [name](const TopicConfigRow& each) { return each.name == name; });
  return row == kRows.end() ? nullptr : row;
}

std::string KnownNames() {
  std::string names;
  for (const TopicConfigRow& row : kRows) {
    if (!names.empty()) names += ", ";
    names += row.name;
  }
  return names;
}

absl::Status UnknownConfig(std::string_view name) {
  const bool later =
      std::find(kNotAvailable.begin(), kNotAvailable.end(), name) != kNotAvailable.end();
  return MakeError(
      ErrorCode::kInvalidConfig,
      absl::StrFormat(later ? "config %s is not available in this version; known are: %s"
                            : "there is no topic config '%s'; known are: %s",
                      name, KnownNames()));
}

}  // namespace

std::span<const TopicConfigRow> TopicConfigRows() { return kRows; }

absl::StatusOr<TopicOptions> ResolveTopicConfigs(const TopicConfigs& configs) {
  TopicOptions options;
  for (const TopicConfigRow& row : kRows) RETURN_IF_ERROR(row.apply(row.default_value, options));
  for (const auto& [name, value] : configs) {
    const TopicConfigRow* row = FindRow(name);
    if (row == nullptr) return UnknownConfig(name);
    const absl::Status status = row->apply(value, options);
    if (!status.ok()) {
      return MakeError(ErrorCode::kInvalidConfig,
                       absl::StrFormat("config %s=%s: the value %s; known configs are: %s", name,
                                       value, status.message(), KnownNames()));
    }
  }
  return options;
}

absl::StatusOr<TopicConfigs> ChangeTopicConfigs(const TopicConfigs& configs,
                                                const TopicConfigs& changes) {
  TopicConfigs changed = configs;
  for (const auto& [name, value] : changes) {
    const TopicConfigRow* row = FindRow(name);
    if (row == nullptr) return UnknownConfig(name);
    if (row->immutable) {
      return MakeError(ErrorCode::kInvalidConfig,
                       absl::StrFormat("config %s can only be set when a topic is created", name));
    }
    if (value.empty()) {
      changed.erase(name);
    } else {
      changed[name] = value;
    }
  }
  RETURN_IF_ERROR(ResolveTopicConfigs(changed).status());
  return changed;
}

std::vector<ConfigInEffect> ConfigsInEffect(const TopicConfigs& configs) {
  std::vector<ConfigInEffect> effect;
  for (const TopicConfigRow& row : kRows) {
    const auto set = configs.find(row.name);
    const bool is_default = set == configs.end();
    effect.push_back({std::string(row.name),
                      is_default ? std::string(row.default_value) : set->second, is_default});
  }
  return effect;
}

}  // namespace cairn::broker
