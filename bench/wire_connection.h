#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatbuffers/flatbuffers.h"

#include "bench/limits/descriptor.h"
#include "protocol/bytes.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "protocol/types.h"

namespace cairn::bench {

// A connection that speaks Cairn's protocol by hand, where a workload needs thousands of them and
// a client library's threads would be what is measured. Calls wait for the broker, but not for
// ever.
//
// Threads: one at a time.
class WireConnection {
 public:
  // Connects to HOST:PORT, a numeric address, and is greeted.
  //   kInvalidArgument  not such an address
  //   kUnavailable      the system call that failed, or what the broker said
  static absl::StatusOr<WireConnection> Open(const std::string& address);

  int descriptor() const { return socket_.number(); }

  absl::Status Send(ByteView frame);
  // Waits for the next frame; it borrows from this object until the next call.
  //   kUnavailable  of a Failure, what it says
  absl::StatusOr<const wire::Message*> Receive();

  // Appends a whole Produce of one record of so many bytes, without an identity: it may be sent
  // again and again.
  static void MakeProduce(const TopicId& topic, PartitionIndex partition, wire::Acks acks,
                          std::size_t record_bytes, Bytes& frame);
  // Appends a Subscribe for what comes from now on.
  static void MakeSubscribe(const TopicId& topic, PartitionIndex partition,
                            std::uint32_t subscription, Bytes& frame);

 private:
  explicit WireConnection(Descriptor socket) : socket_(std::move(socket)) {}
  absl::Status Greet();

  Descriptor socket_;
  Bytes received_;
  std::size_t begin_ = 0;  // of what was not taken yet
};

}  // namespace cairn::bench
