#include "bench/wire_connection.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "bench/limits/loopback.h"
#include "protocol/limits.h"
#include "protocol/record_batch_builder.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

constexpr std::uint64_t kCorrelation = 1;
constexpr std::uint64_t kCredit = 1u << 20;
constexpr std::size_t kReceiveBytes = 16u << 10;

absl::StatusOr<sockaddr_in> ParseAddress(const std::string& address) {
  const auto colon = address.rfind(':');
  sockaddr_in parsed{};
  parsed.sin_family = AF_INET;
  int port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port <= 0 || port > UINT16_MAX ||
      inet_pton(AF_INET, address.substr(0, colon).c_str(), &parsed.sin_addr) != 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: this workload needs a numeric address, like 127.0.0.1:7654", address));
  }
  parsed.sin_port = htons(static_cast<std::uint16_t>(port));
  return parsed;
}

}  // namespace

absl::StatusOr<WireConnection> WireConnection::Open(const std::string& address) {
  ASSIGN_OR_RETURN(const sockaddr_in to, ParseAddress(address));
  ASSIGN_OR_RETURN(Descriptor socket, ConnectTo(to));
  WireConnection connection(std::move(socket));
  RETURN_IF_ERROR(connection.Greet());
  return connection;
}

absl::Status WireConnection::Greet() {
  flatbuffers::FlatBufferBuilder builder;
  const auto client_id = ToWire(builder, "cairn-bench");
  const auto hello = wire::CreateHello(builder, kProtocolVersion, client_id);
  Bytes frame;
  FinishFrame(builder, kCorrelation, hello, 0, frame);
  RETURN_IF_ERROR(Send(frame));
  ASSIGN_OR_RETURN(const wire::Message* const message, Receive());
  if (message->body_as_Welcome() != nullptr) return absl::OkStatus();
  return absl::UnavailableError("the broker did not answer with a Welcome");
}

absl::Status WireConnection::Send(ByteView frame) { return SendAll(descriptor(), frame); }

absl::StatusOr<const wire::Message*> WireConnection::Receive() {
  while (true) {
    const MutableBytes rest = MutableBytes(received_).subspan(begin_);
    ASSIGN_OR_RETURN(const FrameSize size, PeekFrame(rest, FrameLimits{}));
    if (size.frame_bytes > 0 && size.frame_bytes <= rest.size()) {
      begin_ += size.frame_bytes;
      ASSIGN_OR_RETURN(const FrameView frame, ParseFrame(rest.first(size.frame_bytes)));
      ASSIGN_OR_RETURN(const wire::Message* const message, ParseMessage(frame.control));
      const auto* failure = message->body_as_Failure();
      if (failure == nullptr) return message;
      return absl::UnavailableError(std::string(FromWire(failure->message())));
    }
    received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(begin_));
    begin_ = 0;
    const std::size_t filled = received_.size();
    received_.resize(filled + kReceiveBytes);
    ASSIGN_OR_RETURN(const std::size_t got,
                     bench::Receive(descriptor(), MutableBytes(received_).subspan(filled)));
    received_.resize(filled + got);
    if (got == 0) return absl::UnavailableError("the broker closed the connection");
  }
}

void WireConnection::MakeProduce(const TopicId& topic, PartitionIndex partition, wire::Acks acks,
                                 std::size_t record_bytes, Bytes& frame) {
  const std::string value(record_bytes, 'v');
  RecordBatchBuilder batch;
  batch.Add({.timestamp = Timestamp(1), .value = AsBytes(value)});
  const Bytes bytes = *batch.Finish({});
  flatbuffers::FlatBufferBuilder builder;
  const wire::Uuid id = ToWire(topic);
  FinishFrame(builder, kCorrelation, wire::CreateProduce(builder, &id, partition.value(), acks),
              bytes.size(), frame);
  frame.insert(frame.end(), bytes.begin(), bytes.end());
  frame.resize(frame.size() + PadTo8(bytes.size()) - bytes.size());
}

void WireConnection::MakeSubscribe(const TopicId& topic, PartitionIndex partition,
                                   std::uint32_t subscription, Bytes& frame) {
  flatbuffers::FlatBufferBuilder builder;
  const wire::Uuid id = ToWire(topic);
  FinishFrame(builder, kCorrelation,
              wire::CreateSubscribe(builder, subscription, &id, partition.value(),
                                    wire::StartAt::Latest, 0, 0, -1, kCredit),
              0, frame);
}

}  // namespace cairn::bench
