#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "client/cluster.h"
#include "protocol/messages.h"

namespace cairn::test {

// Listens on loopback and treats each connection as its test tells it to, one after the other.
//
// Threads: `treat` runs on the broker's own; the destructor ends and joins it.
class FakeBroker {
 public:
  // One accepted connection; blocking, closed when treated.
  class Peer {
   public:
    explicit Peer(int socket) : socket_(socket) {}

    // The next whole frame's message; null when the client is gone. Lives until the next Receive.
    const wire::Message* Receive();
    void SendBytes(ByteView bytes);
    template <typename Table>
    void Reply(std::uint64_t correlation, flatbuffers::Offset<Table> body) {
      Bytes head;
      FinishFrame(builder, correlation, body, 0, head);
      SendBytes(head);
    }
    // Takes Hello and says Welcome; false when the client is gone.
    bool Greet();
    // Answers a question for metadata: the one topic "t".
    void AnswerTopic(std::uint64_t correlation, const TopicId& id, std::size_t partitions = 1,
                     bool more = false);

    flatbuffers::FlatBufferBuilder builder;

   private:
    bool ReceiveBytes(MutableBytes bytes);

    int socket_;
    std::unique_ptr<std::byte[]> frame_;
  };

  explicit FakeBroker(std::function<void(Peer&)> treat);
  ~FakeBroker();

  std::string address() const;

 private:
  void Run();

  const std::function<void(Peer&)> treat_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

// A cluster of that broker, quick to connect again.
std::shared_ptr<client::Cluster> ClusterOf(const FakeBroker& broker);

}  // namespace cairn::test
