// Recovery of one log after an unclean stop: a good segment of a few batches, the last of which may
// not be durable, is overwritten from some position on with the input. Whatever comes out must be
// whole, right batches with dense offsets, nothing durable may be missing unless it is said so, and
// the log must go on or say why not.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "protocol/record_batch_builder.h"
#include "storage/log.h"
#include "storage/segment_name.h"
#include "tests/storage/damage.h"
#include "tests/storage/temp_dir.h"

namespace {

using namespace cairn;
using namespace cairn::storage;
namespace fs = std::filesystem;

constexpr int kBatches = 6;
constexpr int kDurableBatches = 4;
constexpr Timestamp kNow{1'700'000'000'000};
const LogIdentity kIdentity{
    .topic = TopicId{{7}}, .name = "orders", .partition = PartitionIndex(0)};

Bytes Batch(int number) {
  RecordBatchBuilder builder;
  const std::string value = "value " + std::to_string(number);
  builder.Add(
      {.timestamp = kNow + number, .key = AsBytes("k"), .value = AsBytes(value), .headers = {}});
  builder.Add({.timestamp = kNow, .key = std::nullopt, .value = AsBytes(value), .headers = {}});
  return *builder.Finish({});
}

// A data directory as a kill -9 leaves it: six batches, four of them noted in the frontier.
class Template {
 public:
  Template() {
    auto data_dir = DataDir::Open(scratch_.path() / "data");
    CAIRN_CHECK(data_dir.ok());
    RecoveryReport report;
    auto log = Log::Open(**data_dir, kIdentity, {}, kNow, report);
    CAIRN_CHECK(log.ok());
    for (int i = 0; i < kBatches; ++i) {
      Bytes batch = Batch(i);
      CAIRN_CHECK((*log)->Append(batch, kNow).ok());
      if (i + 1 != kDurableBatches) continue;
      const SyncPlan plan = (*log)->TakeUnsynced();
      CAIRN_CHECK(plan.Sync().ok());
      durable_ = plan.durable_end();
      CAIRN_CHECK((*data_dir)->frontier().Note({&durable_, 1}).ok());
      (*log)->MarkSynced(plan);
    }
    end_ = (*log)->log_end();
    segment_ = fs::relative((*data_dir)->PartitionPath(kIdentity) / LogFileName(Offset(0)), path());
    file_ = ReadBack(path() / segment_);
  }

  fs::path path() const { return scratch_.path() / "data"; }
  const fs::path& segment() const { return segment_; }
  const Bytes& file() const { return file_; }
  const DurableEnd& durable() const { return durable_; }
  Offset end() const { return end_; }

 private:
  TempDir scratch_{MemoryRoot()};
  fs::path segment_;
  Bytes file_;
  DurableEnd durable_;
  Offset end_;
};

// What a reader of the whole log comes to.
struct ReadOutcome {
  Offset next;           // one past the last record it was given
  bool damaged = false;  // and why it was given no more
};

// Every batch that is served must be right and in its place.
ReadOutcome ReadAll(Log& log) {
  ReadCursor cursor;
  Offset next = log.log_start();
  while (next < log.log_end()) {
    auto read = log.Read(next, log.log_end(), 1 << 16, cursor);
    if (!read.ok()) return {next, true};
    if (read->cold != nullptr) {
      if (!read->cold->Prepare(read->cold_position).ok()) return {next, true};
      continue;
    }
    for (ByteView rest = read->view.bytes; !rest.empty();) {
      const auto batch = RecordBatchView::Parse(rest);
      CAIRN_CHECK(batch.ok() && batch->base_offset() == next);
      next = batch->next_offset();
      rest = rest.subspan(batch->size());
    }
  }
  return {next, false};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Template good;
  static const TempDir scratch(MemoryRoot());
  if (size < 3) return 0;

  Bytes file = good.file();
  const std::size_t at = static_cast<std::size_t>(data[0] | data[1] << 8) % (file.size() + 1);
  const ByteView input(reinterpret_cast<const std::byte*>(data + 2), size - 2);
  if (at + input.size() > file.size()) file.resize(at + input.size());
  std::copy(input.begin(), input.end(), file.begin() + static_cast<std::ptrdiff_t>(at));

  const fs::path path = scratch.path() / "data";
  fs::remove_all(path);
  fs::copy(good.path(), path, fs::copy_options::recursive);
  WriteFile(path / good.segment(), file);

  auto data_dir = DataDir::Open(path);
  CAIRN_CHECK(data_dir.ok());
  RecoveryReport report;
  auto log = Log::Open(**data_dir, kIdentity, {}, kNow, report);
  CAIRN_CHECK(log.ok());
  const ReadOutcome served = ReadAll(**log);
  Bytes batch = Batch(99);
  const auto appended = (*log)->Append(batch, kNow);
  if (!report.damage.ok() || served.damaged) {
    // Damage below the durable end: what stands before it is served, and nothing is appended.
    CAIRN_CHECK(served.next < good.durable().end && !appended.ok());
    return 0;
  }
  CAIRN_CHECK(served.next >= good.durable().end);
  CAIRN_CHECK(appended.ok() && *appended == served.next);
  CAIRN_CHECK(ReadAll(**log).next == served.next + 2);
  return 0;
}
