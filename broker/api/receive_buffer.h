#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "protocol/bytes.h"

namespace cairn::broker {

// What all connections of a process together hold of frames that have not arrived whole. Any
// thread.
class ReceiveBudget {
 public:
  explicit ReceiveBudget(std::int64_t bytes_max) : bytes_max_(bytes_max) {}

  void Add(std::int64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  std::int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  std::int64_t bytes_max() const { return bytes_max_; }
  bool exceeded() const { return bytes() > bytes_max_; }

 private:
  const std::int64_t bytes_max_;
  std::atomic<std::int64_t> bytes_{0};
};

// Where a connection's bytes arrive, aligned so that every frame's control is. An idle connection
// holds nothing: it reads into a spare buffer that all connections of a worker share, and between
// turns keeps only the beginning of a frame that has not arrived whole. A frame larger than the
// spare gets storage of its own, which grows as the bytes arrive, never on the word of a length
// field alone, and is kept until Release.
//
//   loop:  MutableBytes room = buffer.Room(bytes of the frame in front, 0 if not known);
//          …read into it…  buffer.Filled(n);  …take whole frames off pending() with Consume…
//   buffer.Park();  before another connection uses the spare
class ReceiveBuffer {
 public:
  // Shared by the connections of one worker.
  class Spare {
   public:
    static constexpr std::size_t kBytes = 256u << 10;

    MutableBytes bytes() { return {storage_.get(), kBytes}; }

   private:
    std::unique_ptr<std::byte[]> storage_ = std::make_unique_for_overwrite<std::byte[]>(kBytes);
  };

  // Borrows both. What it allocates is counted in the budget; keeping to it is the owner's part.
  ReceiveBuffer(Spare& spare, ReceiveBudget& budget) : spare_(spare), budget_(budget) {}
  ReceiveBuffer(const ReceiveBuffer&) = delete;
  ReceiveBuffer& operator=(const ReceiveBuffer&) = delete;
  ~ReceiveBuffer() { DropStorage(); }

  // Room for at least one byte. Requires that pending() does not hold the whole frame.
  MutableBytes Room(std::size_t frame_bytes);
  void Filled(std::size_t bytes) { end_ += bytes; }

  // What arrived and was not consumed; begins at a multiple of 8.
  MutableBytes pending() { return {data() + begin_, end_ - begin_}; }
  // `bytes` is a multiple of 8.
  void Consume(std::size_t bytes) { begin_ += bytes; }

  void Park();
  // Gives storage back if nothing is in it.
  void Release();

  bool empty() const { return begin_ == end_; }

 private:
  std::byte* data() { return own_ ? own_.get() : spare_.bytes().data(); }
  bool large() const { return own_ && capacity_ > Spare::kBytes; }
  MutableBytes RoomInSpare();
  MutableBytes RoomInOwn(std::size_t frame_bytes);
  // Moves what is pending to the front of storage of its own.
  void MoveTo(std::size_t capacity);
  void DropStorage();

  Spare& spare_;
  ReceiveBudget& budget_;
  std::unique_ptr<std::byte[]> own_;
  std::size_t capacity_ = 0;  // of own_
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace cairn::broker
