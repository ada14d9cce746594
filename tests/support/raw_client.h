#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/error_code.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "protocol/types.h"

namespace cairn::test {

// Patience of tests: far more than anything takes on a busy machine. Nothing waits it out but a
// failure.
inline constexpr std::chrono::seconds kPatience{60};

// A peer on a blocking socket that says exactly what a test wants said, well-mannered or not. What
// does not come in time fails the test.
class RawClient {
 public:
  // A frame as it came; the message and the attachment lie in its bytes.
  class Frame {
   public:
    explicit Frame(Bytes bytes);
    Frame(Frame&&) = default;
    Frame& operator=(Frame&&) = default;

    std::uint64_t correlation() const { return message_->correlation(); }
    wire::Body kind() const { return message_->body_type(); }
    ByteView attachment() const { return attachment_; }
    // The body, which the test requires to be of this kind.
    template <typename Table>
    const Table& as() const {
      Expect(wire::BodyTraits<Table>::enum_value);
      return *static_cast<const Table*>(message_->body());
    }
    // Of a Failure.
    ErrorCode code() const { return static_cast<ErrorCode>(as<wire::Failure>().code()); }
    std::string text() const { return std::string(FromWire(as<wire::Failure>().message())); }

   private:
    void Expect(wire::Body kind) const;

    Bytes bytes_;
    const wire::Message* message_ = nullptr;
    ByteView attachment_;
  };

  // Connects to 127.0.0.1.
  explicit RawClient(std::uint16_t port);
  RawClient(RawClient&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
  RawClient(const RawClient&) = delete;
  ~RawClient();

  // A client that has said Hello and was welcomed.
  static RawClient Greeted(std::uint16_t port);

  void SendBytes(ByteView bytes);
  // Without waiting for room; gives how many bytes went.
  std::size_t SendWhatFits(ByteView bytes);
  flatbuffers::FlatBufferBuilder& builder() { return builder_; }
  // Builds a frame of the body under construction in builder().
  template <typename Table>
  Bytes Encode(std::uint64_t correlation, flatbuffers::Offset<Table> body,
               ByteView attachment = {}) {
    Bytes out;
    FinishFrame(builder_, correlation, body, attachment.size(), out);
    AppendBytes(out, attachment);
    out.resize(PadTo8(out.size()));
    return out;
  }
  template <typename Table>
  void Send(std::uint64_t correlation, flatbuffers::Offset<Table> body, ByteView attachment = {}) {
    SendBytes(Encode(correlation, body, attachment));
  }

  // The next frame, whatever it is; nothing when the broker has closed the connection.
  std::optional<Frame> Next();
  // The next frame, which must come.
  Frame Take();
  // Takes frames until the one that answers `correlation`; those before it are kept for Take.
  Frame TakeReply(std::uint64_t correlation);
  // Nothing more comes, and the broker closes.
  bool ClosedByBroker();
  // True if bytes are there to be read now.
  bool HasBytes() const;

  // Sends it and takes the reply.
  template <typename Table>
  Frame Ask(flatbuffers::Offset<Table> body, ByteView attachment = {}) {
    const std::uint64_t correlation = next_correlation_++;
    Send(correlation, body, attachment);
    return TakeReply(correlation);
  }

  // ---- verbs, each of which must succeed ----
  TopicId CreateTopic(std::string_view name, std::int32_t partitions,
                      std::vector<std::pair<std::string, std::string>> configs = {});
  // Gives the base offset.
  Offset Produce(const TopicId& topic, std::int32_t partition, ByteView batch,
                 wire::Acks acks = wire::Acks::Default);

  // ---- requests that may be refused ----
  Frame AskCreateTopic(std::string_view name, std::int32_t partitions,
                       std::vector<std::pair<std::string, std::string>> configs = {});
  Frame AskProduce(const TopicId& topic, std::int32_t partition, ByteView batch,
                   wire::Acks acks = wire::Acks::Default);

  struct From {
    std::uint32_t id = 1;
    wire::StartAt start_at = wire::StartAt::Offset;
    std::int64_t offset = 0;
    std::int64_t timestamp = 0;
    std::int32_t epoch = -1;
    std::uint64_t credit = std::uint64_t{1} << 40;
    bool to_present_end = false;
    std::int64_t stop = -1;
  };
  Frame AskSubscribe(const TopicId& topic, std::int32_t partition, const From& from);
  void SendCredit(std::uint32_t subscription, std::uint64_t bytes);

  int socket() const { return socket_; }

 private:
  bool ReadAll(MutableBytes bytes);

  int socket_ = -1;
  flatbuffers::FlatBufferBuilder builder_;
  std::uint64_t next_correlation_ = 1000;
  std::vector<Frame> kept_;
};

// A batch of `count` records "value-<first>", …, each `value_bytes` long at least, one millisecond
// apart from `time` on.
struct BatchOptions {
  int first = 0;
  int count = 1;
  std::size_t value_bytes = 0;
  Timestamp time{1'700'000'000'000};
  ProducerId producer = kNoProducer;
  std::int16_t epoch = -1;
  std::int32_t sequence = -1;
};
Bytes MakeBatch(const BatchOptions& options);

// The records of an attachment (one or more whole batches): their offsets and values.
struct ReadRecord {
  std::int64_t offset;
  std::string value;
};
std::vector<ReadRecord> RecordsOf(ByteView batches);

}  // namespace cairn::test
