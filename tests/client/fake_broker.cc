#include "tests/client/fake_broker.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/limits.h"

namespace cairn::test {

FakeBroker::FakeBroker(std::function<void(Peer&)> treat) : treat_(std::move(treat)) {
  listener_ = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  CAIRN_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
  CAIRN_CHECK(listen(listener_, 16) == 0);
  CAIRN_CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Run(); });
}

FakeBroker::~FakeBroker() {
  shutdown(listener_, SHUT_RDWR);
  thread_.join();
  close(listener_);
}

std::string FakeBroker::address() const { return absl::StrFormat("127.0.0.1:%d", port_); }

void FakeBroker::Run() {
  while (true) {
    const int socket = accept(listener_, nullptr, nullptr);
    if (socket < 0) return;
    Peer peer(socket);
    treat_(peer);
    close(socket);
  }
}

bool FakeBroker::Peer::ReceiveBytes(MutableBytes bytes) {
  while (!bytes.empty()) {
    const ssize_t got = recv(socket_, bytes.data(), bytes.size(), 0);
    if (got <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

const wire::Message* FakeBroker::Peer::Receive() {
  std::array<std::byte, kFrameHeaderBytes> header;
  if (!ReceiveBytes(header)) return nullptr;
  const auto size = PeekFrame(header, FrameLimits{});
  CAIRN_CHECK(size.ok());
  frame_.reset(new std::byte[size->frame_bytes]);
  const MutableBytes frame(frame_.get(), size->frame_bytes);
  std::copy(header.begin(), header.end(), frame.begin());
  if (!ReceiveBytes(frame.subspan(kFrameHeaderBytes))) return nullptr;
  const auto message = ParseMessage(ParseFrame(frame)->control);
  CAIRN_CHECK(message.ok());
  return *message;
}

void FakeBroker::Peer::SendBytes(ByteView bytes) {
  // A client that is gone is noticed by the next Receive.
  [[maybe_unused]] const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

bool FakeBroker::Peer::Greet() {
  const wire::Message* hello = Receive();
  if (hello == nullptr) return false;
  const wire::Uuid cluster_id = ToWire(NewTopicId());
  wire::WelcomeBuilder welcome(builder);
  welcome.add_protocol_version(kProtocolVersion);
  welcome.add_frame_bytes_max(kFrameBytesMax);
  welcome.add_cluster_id(&cluster_id);
  Reply(hello->correlation(), welcome.Finish());
  return true;
}

void FakeBroker::Peer::AnswerTopic(std::uint64_t correlation, const TopicId& id,
                                   std::size_t partitions, bool more) {
  const auto infos = builder.CreateVectorOfStructs(std::vector<wire::PartitionInfo>(partitions));
  const auto name = ToWire(builder, "t");
  const wire::Uuid uuid = ToWire(id);
  const auto topic = wire::CreateTopicMetadata(builder, name, &uuid, 0, false, infos, 1000);
  const auto topics = builder.CreateVector(&topic, 1);
  Reply(correlation, wire::CreateMetadataReply(builder, 0, topics, more));
}

std::shared_ptr<client::Cluster> ClusterOf(const FakeBroker& broker) {
  client::ClusterOptions options;
  options.broker = broker.address();
  options.backoff_min = std::chrono::milliseconds(1);
  options.backoff_max = std::chrono::milliseconds(2);
  return *client::Cluster::Open(options);
}

}  // namespace cairn::test
