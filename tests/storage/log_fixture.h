#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "protocol/record_batch_builder.h"
#include "protocol/status.h"
#include "storage/log.h"
#include "tests/storage/damage.h"
#include "tests/storage/temp_dir.h"

namespace cairn::storage {

inline constexpr Timestamp kNow{1'700'000'000'000};
inline const Offset kEverything{INT64_MAX};

// A batch of `count` records whose values are `size` bytes, the timestamps rising from `time`.
inline Bytes MakeBatch(std::int32_t count, std::size_t size, Timestamp time = kNow,
                       ProducerId producer = kNoProducer, std::int32_t sequence = -1) {
  RecordBatchBuilder builder;
  for (std::int32_t i = 0; i < count; ++i) {
    std::string value(size, static_cast<char>('a' + i % 26));
    value += std::to_string(i);
    builder.Add(
        {.timestamp = time + i, .key = std::nullopt, .value = AsBytes(value), .headers = {}});
  }
  absl::StatusOr<Bytes> batch =
      builder.Finish({.codec = Codec::kNone,
                      .producer_id = producer,
                      .producer_epoch = ProducerEpoch(producer == kNoProducer ? std::int16_t{-1}
                                                                              : std::int16_t{0}),
                      .base_sequence = sequence});
  REQUIRE(batch.ok());
  return *std::move(batch);
}

// One log in a data directory of its own, with the verbs of its life.
class LogFixture {
 public:
  explicit LogFixture(LogOptions options = {},
                      const std::filesystem::path& root = std::filesystem::temp_directory_path())
      : temp_(root), options_(options) {
    Open();
  }

  Log& log() { return *log_; }
  DataDir& data_dir() { return *data_dir_; }
  const RecoveryReport& report() const { return report_; }
  LogOptions& options() { return options_; }
  std::filesystem::path data() const { return temp_.path() / "data"; }
  std::filesystem::path directory() const { return data() / "orders-0"; }
  std::filesystem::path LogFile(std::int64_t base) const {
    return directory() / (Digits(base) + ".log");
  }
  std::filesystem::path IndexFile(std::int64_t base) const {
    return directory() / (Digits(base) + ".index");
  }

  Offset Append(std::int32_t count, std::size_t size = 20, Timestamp time = kNow,
                Timestamp now = kNow) {
    Bytes batch = MakeBatch(count, size, time);
    return AppendBytes(batch, now);
  }
  Offset AppendBytes(Bytes& batch, Timestamp now = kNow) {
    const absl::StatusOr<Offset> base = log_->Append(batch, now);
    INFO(base.status().ToString());
    REQUIRE(base.ok());
    return *base;
  }
  // A group commit.
  void Sync() {
    const SyncPlan plan = log_->TakeUnsynced();
    if (plan.empty()) return;
    REQUIRE(plan.Sync().ok());
    const DurableEnd end = plan.durable_end();
    REQUIRE(data_dir_->frontier().Note({&end, 1}).ok());
    log_->MarkSynced(plan);
  }
  // A trim to its end, files and all; gives how many segments went.
  absl::StatusOr<std::size_t> Trim(Offset before) {
    ASSIGN_OR_RETURN(const Log::Trim trim, log_->TrimTo(before));
    RETURN_IF_ERROR(log_->FinishTrim(trim, trim.Sync()));
    for (const auto& segment : trim.dropped) RETURN_IF_ERROR(segment->Remove());
    return trim.dropped.size();
  }
  void SealAll() {
    while (std::optional<Log::SealTask> task = log_->TakeSealTask()) {
      const absl::Status outcome = task->Run();
      INFO(outcome.ToString());
      REQUIRE(outcome.ok());
      REQUIRE(log_->FinishSeal(*std::move(task), outcome).ok());
    }
  }
  void StopCleanly() {
    Sync();
    const absl::StatusOr<std::optional<DurableEnd>> end = log_->CloseClean();
    INFO(end.status().ToString());
    std::vector<TopicPartition> not_closed;
    if (CodeOf(end.status()) == ErrorCode::kPartitionOffline) {
      not_closed.push_back({Identity().topic, Identity().partition});
    } else {
      REQUIRE(end.ok());
      if (end->has_value()) REQUIRE(data_dir_->frontier().Note({&**end, 1}).ok());
    }
    log_.reset();
    REQUIRE(data_dir_->frontier().CloseClean(not_closed).ok());
    data_dir_.reset();
  }
  // As after kill -9: what was written is there, nobody closed anything.
  void Kill() {
    log_.reset();
    data_dir_.reset();
  }
  void Open() {
    absl::StatusOr<std::unique_ptr<DataDir>> opened = DataDir::Open(data());
    INFO(opened.status().ToString());
    REQUIRE(opened.ok());
    data_dir_ = *std::move(opened);
    report_ = {};
    absl::StatusOr<std::unique_ptr<Log>> log =
        Log::Open(*data_dir_, Identity(), options_, kNow, report_);
    INFO(log.status().ToString());
    REQUIRE(log.ok());
    log_ = *std::move(log);
    for (const Leftover& leftover : report_.leftovers) {
      const absl::StatusOr<std::string> note =
          ClearLeftover(*data_dir_, leftover, [] { return false; });
      REQUIRE(note.ok());
      if (!note->empty()) report_.notes.push_back(*note);
    }
  }
  void Reopen() {
    StopCleanly();
    Open();
  }
  void Crash() {
    Kill();
    Open();
  }

  // Reads once, preparing what is cold.
  absl::StatusOr<LogRead> Read(Offset from, Offset end, std::size_t bytes_max, ReadCursor& cursor) {
    for (int i = 0; i < 100; ++i) {
      absl::StatusOr<LogRead> read = log_->Read(from, end, bytes_max, cursor);
      if (!read.ok() || read->cold == nullptr) return read;
      (void)read->cold->Prepare(read->cold_position);
    }
    FAIL("cold for ever");
    return absl::InternalError("not reached");
  }
  // All bytes from `from` to the end, or up to the first error, which is put into `status`.
  Bytes ReadAll(Offset from, std::size_t bytes_max, absl::Status& status) {
    Bytes all;
    ReadCursor cursor;
    while (from < log_->log_end()) {
      const absl::StatusOr<LogRead> read = Read(from, log_->log_end(), bytes_max, cursor);
      status = read.status();
      if (!read.ok()) return all;
      REQUIRE(!read->view.bytes.empty());
      REQUIRE(read->next > from);
      cairn::AppendBytes(all, read->view.bytes);
      from = read->next;
    }
    return all;
  }
  Bytes ReadAll(std::size_t bytes_max = 1 << 20) {
    absl::Status status;
    Bytes all = ReadAll(log_->log_start(), bytes_max, status);
    INFO(status.ToString());
    REQUIRE(status.ok());
    return all;
  }

  static LogIdentity Identity() {
    return {.topic = IdOf(7), .name = "orders", .partition = PartitionIndex(0)};
  }

 private:
  static std::string Digits(std::int64_t base) {
    std::string digits = std::to_string(base);
    return std::string(20 - digits.size(), '0') + digits;
  }

  TempDir temp_;
  LogOptions options_;
  std::unique_ptr<DataDir> data_dir_;
  RecoveryReport report_;
  std::unique_ptr<Log> log_;
};

}  // namespace cairn::storage
