#include "client/partition_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::client {
namespace {

std::optional<std::string_view> TextOf(const std::optional<ByteView>& bytes) {
  if (!bytes.has_value()) return std::nullopt;
  return AsText(*bytes);
}

}  // namespace

PartitionReader::PartitionReader(Assignment assignment, TopicId topic, OutOfRange out_of_range,
                                 LeaderEpoch epoch)
    : topic_(std::make_shared<const std::string>(std::move(assignment.topic))),
      topic_id_(topic),
      partition_(assignment.partition),
      out_of_range_(out_of_range),
      start_(assignment.start),
      stop_at_present_end_(assignment.stop_at_present_end),
      stop_(assignment.stop_before) {
  Restart(assignment.start);
  epoch_ = epoch;
}

// ---- subscribing ----

PartitionReader::Request PartitionReader::request() const {
  return {.start = position_.has_value() ? StartPosition::At(*position_) : start_,
          .epoch = position_.has_value() ? epoch_ : kNoEpoch,
          .stop_at_present_end = stop_at_present_end_,
          .stop_before = stop_};
}

void PartitionReader::OnSubscribed(Offset start, Offset committed_end, std::optional<Offset> stop) {
  if (refused_.has_value()) return FailAtGap(start);
  has_begun_ = true;
  if (gap_from_.has_value() && *gap_from_ < start) {
    ConsumerEvent event = Event(ConsumerEvent::Kind::kTrimmed);
    event.from = *gap_from_;
    event.to = start;
    events_.push_back(std::move(event));
  }
  gap_from_.reset();
  if (!position_.has_value()) position_ = start;
  committed_end_ = committed_end;
  // The present end is the one of the first answer, however often the connection breaks.
  if (stop_at_present_end_ && stop.has_value()) {
    stop_ = stop;
    stop_at_present_end_ = false;
  }
}

void PartitionReader::OnRefused(const absl::Status& why) {
  subscription_ = 0;
  const ErrorCode code = CodeOf(why);
  const bool out_of_range = code == ErrorCode::kOffsetOutOfRange || code == ErrorCode::kTrimmed;
  if (out_of_range && out_of_range_ != OutOfRange::kError) {
    gap_from_ = position_;
    return Restart(out_of_range_ == OutOfRange::kEarliest ? StartPosition::Earliest()
                                                          : StartPosition::Latest());
  }
  if (out_of_range && has_begun_ && position_.has_value()) {
    // As to a reader that was connected: what is still kept tells how much is not.
    gap_from_ = position_;
    refused_ = why;
    return Restart(StartPosition::Earliest());
  }
  if (!IsTransient(why)) Fail(why);
}

void PartitionReader::FailAtGap(Offset log_start) {
  const absl::Status refused = *std::exchange(refused_, std::nullopt);
  position_ = *std::exchange(gap_from_, std::nullopt);
  if (log_start <= *position_) return Fail(refused);  // it is beyond the end
  Fail(MakeError(
           ErrorCode::kTrimmed,
           absl::StrFormat("offsets %d up to %d of %s:%d are no longer kept", position_->value(),
                           log_start.value() - 1, *topic_, partition_.value())),
       log_start);
}

void PartitionReader::OnBatches(SharedBytes batches, Offset committed_end) {
  committed_end_ = committed_end;
  items_.push_back({.batches = std::move(batches), .end = std::nullopt});
}

void PartitionReader::OnEnded(SubscriptionEnd end) {
  items_.push_back({.batches = {}, .end = std::move(end)});
}

void PartitionReader::OnLost() {
  subscription_ = 0;
  items_.clear();
  open_.reset();
  expected_.reset();
  consumed_bytes_ = 0;
}

// ---- reading ----

void PartitionReader::Restart(StartPosition start) {
  OnLost();
  start_ = start;
  epoch_ = kNoEpoch;
  position_.reset();
  if (start.kind() == StartPosition::Kind::kOffset) position_ = Offset(start.value());
}

void PartitionReader::Seek(StartPosition start) {
  events_.clear();
  gap_from_.reset();
  refused_.reset();
  over_ = false;
  has_begun_ = false;
  // Back to what was seen, or on from there: whether that still stands is to be checked.
  const bool was_seen = position_.has_value() && start.kind() == StartPosition::Kind::kOffset &&
                        Offset(start.value()) <= *position_;
  const LeaderEpoch epoch = was_seen ? epoch_ : kNoEpoch;
  Restart(start);
  epoch_ = epoch;
}

bool PartitionReader::has_something() const {
  if (!events_.empty()) return true;
  if (over_ || paused) return false;
  if (position_.has_value() && stop_.has_value() && !stop_at_present_end_ && *position_ >= *stop_) {
    return true;
  }
  return open_ != nullptr || (!items_.empty() && position_.has_value());
}

absl::Status PartitionReader::Take(std::size_t records_max, Taken& taken) {
  taken.keepers.push_back(topic_);
  std::size_t left = records_max;
  while (has_something()) {
    if (!events_.empty()) {
      taken.events.push_back(std::move(events_.front()));
      events_.pop_front();
      continue;
    }
    if (stop_.has_value() && *position_ >= *stop_) {
      ReachStop(taken);
      break;
    }
    if (open_ != nullptr) {
      if (!HandOut(left, taken)) break;
      if (!open_->reader.status().ok()) return Damaged(open_->reader.status());
      FinishBatch();
      continue;
    }
    Item& item = items_.front();
    if (item.end.has_value()) {
      const SubscriptionEnd end = *std::move(item.end);
      items_.pop_front();
      HandleEnd(end, taken);
      continue;
    }
    if (item.batches.bytes.empty()) {
      items_.pop_front();
    } else if (absl::Status opened = OpenNextBatch(item); !opened.ok()) {
      return Damaged(opened);
    }
  }
  return absl::OkStatus();
}

