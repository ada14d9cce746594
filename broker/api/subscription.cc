#include "broker/api/subscription.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/api/connection.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/messages.h"

namespace cairn::broker {
namespace {

// Leaves room for the head, so that the whole frame stays within kDataFrameBytesMax.
constexpr std::size_t kViewBytesMax = kDataFrameBytesMax - 256;
constexpr std::int64_t kCreditMax = std::numeric_limits<std::int64_t>::max() / 2;

// Cuts off the batches that begin at or after `stop`: the reader would only throw them away. False:
// the bytes were lost under us.
bool CutAt(Offset stop, storage::LogRead& read) {
  ByteView rest = read.view.bytes;
  std::size_t kept = 0;
  while (!rest.empty()) {
    const auto batch = RecordBatchView::ParseHeader(rest);
    if (!batch.ok()) {
      read.view.mapping->NoteLost(rest.data());
      break;
    }
    if (batch->base_offset() >= stop) break;
    kept += batch->size();
    rest = rest.subspan(batch->size());
    read.next = batch->next_offset();
  }
  read.view.bytes = read.view.bytes.first(kept);
  return !read.view.mapping->is_lost();
}

}  // namespace

Subscription::Subscription(std::weak_ptr<Connection> connection,
                           std::shared_ptr<Partition> partition, const Options& options)
    : id_(options.id),
      connection_(std::move(connection)),
      partition_(std::move(partition)),
      stop_(options.stop),
      next_(options.start) {
  AddCredit(options.credit);
}

void Subscription::AddCredit(std::uint64_t bytes) {
  const auto added = static_cast<std::int64_t>(std::min(bytes, std::uint64_t{kCreditMax}));
  credit_ = std::min(credit_ + added, kCreditMax);
}

bool Subscription::Step(flatbuffers::FlatBufferBuilder& builder, Outbox& out) {
  if (ended_ || preparing_) return false;
  if (stop_ && next_ >= *stop_) {
    End(builder, out, absl::OkStatus());
    return false;
  }
  if (credit_ <= 0) return false;
  const auto bytes_max = static_cast<std::size_t>(std::min<std::int64_t>(credit_, kViewBytesMax));
  auto read = partition_->Read(next_, bytes_max, cursor_);
  if (!read.ok()) {
    EndOnError(read.status(), builder, out);
    return false;
  }
  if (read->cold) {
    if (prepared_.ok()) {
      Prepare(*read);
    } else {
      End(builder, out, prepared_);
    }
    return false;
  }
  prepared_ = absl::OkStatus();
  if (read->view.bytes.empty()) return Await();
  return Deliver(*std::move(read), builder, out);
}

bool Subscription::Await() {
  if (watching_) return false;
  watching_ = true;
  if (partition_->WatchEnd(next_, shared_from_this())) return false;
  watching_ = false;
  return true;
}

void Subscription::Prepare(const storage::LogRead& cold) {
  preparing_ = true;
  partition_->Prepare(cold, [self = shared_from_this()](absl::Status outcome) {
    const auto connection = self->connection_.lock();
    if (!connection) return;
    connection->Post([self, outcome = std::move(outcome)](Connection& on) {
      self->preparing_ = false;
      // Replaced or dropped meanwhile: the log knows where to go on.
      self->prepared_ = absl::IsAborted(outcome) ? absl::OkStatus() : outcome;
      on.subscriptions().Wake(self);
    });
  });
}

bool Subscription::Deliver(storage::LogRead read, flatbuffers::FlatBufferBuilder& builder,
                           Outbox& out) {
  if (stop_ && read.next > *stop_ && !CutAt(*stop_, read)) return true;  // the next read knows why
  const std::size_t size = read.view.bytes.size();
  if (size == 0) {
    // The stop lies in a gap that compaction left.
    next_ = *stop_;
    return true;
  }
  const Offset committed = std::max(partition_->ends().committed_end, read.next);
  Outbox::DataFrame frame{.subscription = id_, .head = out.NewHead(), .view = {}};
  FinishFrame(builder, 0, wire::CreateBatches(builder, id_, committed.value()), size, frame.head);
  frame.view = std::move(read.view);
  out.Push(std::move(frame));
  // The last batch may reach beyond the stop; a reader who goes on later wants the rest of it.
  next_ = stop_ ? std::min(read.next, *stop_) : read.next;
  credit_ -= static_cast<std::int64_t>(size);
  return true;
}

void Subscription::EndOnError(const absl::Status& error, flatbuffers::FlatBufferBuilder& builder,
                              Outbox& out) {
  const Offset log_start = partition_->ends().log_start;
  if (CodeOf(error) == ErrorCode::kOffsetOutOfRange && next_ < log_start) {
    const absl::Status trimmed =
        MakeError(ErrorCode::kTrimmed,
                  absl::StrFormat("offsets %d up to %d of %s:%d are no longer kept", next_.value(),
                                  log_start.value() - 1, partition_->topic_name(),
                                  partition_->id().partition.value()));
    return End(builder, out, trimmed, next_, log_start);
  }
  End(builder, out, error);
}

void Subscription::End(flatbuffers::FlatBufferBuilder& builder, Outbox& out,
                       const absl::Status& why, Offset from, Offset to) {
  // Among the data frames, since it must not overtake what was pushed before it.
  Outbox::DataFrame frame{.subscription = id_, .head = out.NewHead(), .view = {}};
  const auto message =
      ToWire(builder, std::string_view(why.message().data(), why.message().size()));
  const Offset next = CodeOf(why) == ErrorCode::kTrimmed ? to : next_;
  FinishFrame(builder, 0,
              wire::CreateSubscriptionEnded(builder, id_, static_cast<std::uint16_t>(CodeOf(why)),
                                            message, from.value(), to.value(), next.value()),
              0, frame.head);
  out.Push(std::move(frame));
  Abandon();
}

void Subscription::Abandon() {
  ended_ = true;
  if (watching_) partition_->Unwatch(this);
}

void Subscription::OnEndMoved() {
  if (const auto connection = connection_.lock()) connection->Wake(shared_from_this());
}

}  // namespace cairn::broker
