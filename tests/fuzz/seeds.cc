// Writes good inputs for the fuzz targets: DIRECTORY/<target>/<name>.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "protocol/compression.h"
#include "protocol/messages.h"
#include "protocol/record_batch_builder.h"
#include "tests/fuzz/storage_seeds.h"

namespace {

using namespace cairn;
using flatbuffers::FlatBufferBuilder;

const wire::Uuid kId = ToWire(TopicId{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}});

class SeedFolder {
 public:
  explicit SeedFolder(std::filesystem::path root) : root_(std::move(root)) {}

  void Write(const std::string& target, const std::string& name, ByteView bytes) const {
    std::filesystem::create_directories(root_ / target);
    std::ofstream file(root_ / target / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }

 private:
  std::filesystem::path root_;
};

Bytes Batch(Codec codec) {
  RecordBatchBuilder builder;
  const HeaderView headers[] = {{AsBytes("h"), AsBytes("v")}, {AsBytes("null"), std::nullopt}};
  builder.Add({.timestamp = Timestamp(1000),
               .key = AsBytes("key"),
               .value = AsBytes("value"),
               .headers = headers});
  builder.Add(
      {.timestamp = Timestamp(900), .key = std::nullopt, .value = AsBytes(""), .headers = {}});
  builder.Add(
      {.timestamp = Timestamp(1001), .key = AsBytes(""), .value = std::nullopt, .headers = {}});
  return *builder.Finish({.codec = codec,
                          .producer_id = ProducerId(7),
                          .producer_epoch = ProducerEpoch(0),
                          .base_sequence = 0});
}

// One message of every kind, each with all of its fields.
template <typename Table>
Bytes Message(const std::function<flatbuffers::Offset<Table>(FlatBufferBuilder&)>& body,
              std::size_t attachment_bytes = 0) {
  FlatBufferBuilder builder;
  Bytes out;
  FinishFrame(builder, 5, body(builder), attachment_bytes, out);
  return out;
}

std::vector<Bytes> Requests() {
  using namespace wire;
  using B = FlatBufferBuilder;
  std::vector<Bytes> all;
  all.push_back(Message<Hello>([](B& b) { return CreateHelloDirect(b, 1, "client", "soft"); }));
  all.push_back(Message<Ping>([](B& b) { return CreatePing(b); }));
  all.push_back(Message<Pong>([](B& b) { return CreatePong(b); }));
  all.push_back(Message<Produce>([](B& b) { return CreateProduce(b, &kId, 1, Acks::Durable); }));
  all.push_back(Message<InitProducer>([](B& b) { return CreateInitProducer(b, 3, 4); }));
  all.push_back(Message<Subscribe>([](B& b) {
    return CreateSubscribe(b, 1, &kId, 2, StartAt::Timestamp, 3, 4, 5, 6, true, 7);
  }));
  all.push_back(Message<Credit>([](B& b) { return CreateCredit(b, 1, 2); }));
  all.push_back(Message<Unsubscribe>([](B& b) { return CreateUnsubscribe(b, 1); }));
  all.push_back(Message<Metadata>([](B& b) {
    const auto names = b.CreateVectorOfStrings(std::vector<std::string>{"a", "b"});
    const auto after = b.CreateString("c");
    const auto ids = b.CreateVectorOfStructs(&kId, 1);
    return CreateMetadata(b, names, after, true, ids);
  }));
  all.push_back(Message<ListOffsets>([](B& b) {
    const std::vector<OffsetQuery> queries = {OffsetQuery(-1, 0), OffsetQuery(5, 1)};
    return CreateListOffsetsDirect(b, &kId, &queries);
  }));
  all.push_back(Message<CreateTopic>([](B& b) {
    const std::vector<flatbuffers::Offset<ConfigEntry>> configs = {
        CreateConfigEntryDirect(b, "segment.bytes", "1048576")};
    return CreateCreateTopicDirect(b, "orders", 4, &configs);
  }));
  all.push_back(
      Message<DescribeTopic>([](B& b) { return CreateDescribeTopicDirect(b, "orders"); }));
  all.push_back(Message<AlterTopic>([](B& b) {
    const std::vector<flatbuffers::Offset<ConfigEntry>> configs = {
        CreateConfigEntryDirect(b, "flush.ms", "")};
    return CreateAlterTopicDirect(b, "orders", &configs, 8, true);
  }));
  all.push_back(Message<DeleteTopic>([](B& b) { return CreateDeleteTopicDirect(b, "orders"); }));
  all.push_back(Message<TrimTopic>([](B& b) { return CreateTrimTopicDirect(b, "orders", 1, 9); }));
  all.push_back(Message<Status>([](B& b) { return CreateStatus(b); }));
  return all;
}

std::vector<Bytes> Replies() {
  using namespace wire;
  using B = FlatBufferBuilder;
  std::vector<Bytes> all;
  all.push_back(Message<Welcome>([](B& b) {
    const auto features = b.CreateVectorOfStrings(std::vector<std::string>{"x"});
    const auto software = b.CreateString("cairnd");
    return CreateWelcome(b, 1, features, 1 << 20, &kId, software);
  }));
  all.push_back(Message<Failure>([](B& b) { return CreateFailureDirect(b, 5, "no topic"); }));
  all.push_back(Message<Produced>(
      [](B& b) { return CreateProduced(b, 9, wire::Durability::Durable, true); }));
  all.push_back(Message<ProducerReady>([](B& b) { return CreateProducerReady(b, 1000, 2); }));
  all.push_back(Message<Subscribed>([](B& b) { return CreateSubscribed(b, 1, 2, 3, 4); }));
  all.push_back(Message<Batches>([](B& b) { return CreateBatches(b, 1, 99); }));
  all.push_back(Message<Unsubscribed>([](B& b) { return CreateUnsubscribed(b, 1); }));
  all.push_back(Message<SubscriptionEnded>(
      [](B& b) { return CreateSubscriptionEndedDirect(b, 1, 26, "trimmed", 1, 2, 3); }));
  all.push_back(Message<MetadataReply>([](B& b) {
    const std::vector<flatbuffers::Offset<Broker>> brokers = {
        CreateBrokerDirect(b, 0, "127.0.0.1", 7654)};
    const std::vector<PartitionInfo> partitions = {PartitionInfo(0, 1, 2)};
    const std::vector<flatbuffers::Offset<TopicMetadata>> topics = {CreateTopicMetadataDirect(
        b, "orders", &kId, 0, false, &partitions, 1 << 20, wire::Durability::Written)};
    return CreateMetadataReplyDirect(b, &brokers, &topics, true);
  }));
  all.push_back(Message<OffsetsReply>([](B& b) {
    const std::vector<PartitionOffsets> partitions = {PartitionOffsets(1, 2, 3, 4, 5, 6, 7)};
    return CreateOffsetsReplyDirect(b, &partitions);
  }));
  all.push_back(Message<TopicCreated>([](B& b) { return CreateTopicCreated(b, &kId); }));
  all.push_back(Message<TopicAltered>([](B& b) { return CreateTopicAltered(b); }));
  all.push_back(Message<TopicDeleted>([](B& b) { return CreateTopicDeleted(b); }));
  all.push_back(Message<TopicTrimmed>([](B& b) { return CreateTopicTrimmed(b, 5); }));
  all.push_back(Message<TopicDescription>([](B& b) {
    const std::vector<PartitionState> states = {PartitionState(1, 2, 3, 4, 5, 6, 7, 8, 9)};
    const std::vector<flatbuffers::Offset<PartitionProblem>> problems = {
        CreatePartitionProblemDirect(b, 0, "damage")};
    const std::vector<flatbuffers::Offset<PartitionCount>> history = {
        CreatePartitionCount(b, 0, 4)};
    const std::vector<flatbuffers::Offset<ConfigEntry>> configs = {
        CreateConfigEntryDirect(b, "durability", "durable", true)};
    return CreateTopicDescriptionDirect(b, "orders", &kId, 77, &configs, &states, &problems,
                                        &history);
  }));
  all.push_back(Message<StatusReply>([](B& b) {
    const std::vector<flatbuffers::Offset<flatbuffers::String>> problems = {b.CreateString("p")};
    const std::vector<flatbuffers::Offset<RecoveryNote>> notes = {
        CreateRecoveryNoteDirect(b, "orders", 1, "cut 5 bytes")};
    return CreateStatusReplyDirect(b, "cairnd", &kId, 1, "data", 2, 3, 4, 5, 6, 7, &problems,
                                   &notes, true, 8);
  }));
  return all;
}

void WriteProtocolSeeds(const SeedFolder& folder) {
  int number = 0;
  std::vector<Bytes> all = Requests();
  for (Bytes& reply : Replies()) all.push_back(std::move(reply));
  for (const Bytes& frame : all) {
    const std::string name = std::to_string(number++);
    folder.Write("frame", name, frame);
    folder.Write("message", name, ByteView(frame).subspan(kFrameHeaderBytes));
  }

  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    const Bytes batch = Batch(codec);
    folder.Write("record_batch", std::string(ToString(codec)), batch);

    Bytes produce = Message<wire::Produce>(
        [](FlatBufferBuilder& b) { return wire::CreateProduce(b, &kId, 0, wire::Acks::Durable); },
        batch.size());
    AppendBytes(produce, batch);
    produce.resize(PadTo8(produce.size()));
    folder.Write("frame", "produce-" + std::string(ToString(codec)), produce);

    if (codec == Codec::kNone) continue;
    Bytes block = {static_cast<std::byte>(0x14 | (codec == Codec::kZstd ? 1 : 0))};
    (void)Compress(codec, AsBytes("plain text, plain text, plain text"), block);
    folder.Write("compression", std::string(ToString(codec)), block);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
    return 2;
  }
  const SeedFolder folder(argv[1]);
  WriteProtocolSeeds(folder);
  for (const cairn::fuzz::StorageSeed& seed : cairn::fuzz::StorageSeeds()) {
    folder.Write(seed.target, seed.name, seed.bytes);
  }
  return 0;
}
