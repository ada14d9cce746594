#include "storage/batch_scan.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/status.h"

namespace cairn::storage {
namespace {

constexpr std::size_t kFirstChunk = 4u << 10;
constexpr std::size_t kWholeChunk = 1u << 20;
constexpr std::size_t kHeaderChunk = 64u << 10;

std::int64_t LastNonZeroOf(ByteView bytes) {
  auto last = static_cast<std::int64_t>(bytes.size());
  while (last > 0 && bytes[static_cast<std::size_t>(last - 1)] == std::byte{0}) --last;
  return last;
}

}  // namespace

BatchScan::BatchScan(const File& file, const From& from)
    : file_(file),
      from_(from),
      position_(from.position),
      next_offset_(from.next_offset),
      chunk_(kFirstChunk) {}

bool BatchScan::Next() {
  if (!status_.ok() || position_ >= from_.end) return false;
  batch_.reset();
  if (absl::Status looked = Look(); !looked.ok()) {
    if (looked.code() != absl::StatusCode::kDataLoss || !from_.zeros_end) return Fail(looked);
    const absl::StatusOr<bool> zero = IsZero(file_, position_, from_.end);
    if (!zero.ok()) return Fail(zero.status());
    return *zero ? false : Fail(looked);
  }
  batch_position_ = position_;
  position_ += static_cast<std::int64_t>(batch_->size());
  next_offset_ = batch_->next_offset();
  return true;
}

bool BatchScan::Fail(absl::Status status) {
  status_ = std::move(status);
  return false;
}

absl::Status BatchScan::Damage(std::string_view what) const {
  return absl::DataLossError(
      absl::StrFormat("%s, position %d: expected the batch at offset %d, found %s",
                      file_.path().string(), position_, next_offset_.value(), what));
}

// Makes `size` bytes from position_ on readable, or as many as are there.
absl::Status BatchScan::Fetch(std::size_t size) {
  const auto left = static_cast<std::size_t>(from_.end - position_);
  size = std::min(size, left);
  if (position_ >= buffer_begin_ && position_ + static_cast<std::int64_t>(size) <=
                                        buffer_begin_ + static_cast<std::int64_t>(buffer_size_)) {
    return absl::OkStatus();
  }
  const std::size_t wanted = std::min(left, std::max(size, chunk_));
  chunk_ = std::min(4 * chunk_, from_.depth == Depth::kWhole ? kWholeChunk : kHeaderChunk);
  if (buffer_.size() < wanted) buffer_.resize(wanted);
  ASSIGN_OR_RETURN(buffer_size_, file_.Read(position_, MutableBytes(buffer_).first(wanted)));
  buffer_begin_ = position_;
  return absl::OkStatus();
}

ByteView BatchScan::here() const {
  const auto skipped = static_cast<std::size_t>(position_ - buffer_begin_);
  return ByteView(buffer_).first(buffer_size_).subspan(skipped);
}

absl::Status BatchScan::Look() {
  RETURN_IF_ERROR(Fetch(kBatchHeaderBytes));
  if (here().size() < kBatchHeaderBytes) {
    return Damage(absl::StrFormat("%d bytes, less than a header", here().size()));
  }
  const std::optional<std::size_t> size = RecordBatchView::SizeOf(here());
  if (!size.has_value()) {
    return Damage(absl::StrFormat("the impossible batch length %d",
                                  LoadBe<std::int32_t>(here(), kBatchLengthAt)));
  }
  if (static_cast<std::int64_t>(*size) > from_.end - position_) {
    return Damage(
        absl::StrFormat("a batch of %d bytes where %d are left", *size, from_.end - position_));
  }
  ByteView bytes;
  if (from_.depth == Depth::kWhole) {
    RETURN_IF_ERROR(Fetch(*size));
    if (here().size() < *size) {
      return Damage(absl::StrFormat("a batch of %d bytes in a file that ends after %d of them",
                                    *size, here().size()));
    }
    bytes = here().first(*size);
  } else {
    // Only the header is read; the rest of the view is room that nobody looks at.
    const auto skipped = static_cast<std::size_t>(position_ - buffer_begin_);
    if (buffer_.size() < skipped + *size) buffer_.resize(skipped + *size);
    bytes = ByteView(buffer_).subspan(skipped, *size);
  }
  const absl::StatusOr<RecordBatchView> batch = RecordBatchView::ParseHeader(bytes);
  if (!batch.ok()) return Damage(std::string(batch.status().message()));
  RETURN_IF_ERROR(CheckPlace(*batch));
  if (from_.depth == Depth::kWhole) {
    if (const absl::Status sum = batch->VerifyChecksum(); !sum.ok()) {
      return Damage(std::string(sum.message()));
    }
  }
  batch_ = *batch;
  return absl::OkStatus();
}

absl::Status BatchScan::CheckPlace(const RecordBatchView& batch) const {
  const Offset base = batch.base_offset();
  if (from_.cleaned ? base < next_offset_ : base != next_offset_) {
    return Damage(absl::StrFormat("the base offset %d", base.value()));
  }
  if (!from_.cleaned && batch.record_count() == 0) return Damage("a batch without records");
  if (from_.epochs != nullptr) {
    const LeaderEpoch epoch = from_.epochs->At(base);
    if (batch.leader_epoch() != epoch) {
      return Damage(absl::StrFormat("the leader epoch %d instead of %d",
                                    batch.leader_epoch().value(), epoch.value()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> LastNonZero(const File& file, std::int64_t position,
                                         std::int64_t end) {
  ASSIGN_OR_RETURN(const std::int64_t written, file.EndOfWritten(position));
  end = std::min(end, written);
  Bytes buffer(static_cast<std::size_t>(
      std::clamp<std::int64_t>(end - position, 0, static_cast<std::int64_t>(kWholeChunk))));
  while (end > position) {
    const std::int64_t begin = std::max(position, end - static_cast<std::int64_t>(buffer.size()));
    const MutableBytes part = MutableBytes(buffer).first(static_cast<std::size_t>(end - begin));
    ASSIGN_OR_RETURN(const std::size_t got, file.Read(begin, part));
    const std::int64_t last = LastNonZeroOf(part.first(got));
    if (last > 0) return begin + last;
    end = begin;
  }
  return position;
}

absl::StatusOr<bool> IsZero(const File& file, std::int64_t position, std::int64_t end) {
  ASSIGN_OR_RETURN(const std::int64_t last, LastNonZero(file, position, end));
  return last == position;
}

FoundBatches FindBatches(ByteView bytes, Offset from) {
  FoundBatches found;
  std::size_t at = 0;
  while (at + kBatchHeaderBytes <= bytes.size()) {
    const ByteView rest = bytes.subspan(at);
    // The cheap tests first: this looks at every byte.
    if (LoadLe<std::int8_t>(rest, kMagicAt) == kBatchMagic &&
        LoadBe<std::int64_t>(rest, kBaseOffsetAt) >= from.value()) {
      const absl::StatusOr<RecordBatchView> batch = RecordBatchView::Parse(rest);
      if (batch.ok()) {
        ++found.count;
        at += batch->size();
        found.end = at;
        continue;
      }
    }
    ++at;
  }
  return found;
}

}  // namespace cairn::storage
