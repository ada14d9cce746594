#include "broker/api/outbox.h"

#include <algorithm>
#include <array>
#include <utility>

#include "protocol/check.h"
#include "protocol/frame.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

// A control buffer that has been larger than this is given back as soon as it is empty.
constexpr std::size_t kControlKept = 64u << 10;
// A few frames are queued at a time, and the heads of batches are small.
constexpr std::size_t kSpareHeadsMax = 8;
constexpr std::size_t kSpareHeadBytesMax = 256;
constexpr std::array<std::byte, 8> kZeros{};

std::size_t Padding(const Outbox::DataFrame& frame) {
  return PadTo8(frame.view.bytes.size()) - frame.view.bytes.size();
}
std::size_t SizeOf(const Outbox::DataFrame& frame) {
  return frame.head.size() + PadTo8(frame.view.bytes.size());
}

// Fills iovecs one by one until they, or the bytes allowed, are used up.
class Parts {
 public:
  Parts(std::span<iovec> parts, std::size_t bytes_max) : parts_(parts), left_(bytes_max) {}

  bool full() const { return used_ == parts_.size() || left_ == 0; }
  std::size_t used() const { return used_; }

  void Add(ByteView bytes, std::size_t skip) {
    if (full() || skip >= bytes.size()) return;
    const std::size_t size = std::min(bytes.size() - skip, left_);
    parts_[used_++] = {const_cast<std::byte*>(bytes.data() + skip), size};
    left_ -= size;
  }
  void Add(const Outbox::DataFrame& frame, std::size_t sent) {
    const std::size_t view_at = frame.head.size();
    const std::size_t zeros_at = view_at + frame.view.bytes.size();
    Add(frame.head, sent);
    Add(frame.view.bytes, sent > view_at ? sent - view_at : 0);
    Add(ByteView(kZeros).first(Padding(frame)), sent > zeros_at ? sent - zeros_at : 0);
  }

 private:
  std::span<iovec> parts_;
  std::size_t used_ = 0;
  std::size_t left_;
};

}  // namespace

void Outbox::Push(DataFrame frame) {
  data_bytes_ += SizeOf(frame);
  data_.push_back(std::move(frame));
}

Bytes Outbox::NewHead() {
  if (spare_heads_.empty()) return {};
  Bytes head = std::move(spare_heads_.back());
  spare_heads_.pop_back();
  head.clear();
  return head;
}

void Outbox::Drop(std::uint32_t subscription) {
  auto first = data_.begin();
  if (front_sent_ > 0) ++first;
  const auto kept = std::remove_if(first, data_.end(), [&](const DataFrame& frame) {
    if (frame.subscription != subscription) return false;
    data_bytes_ -= SizeOf(frame);
    return true;
  });
  data_.erase(kept, data_.end());
}

std::size_t Outbox::Gather(std::span<iovec> parts, std::size_t bytes_max) const {
  Parts out(parts, bytes_max);
  auto frame = data_.begin();
  if (front_sent_ > 0) out.Add(*frame++, front_sent_);
  out.Add(control_, control_sent_);
  while (!out.full() && frame != data_.end()) out.Add(*frame++, 0);
  return out.used();
}

std::size_t Outbox::SentOfFront(std::size_t bytes) {
  const std::size_t size = SizeOf(data_.front());
  const std::size_t sent = std::min(bytes, size - front_sent_);
  front_sent_ += sent;
  data_bytes_ -= sent;
  if (front_sent_ == size) {
    Bytes& head = data_.front().head;
    if (spare_heads_.size() < kSpareHeadsMax && head.capacity() <= kSpareHeadBytesMax) {
      spare_heads_.push_back(std::move(head));
    }
    data_.pop_front();
    front_sent_ = 0;
  }
  return sent;
}

void Outbox::Sent(std::size_t bytes) {
  if (front_sent_ > 0) bytes -= SentOfFront(bytes);
  const std::size_t control = std::min(bytes, control_bytes());
  control_sent_ += control;
  bytes -= control;
  if (control_bytes() == 0) {
    control_sent_ = 0;
    control_.clear();
    if (control_.capacity() > kControlKept) Bytes().swap(control_);
  } else if (control_sent_ > kControlKept) {
    control_.erase(control_.begin(), control_.begin() + static_cast<std::ptrdiff_t>(control_sent_));
    control_sent_ = 0;
  }
  while (bytes > 0) {
    CAIRN_CHECK(!data_.empty());
    bytes -= SentOfFront(bytes);
  }
}

absl::Status Outbox::Probe() const {
  for (const DataFrame& frame : data_) {
    if (frame.view.mapping != nullptr) RETURN_IF_ERROR(frame.view.mapping->Probe(frame.view.bytes));
  }
  return absl::OkStatus();
}

void Outbox::Release() {
  if (control_bytes() == 0) Bytes().swap(control_);
  if (data_.empty()) std::deque<DataFrame>().swap(data_);
  std::vector<Bytes>().swap(spare_heads_);
}

}  // namespace cairn::broker
