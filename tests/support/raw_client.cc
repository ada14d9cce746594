#include "tests/support/raw_client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "protocol/limits.h"
#include "protocol/record_batch.h"
#include "protocol/record_batch_builder.h"

namespace cairn::test {

// ---- frames ----

RawClient::Frame::Frame(Bytes bytes) : bytes_(std::move(bytes)) {
  const auto frame = ParseFrame(bytes_);
  REQUIRE(frame.ok());
  const auto message = ParseMessage(frame->control);
  REQUIRE(message.ok());
  message_ = *message;
  attachment_ = frame->attachment;
}

void RawClient::Frame::Expect(wire::Body wanted) const {
  if (kind() == wanted) return;
  UNSCOPED_INFO("wanted " << wire::EnumNameBody(wanted) << ", got " << wire::EnumNameBody(kind()));
  if (kind() == wire::Body::Failure) UNSCOPED_INFO("failure: " << text());
  REQUIRE(kind() == wanted);
}

// ---- the socket ----

RawClient::RawClient(std::uint16_t port) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(socket_ >= 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

RawClient::~RawClient() {
  if (socket_ >= 0) ::close(socket_);
}

RawClient RawClient::Greeted(std::uint16_t port) {
  RawClient client(port);
  auto& builder = client.builder();
  const auto id = builder.CreateString("test");
  client.Ask(wire::CreateHello(builder, kProtocolVersion, id)).as<wire::Welcome>();
  return client;
}

void RawClient::SendBytes(ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    REQUIRE(sent > 0);
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
}

std::size_t RawClient::SendWhatFits(ByteView bytes) {
  const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

bool RawClient::HasBytes() const {
  pollfd readable{socket_, POLLIN, 0};
  return ::poll(&readable, 1, 0) == 1;
}

bool RawClient::ReadAll(MutableBytes bytes) {
  while (!bytes.empty()) {
    pollfd readable{socket_, POLLIN, 0};
    const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience);
    REQUIRE(::poll(&readable, 1, static_cast<int>(patience.count())) == 1);
    const ssize_t got = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (got <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

std::optional<RawClient::Frame> RawClient::Next() {
  if (!kept_.empty()) {
    Frame first = std::move(kept_.front());
    kept_.erase(kept_.begin());
    return first;
  }
  Bytes bytes(kFrameHeaderBytes);
  if (!ReadAll(bytes)) return std::nullopt;
  const auto size = PeekFrame(bytes, FrameLimits{});
  REQUIRE(size.ok());
  bytes.resize(size->frame_bytes);
  if (!ReadAll(MutableBytes(bytes).subspan(kFrameHeaderBytes))) return std::nullopt;
  return Frame(std::move(bytes));
}

RawClient::Frame RawClient::Take() {
  auto frame = Next();
  REQUIRE(frame.has_value());
  return *std::move(frame);
}

RawClient::Frame RawClient::TakeReply(std::uint64_t correlation) {
  std::vector<Frame> before;
  for (;;) {
    Frame frame = Take();
    if (frame.correlation() == correlation) {
      for (Frame& kept : kept_) before.push_back(std::move(kept));
      kept_ = std::move(before);
      return frame;
    }
    before.push_back(std::move(frame));
  }
}

bool RawClient::ClosedByBroker() {
  if (!kept_.empty()) return false;
  std::byte one;
  return !ReadAll({&one, 1});
}

// ---- requests ----

RawClient::Frame RawClient::AskCreateTopic(
    std::string_view name, std::int32_t partitions,
    std::vector<std::pair<std::string, std::string>> configs) {
  std::vector<flatbuffers::Offset<wire::ConfigEntry>> entries;
  for (const auto& [config, value] : configs) {
    const auto config_name = ToWire(builder_, config);
    const auto config_value = ToWire(builder_, value);
    entries.push_back(wire::CreateConfigEntry(builder_, config_name, config_value));
  }
  const auto vector = builder_.CreateVector(entries);
  const auto text = ToWire(builder_, name);
  return Ask(wire::CreateCreateTopic(builder_, text, partitions, vector));
}

TopicId RawClient::CreateTopic(std::string_view name, std::int32_t partitions,
                               std::vector<std::pair<std::string, std::string>> configs) {
  return FromWire(
      *AskCreateTopic(name, partitions, std::move(configs)).as<wire::TopicCreated>().id());
}

RawClient::Frame RawClient::AskProduce(const TopicId& topic, std::int32_t partition, ByteView batch,
                                       wire::Acks acks) {
  const wire::Uuid id = ToWire(topic);
  return Ask(wire::CreateProduce(builder_, &id, partition, acks), batch);
}

Offset RawClient::Produce(const TopicId& topic, std::int32_t partition, ByteView batch,
                          wire::Acks acks) {
  return Offset(AskProduce(topic, partition, batch, acks).as<wire::Produced>().base_offset());
}

RawClient::Frame RawClient::AskSubscribe(const TopicId& topic, std::int32_t partition,
                                         const From& from) {
  const wire::Uuid id = ToWire(topic);
  wire::SubscribeBuilder subscribe(builder_);
  subscribe.add_subscription(from.id);
  subscribe.add_topic(&id);
  subscribe.add_partition(partition);
  subscribe.add_start_at(from.start_at);
  subscribe.add_offset(from.offset);
  subscribe.add_timestamp(from.timestamp);
  subscribe.add_leader_epoch(from.epoch);
  subscribe.add_credit(from.credit);
  subscribe.add_stop_at_present_end(from.to_present_end);
  subscribe.add_stop_offset(from.stop);
  return Ask(subscribe.Finish());
}

void RawClient::SendCredit(std::uint32_t subscription, std::uint64_t bytes) {
  Send(0, wire::CreateCredit(builder_, subscription, bytes));
}

// ---- batches ----

Bytes MakeBatch(const BatchOptions& options) {
  RecordBatchBuilder builder;
  for (int i = 0; i < options.count; ++i) {
    std::string value = "value-" + std::to_string(options.first + i);
    if (value.size() < options.value_bytes) value.resize(options.value_bytes, '.');
    const std::string key = "key-" + std::to_string(options.first + i);
    builder.Add({.timestamp = options.time + i,
                 .key = AsBytes(key),
                 .value = AsBytes(value),
                 .headers = {}});
  }
  auto batch = builder.Finish({.codec = Codec::kNone,
                               .producer_id = options.producer,
                               .producer_epoch = ProducerEpoch(options.epoch),
                               .base_sequence = options.sequence});
  REQUIRE(batch.ok());
  return *std::move(batch);
}

std::vector<ReadRecord> RecordsOf(ByteView batches) {
  std::vector<ReadRecord> records;
  RecordReader reader;
  while (!batches.empty()) {
    const auto batch = RecordBatchView::Parse(batches);
    REQUIRE(batch.ok());
    REQUIRE(reader.Open(*batch, kDecompressedBytesMax).ok());
    RecordView record;
    while (reader.Next(record)) {
      records.push_back({record.offset.value(), std::string(AsText(record.value.value()))});
    }
    REQUIRE(reader.status().ok());
    batches = batches.subspan(batch->size());
  }
  return records;
}

}  // namespace cairn::test
