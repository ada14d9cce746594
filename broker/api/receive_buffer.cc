#include "broker/api/receive_buffer.h"

#include <algorithm>
#include <cstring>

#include "protocol/check.h"
#include "protocol/frame.h"

namespace cairn::broker {

MutableBytes ReceiveBuffer::Room(std::size_t frame_bytes) {
  return frame_bytes > Spare::kBytes || large() ? RoomInOwn(frame_bytes) : RoomInSpare();
}

MutableBytes ReceiveBuffer::RoomInSpare() {
  const MutableBytes rest = pending();
  CAIRN_CHECK(rest.size() < Spare::kBytes);
  if (begin_ != 0 || own_) {
    std::memmove(spare_.bytes().data(), rest.data(), rest.size());
    DropStorage();
    begin_ = 0;
    end_ = rest.size();
  }
  return spare_.bytes().subspan(end_);
}

MutableBytes ReceiveBuffer::RoomInOwn(std::size_t frame_bytes) {
  const std::size_t have = end_ - begin_;
  if (!large()) {
    MoveTo(std::min(frame_bytes, 2 * Spare::kBytes));
  } else if (have == capacity_) {
    MoveTo(std::min(std::max(frame_bytes, capacity_ + Spare::kBytes), 2 * capacity_));
  } else if (end_ == capacity_ || begin_ + frame_bytes > capacity_) {
    MoveTo(capacity_);
  }
  return {own_.get() + end_, capacity_ - end_};
}

void ReceiveBuffer::MoveTo(std::size_t capacity) {
  const MutableBytes rest = pending();
  if (own_ && capacity == capacity_) {
    std::memmove(own_.get(), rest.data(), rest.size());
  } else {
    auto other = std::make_unique_for_overwrite<std::byte[]>(capacity);
    std::memcpy(other.get(), rest.data(), rest.size());
    DropStorage();
    own_ = std::move(other);
    capacity_ = capacity;
    budget_.Add(static_cast<std::int64_t>(capacity));
  }
  begin_ = 0;
  end_ = rest.size();
}

void ReceiveBuffer::Park() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (!large()) DropStorage();
  } else if (!own_) {
    MoveTo(PadTo8(end_ - begin_));
  }
}

void ReceiveBuffer::Release() {
  if (begin_ == end_) {
    DropStorage();
    begin_ = end_ = 0;
  }
}

void ReceiveBuffer::DropStorage() {
  if (!own_) return;
  own_.reset();
  budget_.Add(-static_cast<std::int64_t>(capacity_));
  capacity_ = 0;
}

}  // namespace cairn::broker
