#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <sys/uio.h>
#include <vector>

#include "absl/status/status.h"

#include "protocol/bytes.h"
#include "storage/read_view.h"

namespace cairn::broker {

// What one connection still has to send, for one thread. Control frames lie one behind the other in
// one buffer; data frames are a small head and bytes of a segment, which go to the socket from the
// mapping. Control goes first, but never into the middle of a data frame that has begun.
class Outbox {
 public:
  struct DataFrame {
    std::uint32_t subscription = 0;
    Bytes head;  // a whole frame head; its control alone where there is no view
    storage::ReadView view;
  };

  // Whole control frames are appended here.
  Bytes& control() { return control_; }
  void Push(DataFrame frame);
  // An empty one for the next data frame, with the memory of one that was sent.
  Bytes NewHead();
  // Forgets the data frames of a subscription, but for one that has begun: it must be finished.
  void Drop(std::uint32_t subscription);

  std::size_t control_bytes() const { return control_.size() - control_sent_; }
  std::size_t data_bytes() const { return data_bytes_; }
  bool empty() const { return control_bytes() == 0 && data_.empty(); }

  // The parts to send next, in order; gives how many of `parts` were filled. They stay valid until
  // the next other call.
  std::size_t Gather(std::span<iovec> parts, std::size_t bytes_max) const;
  // `bytes` of what Gather gave are on their way.
  void Sent(std::size_t bytes);

  // OK, or which file's bytes in it cannot be read any more: see MappedFile::Probe. May wait for
  // the disk.
  absl::Status Probe() const;
  // Gives memory back that is not in use.
  void Release();

 private:
  // Sends up to `bytes` of the front data frame; gives how many.
  std::size_t SentOfFront(std::size_t bytes);

  Bytes control_;
  std::size_t control_sent_ = 0;
  std::deque<DataFrame> data_;
  std::vector<Bytes> spare_heads_;
  std::size_t front_sent_ = 0;  // of data_.front()
  std::size_t data_bytes_ = 0;  // of data_, without what was sent
};

}  // namespace cairn::broker
