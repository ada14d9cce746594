#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/compactor.h"
#include "storage/verify.h"
#include "tests/storage/log_fixture.h"

namespace cairn::storage {

// A record as a reader sees it. No key and no value are different from empty ones.
struct Seen {
  Offset offset;
  Timestamp timestamp;
  std::optional<std::string> key;
  std::optional<std::string> value;

  friend bool operator==(const Seen&, const Seen&) = default;
};

struct Sent {
  std::optional<std::string> key;
  std::optional<std::string> value;
  Timestamp timestamp = kNow;
};

inline std::optional<std::string> TextOf(const std::optional<ByteView>& bytes) {
  if (!bytes.has_value()) return std::nullopt;
  return std::string(AsText(*bytes));
}

inline LogOptions CompactedOptions() {
  LogOptions options;
  options.segment_bytes = 1000;
  options.index_interval_bytes = 100;
  options.continue_bytes_max = 0;
  options.compaction.enabled = true;
  options.compaction.min_dirty_ratio = 0;
  return options;
}

// A log with the verbs of compaction.
class CompactedLog : public LogFixture {
 public:
  explicit CompactedLog(LogOptions with = CompactedOptions()) : LogFixture(with) {}
  CompactedLog(LogOptions with, const std::filesystem::path& root) : LogFixture(with, root) {}

  Offset Send(const std::vector<Sent>& records, Codec codec = Codec::kNone,
              ProducerId producer = kNoProducer, std::int32_t sequence = -1, Timestamp now = kNow) {
    RecordBatchBuilder builder;
    for (const Sent& record : records) {
      RecordBatchBuilder::Record out{.timestamp = record.timestamp};
      if (record.key) out.key = AsBytes(*record.key);
      if (record.value) out.value = AsBytes(*record.value);
      builder.Add(out);
    }
    const bool idempotent = producer != kNoProducer;
    absl::StatusOr<Bytes> batch = builder.Finish(
        {.codec = codec,
         .producer_id = producer,
         .producer_epoch = ProducerEpoch(idempotent ? std::int16_t{0} : std::int16_t{-1}),
         .base_sequence = sequence});
    REQUIRE(batch.ok());
    return LogFixture::AppendBytes(*batch, now);
  }
  Offset Send(const std::string& key, const std::optional<std::string>& value) {
    return Send({{key, value}});
  }

  // Everything but the newest batches is sealed, and durable.
  void SealFull() {
    Sync();
    SealAll();
    Sync();
  }
  // Also the active segment.
  void SealEverything() {
    REQUIRE(log().RollIfOld(kNow + log().log_end().value() + (std::int64_t{1} << 50)).ok());
    SealFull();
  }

  // One cleaning with all its swaps; `step` is called before each thing that is done to a file.
  absl::StatusOr<Compactor::Summary> Clean(
      CompactionTime now = kNow, Compactor::Options with = {},
      const std::function<void()>& step = [] {}) {
    std::optional<CompactionPlan> plan = log().PlanCompaction(log().log_end(), now);
    if (!plan.has_value()) return absl::NotFoundError("nothing to clean");
    with.names = [&](const std::function<absl::Status()>& inner) {
      step();
      return inner();
    };
    Compactor compactor(*std::move(plan), with, now);
    RETURN_IF_ERROR(compactor.ReadKeys());
    while (true) {
      ASSIGN_OR_RETURN(const std::optional<CleanedSegment> cleaned, compactor.Next());
      if (!cleaned.has_value()) return compactor.summary();
      step();
      ASSIGN_OR_RETURN(const Log::Trim swap, log().Swap(*cleaned));
      step();
      RETURN_IF_ERROR(log().FinishTrim(swap, swap.Sync()));
      for (const auto& segment : swap.dropped) {
        step();
        RETURN_IF_ERROR(segment->Remove());
      }
      step();
    }
  }
  void CleanAll(const CompactionTime& now = kNow, const Compactor::Options& with = {}) {
    for (int i = 0; i < 100'000; ++i) {
      const auto cleaned = Clean(now, with);
      if (absl::IsNotFound(cleaned.status())) return;
      INFO(cleaned.status().ToString());
      REQUIRE(cleaned.ok());
    }
    FAIL("cleaning never ends");
  }

  std::vector<Seen> Records(Offset from, std::size_t bytes_max = 1 << 20) {
    absl::Status status;
    const Bytes bytes = ReadAll(from, bytes_max, status);
    INFO(status.ToString());
    REQUIRE(status.ok());
    return RecordsOf(bytes, from);
  }
  std::vector<Seen> Records() { return Records(log().log_start()); }

  static std::vector<Seen> RecordsOf(ByteView rest, Offset from) {
    std::vector<Seen> seen;
    RecordReader reader;
    RecordView record;
    while (!rest.empty()) {
      const auto batch = RecordBatchView::Parse(rest);
      REQUIRE(batch.ok());
      REQUIRE(reader.Open(*batch, 1 << 20).ok());
      while (reader.Next(record)) {
        if (record.offset < from) continue;
        seen.push_back({record.offset, record.timestamp, TextOf(record.key), TextOf(record.value)});
      }
      REQUIRE(reader.status().ok());
      rest = rest.subspan(batch->size());
    }
    return seen;
  }
  // The values by key, of what is there.
  std::map<std::string, std::string> Values() {
    std::map<std::string, std::string> values;
    for (const Seen& seen : Records()) {
      if (!seen.key) continue;
      values[*seen.key] = seen.value.value_or("(none)");
    }
    return values;
  }
  std::vector<std::int64_t> Offsets() {
    std::vector<std::int64_t> offsets;
    for (const Seen& seen : Records()) offsets.push_back(seen.offset.value());
    return offsets;
  }
};

// Complaints of verify, notes apart.
inline std::vector<std::string> Damages(const std::filesystem::path& data) {
  std::vector<std::string> damages;
  const auto summary = VerifyDataDirectory(data, [&](const Finding& finding) {
    if (finding.severity != Finding::Severity::kDamage) return;
    damages.push_back(finding.file.string() + ": " + finding.reason);
  });
  REQUIRE(summary.ok());
  return damages;
}

}  // namespace cairn::storage