// Checks the first batch of the item and makes its records ready.
absl::Status PartitionReader::OpenNextBatch(Item& item) {
  ASSIGN_OR_RETURN(const RecordBatchView batch, RecordBatchView::Parse(item.batches.bytes));
  item.batches.bytes = item.batches.bytes.subspan(batch.size());
  consumed_bytes_ += batch.size();
  if (expected_.has_value() && batch.base_offset() < *expected_) {
    return absl::DataLossError(absl::StrFormat("a batch at offset %d follows one that ends at %d",
                                               batch.base_offset().value(), expected_->value()));
  }
  expected_ = batch.next_offset();
  if (batch.next_offset() <= *position_) return absl::OkStatus();  // before what is wanted
  auto open = std::make_shared<OpenBatch>();
  open->owner = item.batches.owner;
  open->next_offset = batch.next_offset();
  open->epoch = batch.leader_epoch();
  open->is_control = batch.is_control();
  open->is_append_time = batch.log_append_time();
  RETURN_IF_ERROR(open->reader.Open(batch, kDecompressedBytesMax));
  open_ = std::move(open);
  return absl::OkStatus();
}

// False: enough, or the stop offset is reached; there may be more in the batch.
bool PartitionReader::HandOut(std::size_t& left, Taken& taken) {
  bool kept = false;
  while (true) {
    if (left == 0) return false;
    if (!open_->reader.Next(record_)) return true;
    if (record_.offset < *position_ || open_->is_control) continue;
    if (stop_.has_value() && record_.offset >= *stop_) {
      position_ = *stop_;
      return true;
    }
    if (!std::exchange(kept, true)) taken.keepers.push_back(open_);
    ConsumedRecord& record = taken.records.emplace_back();
    record.topic = *topic_;
    record.partition = partition_;
    record.leader_epoch = open_->epoch;
    record.offset = record_.offset;
    record.timestamp = record_.timestamp;
    record.is_append_time = open_->is_append_time;
    record.key = TextOf(record_.key);
    record.value = TextOf(record_.value);
    for (const HeaderView& header : record_.headers) {
      record.headers.push_back({AsText(header.name), TextOf(header.value)});
    }
    position_ = record_.offset + 1;
    epoch_ = open_->epoch;
    --left;
  }
}

// Past the batch, and past the gap that compaction may have left at its end.
void PartitionReader::FinishBatch() {
  position_ = std::max(*position_, open_->next_offset);
  if (stop_.has_value()) position_ = std::min(*position_, *stop_);
  open_.reset();
}

void PartitionReader::ReachStop(Taken& taken) {
  // Compaction may have left a gap in front of the end.
  if (stop_.has_value() && position_.has_value()) position_ = std::max(*position_, *stop_);
  OnLost();
  over_ = true;
  taken.events.push_back(Event(ConsumerEvent::Kind::kEnd));
}

void PartitionReader::HandleEnd(const SubscriptionEnd& end, Taken& taken) {
  const ErrorCode code = CodeOf(end.status);
  if (code == ErrorCode::kOk) return ReachStop(taken);
  const Offset reading_at = *position_;
  OnLost();
  ConsumerEvent event = Event(ConsumerEvent::Kind::kTrimmed);
  event.from = end.from;
  event.to = end.to;
  event.status = end.status;
  if (code == ErrorCode::kTruncated && end.next_offset >= Offset(0)) {
    event.kind = ConsumerEvent::Kind::kTruncated;
    Restart(StartPosition::At(end.next_offset));
  } else if ((code == ErrorCode::kTrimmed || code == ErrorCode::kOffsetOutOfRange) &&
             out_of_range_ != OutOfRange::kError) {
    if (out_of_range_ == OutOfRange::kEarliest && end.next_offset > reading_at) {
      Restart(StartPosition::At(end.next_offset));
    } else {
      gap_from_ = reading_at;
      return Restart(out_of_range_ == OutOfRange::kEarliest ? StartPosition::Earliest()
                                                            : StartPosition::Latest());
    }
  } else if (!IsTransient(end.status)) {
    return Fail(end.status, end.to);
  } else {
    return;
  }
  taken.events.push_back(std::move(event));
}

void PartitionReader::Fail(const absl::Status& why, Offset to) {
  OnLost();
  over_ = true;
  ConsumerEvent event = Event(ConsumerEvent::Kind::kFailed);
  event.from = position_.value_or(kNoOffset);
  event.to = to;
  event.status = why;
  events_.push_back(std::move(event));
}

absl::Status PartitionReader::Damaged(const absl::Status& why) {
  const Offset at = *position_;
  OnLost();
  over_ = true;
  return absl::DataLossError(absl::StrFormat("%s:%d at offset %d: %s", *topic_, partition_.value(),
                                             at.value(), std::string(why.message())));
}

std::size_t PartitionReader::TakeConsumedBytes() { return std::exchange(consumed_bytes_, 0); }

ConsumerEvent PartitionReader::Event(ConsumerEvent::Kind kind) const {
  ConsumerEvent event;
  event.kind = kind;
  event.topic = *topic_;
  event.partition = partition_;
  return event;
}

}  // namespace cairn::client
