#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"

#include "broker/api/connection_table.h"
#include "broker/api/handlers.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"

namespace cairn::broker {
namespace {

// A page ends here, well below kControlBytesMax; one topic always fits.
constexpr std::size_t kReplyBytesMax = 512u << 10;

using TopicOffset = flatbuffers::Offset<wire::TopicMetadata>;

// The topics of one reply as they are gathered.
class Page {
 public:
  explicit Page(flatbuffers::FlatBufferBuilder& builder) : builder_(builder) {}

  bool full() const {
    return topics_.size() >= kMetadataTopicsPerReply || builder_.GetSize() >= kReplyBytesMax;
  }
  void Add(const ServedTopic& topic);
  void AddUnknown(std::string_view name, const TopicId& id);
  const std::vector<TopicOffset>& topics() const { return topics_; }

 private:
  flatbuffers::FlatBufferBuilder& builder_;
  std::vector<TopicOffset> topics_;
};

void Page::Add(const ServedTopic& topic) {
  std::vector<wire::PartitionInfo> partitions;
  partitions.reserve(topic.partitions.size());
  for (const auto& partition : topic.partitions) {
    partitions.emplace_back(0, partition->ends().leader_epoch.value(),
                            static_cast<std::uint16_t>(CodeOf(partition->write_state())));
  }
  const auto infos = builder_.CreateVectorOfStructs(partitions);
  const auto name = ToWire(builder_, topic.name);
  const wire::Uuid id = ToWire(topic.id);
  topics_.push_back(
      wire::CreateTopicMetadata(builder_, name, &id, 0, topic.internal, infos,
                                static_cast<std::uint32_t>(topic.options.batch_bytes_max),
                                ToWire(topic.options.partition.durability)));
}

void Page::AddUnknown(std::string_view name, const TopicId& id) {
  // A longer one is no name, and replies are bounded.
  const auto text = ToWire(builder_, name.substr(0, kTopicNameBytesMax));
  const wire::Uuid uuid = ToWire(id);
  topics_.push_back(wire::CreateTopicMetadata(
      builder_, text, &uuid, static_cast<std::uint16_t>(ErrorCode::kUnknownTopic)));
}

// False: they do not fit in one reply.
bool AddNamed(const wire::Metadata& metadata, const ServedTopics& topics, Page& page) {
  if (metadata.topics() != nullptr) {
    for (const auto* name : *metadata.topics()) {
      if (page.full()) return false;
      const ServedTopic* topic = topics.Find(FromWire(name));
      topic != nullptr ? page.Add(*topic) : page.AddUnknown(FromWire(name), TopicId{});
    }
  }
  if (metadata.topic_ids() != nullptr) {
    for (const wire::Uuid* uuid : *metadata.topic_ids()) {
      if (page.full()) return false;
      const TopicId id = FromWire(*uuid);
      const ServedTopic* topic = topics.Find(id);
      topic != nullptr ? page.Add(*topic) : page.AddUnknown("", id);
    }
  }
  return true;
}

// True: there are more.
bool AddAll(const wire::Metadata& metadata, const ServedTopics& topics, Page& page) {
  const auto& by_name = topics.by_name();
  for (auto next = by_name.upper_bound(FromWire(metadata.after())); next != by_name.end(); ++next) {
    if (next->second->internal && !metadata.include_internal()) continue;
    if (page.full()) return true;
    page.Add(*next->second);
  }
  return false;
}

}  // namespace

void HandleMetadata(const Request& request, const wire::Metadata& metadata) {
  Connection& connection = request.connection;
  const ServedTopics& topics = connection.table().topics();
  auto& builder = connection.builder();
  Page page(builder);
  bool more = false;
  if (metadata.topics() == nullptr && metadata.topic_ids() == nullptr) {
    more = AddAll(metadata, topics, page);
  } else if (!AddNamed(metadata, topics, page)) {
    builder.Clear();
    return connection.Fail(
        request.correlation,
        MakeError(
            ErrorCode::kInvalidRequest,
            absl::StrFormat("more topics than fit in one reply (%d topics, about %d bytes); ask "
                            "for fewer at a time",
                            kMetadataTopicsPerReply, kReplyBytesMax)));
  }
  // The way by which this client came is one that it can come again.
  const auto host = ToWire(builder, connection.stream().local_host());
  const auto broker = wire::CreateBroker(builder, 0, host, connection.stream().local_port());
  const auto brokers = builder.CreateVector(&broker, 1);
  const auto found = builder.CreateVector(page.topics());
  connection.Reply(request.correlation, wire::CreateMetadataReply(builder, brokers, found, more));
}

}  // namespace cairn::broker
