#include "broker/catalog/catalog.h"

#include <fstream>
#include <set>

#include "tests/broker/data_plane.h"

namespace cairn::broker {
namespace {

// A data directory and the broker on it, which can be stopped and started.
class Broker {
 public:
  Broker() { Start(); }

  void Start() {
    plane_ = std::make_unique<DataPlane>(dir_.path());
    plane_->OpenCatalog();
  }
  void StopClean() {
    const absl::Status status = plane_->StopClean();
    INFO(status);
    REQUIRE(status.ok());
    plane_.reset();
  }
  // As after kill -9.
  void StopUnclean() { plane_.reset(); }
  void Restart(bool clean) {
    clean ? StopClean() : StopUnclean();
    Start();
  }

  absl::StatusOr<TopicId> Create(const std::string& name, std::int32_t partitions,
                                 TopicConfigs configs = {}) {
    Answer<absl::StatusOr<TopicId>> answer;
    catalog().CreateTopic(name, partitions, std::move(configs), kNow, answer.Taker());
    return answer.Wait();
  }
  absl::Status Alter(const std::string& name, Catalog::TopicChange change) {
    Answer<absl::Status> answer;
    catalog().AlterTopic(name, std::move(change), kNow, answer.Taker());
    return answer.Wait();
  }
  absl::Status Delete(const std::string& name) {
    Answer<absl::Status> answer;
    catalog().DeleteTopic(name, kNow, answer.Taker());
    return answer.Wait();
  }
  absl::StatusOr<Catalog::Producer> InitProducer(ProducerId id = kNoProducer,
                                                 ProducerEpoch epoch = ProducerEpoch(-1)) {
    Answer<absl::StatusOr<Catalog::Producer>> answer;
    catalog().InitProducer(id, epoch, kNow, answer.Taker());
    return answer.Wait();
  }
  std::shared_ptr<Partition> At(const std::string& name, std::int32_t partition) {
    const auto topics = plane_->map().Load();
    const ServedTopic* topic = topics->Find(name);
    REQUIRE(topic != nullptr);
    return DataPlane::Value(plane_->map().Find({topic->id, PartitionIndex(partition)}));
  }
  Catalog& catalog() { return plane_->catalog(); }
  DataPlane& plane() { return *plane_; }
  const TempDir& dir() const { return dir_; }

 private:
  TempDir dir_;
  std::unique_ptr<DataPlane> plane_;
};

TEST_CASE("Catalog: a created topic is served at once, without a file", "[broker][catalog]") {
  Broker broker;
  const auto id = broker.Create("orders", 3, {{"durability", "written"}});
  INFO(id.status());
  REQUIRE(id.ok());
  const auto topics = broker.plane().map().Load();
  const ServedTopic* topic = topics->Find("orders");
  REQUIRE(topic != nullptr);
  CHECK(topic->id == *id);
  CHECK(topic->partitions.size() == 3);
  CHECK(topic->options.partition.durability == Durability::kWritten);
  CHECK_FALSE(topic->internal);
  CHECK(topics->Find(*id) == topic);
  CHECK(CodeOf(topics->Find({*id, PartitionIndex(3)}).status()) == ErrorCode::kUnknownPartition);
  CHECK(CodeOf(topics->Find({NewTopicId(), PartitionIndex(0)}).status()) ==
        ErrorCode::kUnknownTopic);
  CHECK_FALSE(std::filesystem::exists(broker.dir() / "orders-0"));
  CHECK(topics->Find("__catalog")->internal);

  const auto row = broker.catalog().Find("orders");
  REQUIRE(row.has_value());
  CHECK(row->created == kNow);
  CHECK(row->history == std::vector<PartitionCount>{{0, 3}});
}

TEST_CASE("Catalog: what cannot be created is refused by its own code", "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 1).ok());
  CHECK(CodeOf(broker.Create("orders", 1).status()) == ErrorCode::kTopicExists);
  CHECK(CodeOf(broker.Create("a/b", 1).status()) == ErrorCode::kInvalidTopicName);
  CHECK(CodeOf(broker.Create("..", 1).status()) == ErrorCode::kInvalidTopicName);
  CHECK(CodeOf(broker.Create("", 1).status()) == ErrorCode::kInvalidTopicName);
  CHECK(CodeOf(broker.Create("__mine", 1).status()) == ErrorCode::kInternalTopic);
  CHECK(CodeOf(broker.Create("a", 0).status()) == ErrorCode::kInvalidRequest);
  CHECK(CodeOf(broker.Create("a", -1).status()) == ErrorCode::kInvalidRequest);
  CHECK(CodeOf(broker.Create("a", kPartitionsPerTopicMax + 1).status()) ==
        ErrorCode::kInvalidRequest);
  CHECK(CodeOf(broker.Create("a", 1, {{"flush.ms", "soon"}}).status()) ==
        ErrorCode::kInvalidConfig);
  CHECK(CodeOf(broker.Delete("a")) == ErrorCode::kUnknownTopic);
  CHECK(CodeOf(broker.Delete("__catalog")) == ErrorCode::kInternalTopic);
  CHECK(CodeOf(broker.Alter("__catalog", {})) == ErrorCode::kInternalTopic);
  CHECK_FALSE(broker.catalog().Find("a").has_value());
}

TEST_CASE("Catalog: a topic grows only on demand, keeps its partitions, and remembers",
          "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 2).ok());
  AppendDurably(*broker.At("orders", 0), {"a"});
  CHECK(CodeOf(broker.Alter("orders", {.partitions = 4})) == ErrorCode::kInvalidRequest);
  CHECK(CodeOf(broker.Alter("orders", {.partitions = 1, .remap_keys = true})) ==
        ErrorCode::kInvalidRequest);
  const auto before = broker.At("orders", 0);
  REQUIRE(broker.Alter("orders", {.partitions = 4, .remap_keys = true}).ok());
  CHECK(broker.At("orders", 0) == before);
  CHECK(AppendDurably(*broker.At("orders", 3), {"b"}) == Offset(0));
  CHECK(broker.catalog().Find("orders")->history == std::vector<PartitionCount>{{0, 2}, {1, 4}});

  const bool clean = GENERATE(true, false);
  broker.Restart(clean);
  CHECK(broker.catalog().Find("orders")->history == std::vector<PartitionCount>{{0, 2}, {1, 4}});
  CHECK(ReadValues(*broker.At("orders", 0), Offset(0)) == std::vector<std::string>{"a"});
  CHECK(ReadValues(*broker.At("orders", 3), Offset(0)) == std::vector<std::string>{"b"});
}

TEST_CASE("Catalog: an altered config holds at once and after a restart", "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 1, {{"flush.ms", "50"}}).ok());
  REQUIRE(
      broker.Alter("orders", {.configs = {{"max.message.bytes", "5000"}, {"flush.ms", ""}}}).ok());
  const auto check = [&] {
    const auto topics = broker.plane().map().Load();
    CHECK(topics->Find("orders")->options.batch_bytes_max == 5000);
    CHECK(topics->Find("orders")->options.partition.flush_ms == 1000);
    CHECK(broker.catalog().Find("orders")->configs == TopicConfigs{{"max.message.bytes", "5000"}});
  };
  check();
  broker.Restart(/*clean=*/true);
  check();
  CHECK(CodeOf(broker.Alter("orders", {.configs = {{"partitioner", "xxh3"}}})) ==
        ErrorCode::kInvalidConfig);
}

TEST_CASE("Catalog: a topic deleted and created again is another, and empty", "[broker][catalog]") {
  Broker broker;
  const TopicId first = DataPlane::Value(broker.Create("orders", 2));
  AppendDurably(*broker.At("orders", 0), {"old"});
  const auto held = broker.At("orders", 0);
  REQUIRE(broker.Delete("orders").ok());
  CHECK_FALSE(broker.catalog().Find("orders").has_value());
  CHECK(broker.plane().map().Load()->Find("orders") == nullptr);
  CHECK(CodeOf(held->write_state()) == ErrorCode::kUnknownTopic);
  CHECK_FALSE(std::filesystem::exists(broker.dir() / "orders-0"));

  const TopicId second = DataPlane::Value(broker.Create("orders", 1));
  CHECK(second != first);
  CHECK(ReadValues(*broker.At("orders", 0), Offset(0)).empty());
  CHECK(AppendDurably(*broker.At("orders", 0), {"new"}) == Offset(0));
  CHECK(Eventually([&] { return broker.plane().data_dir().Deleted().empty(); }));

  const bool clean = GENERATE(true, false);
  broker.Restart(clean);
  CHECK(broker.catalog().Find("orders")->id == second);
  CHECK(ReadValues(*broker.At("orders", 0), Offset(0)) == std::vector<std::string>{"new"});
  CHECK(broker.catalog().Problems().empty());
}

TEST_CASE("Catalog: a deletion that was cut short is finished by the next start",
          "[broker][catalog]") {
  Broker broker;
  const TopicId id = DataPlane::Value(broker.Create("orders", 1));
  AppendDurably(*broker.At("orders", 0), {"old"});
  REQUIRE(broker.Delete("orders").ok());
  REQUIRE(Eventually([&] { return broker.plane().data_dir().Deleted().empty(); }));
  broker.StopUnclean();
  // A directory that was renamed, but not removed any more.
  const std::string directory = ToString(id) + "-0.deleted";
  std::filesystem::create_directory(broker.dir() / directory);
  broker.Start();
  CHECK(broker.catalog().Problems().empty());
  CHECK_FALSE(broker.catalog().Find("orders").has_value());
}

TEST_CASE("Catalog: a deleted directory that could not be renamed is removed by the next start",
          "[broker][catalog]") {
  Broker broker;
  const TopicId id = DataPlane::Value(broker.Create("orders", 1));
  AppendDurably(*broker.At("orders", 0), {"old"});
  // Something stands where the directory is to go.
  const std::filesystem::path taken = broker.dir() / (ToString(id) + "-0.deleted");
  std::ofstream(taken) << "not a directory";
  REQUIRE(broker.Delete("orders").ok());
  REQUIRE(std::filesystem::exists(broker.dir() / "orders-0"));
  REQUIRE(broker.Create("another", 1).ok());  // behind whatever the deletion left to do
  std::filesystem::remove(taken);
  broker.Restart(/*clean=*/true);
  CHECK(broker.catalog().Problems().empty());
  CHECK_FALSE(std::filesystem::exists(broker.dir() / "orders-0"));
  CHECK_FALSE(std::filesystem::exists(broker.dir() / "quarantine"));
}

TEST_CASE("Catalog: records, producers' sequences and ends are there after a restart",
          "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 2).ok());
  const Bytes batch = BatchOf({"a", "b"}, {ProducerId(3), 0});
  const auto sink = std::make_shared<TestSink>();
  REQUIRE(Append(*broker.At("orders", 1), batch, Durability::kDurable, sink, 1).ok());
  REQUIRE(sink->Wait(1)[0].status.ok());
  const bool clean = GENERATE(true, false);
  broker.Restart(clean);
  CHECK(broker.catalog().clean_start() == clean);
  const auto partition = broker.At("orders", 1);
  CHECK(ReadValues(*partition, Offset(0)) == std::vector<std::string>{"a", "b"});
  CHECK(partition->ends().durable_end == Offset(2));
  CHECK(partition->ends().leader_epoch == LeaderEpoch(clean ? 0 : 1));
  const auto repeat = Append(*partition, batch);
  REQUIRE(repeat.ok());
  CHECK(repeat->duplicate);
  CHECK(repeat->base_offset == Offset(0));
  CHECK(AppendDurably(*partition, {"c"}) == Offset(2));
  CHECK(broker.catalog().Problems().empty());
}

TEST_CASE("Catalog: producer ids are unique for ever, over any restart", "[broker][catalog]") {
  Broker broker;
  std::set<std::int64_t> seen;
  for (const bool clean : {true, false, true, false}) {
    for (int i = 0; i < 30; ++i) {
      const auto producer = broker.InitProducer();
      INFO(producer.status());
      REQUIRE(producer.ok());
      CHECK(producer->epoch == ProducerEpoch(0));
      CHECK(seen.insert(producer->id.value()).second);
    }
    broker.Restart(clean);
  }
}

TEST_CASE("Catalog: many ask for producer ids at once, beyond a block", "[broker][catalog]") {
  Broker broker;
  std::vector<Answer<absl::StatusOr<Catalog::Producer>>> answers(2500);
  for (auto& answer : answers) {
    broker.catalog().InitProducer(kNoProducer, ProducerEpoch(-1), kNow, answer.Taker());
  }
  std::set<std::int64_t> seen;
  for (auto& answer : answers)
    CHECK(seen.insert(DataPlane::Value(answer.Wait()).id.value()).second);
}

TEST_CASE("Catalog: a producer gets a higher epoch of its own id, and a new id after the last",
          "[broker][catalog]") {
  Broker broker;
  const Catalog::Producer producer = DataPlane::Value(broker.InitProducer());
  const auto next = broker.InitProducer(producer.id, producer.epoch);
  REQUIRE(next.ok());
  CHECK(next->id == producer.id);
  CHECK(next->epoch == ProducerEpoch(1));
  const auto after_last = broker.InitProducer(producer.id, ProducerEpoch(32767));
  REQUIRE(after_last.ok());
  CHECK(after_last->id != producer.id);
  CHECK(after_last->epoch == ProducerEpoch(0));
  CHECK(CodeOf(broker.InitProducer(ProducerId(1 << 30), ProducerEpoch(0)).status()) ==
        ErrorCode::kUnknownProducer);
  CHECK(CodeOf(broker.InitProducer(ProducerId(-5), ProducerEpoch(0)).status()) ==
        ErrorCode::kInvalidRequest);
  CHECK(CodeOf(broker.InitProducer(producer.id, ProducerEpoch(-1)).status()) ==
        ErrorCode::kInvalidRequest);
}

TEST_CASE("Catalog: a directory it does not know goes to quarantine, with a word",
          "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 1).ok());
  AppendDurably(*broker.At("orders", 0), {"a"});
  const auto stranger = broker.plane().NewPartition("stranger");
  AppendDurably(*stranger, {"not ours"});
  broker.Restart(/*clean=*/false);
  CHECK_FALSE(std::filesystem::exists(broker.dir() / "stranger-0"));
  CHECK(std::filesystem::exists(broker.dir() / "quarantine"));
  REQUIRE(broker.catalog().Problems().size() == 1);
  CHECK_THAT(broker.catalog().Problems()[0], Catch::Matchers::Contains("stranger-0"));
  CHECK(ReadValues(*broker.At("orders", 0), Offset(0)) == std::vector<std::string>{"a"});
}

TEST_CASE("Catalog: the end of it, lost with the frontier, took a topic's files with it",
          "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 1).ok());
  AppendDurably(*broker.At("orders", 0), {"a"});
  const auto forgotten = broker.plane().NewPartition("forgotten");
  AppendDurably(*forgotten, {"b"});
  const bool clean = GENERATE(true, false);
  clean ? broker.StopClean() : broker.StopUnclean();
  std::filesystem::remove(broker.dir() / "frontier");
  for (int start = 0; start < 2; ++start) {  // the second finds the frontier of the first
    DataPlane plane(broker.dir().path());
    const absl::Status refused =
        Catalog::Open({plane.data_dir(), plane.map(), plane.services(), plane.clock()}, kNow)
            .status();
    INFO(refused);
    REQUIRE_FALSE(refused.ok());
    CHECK_THAT(std::string(refused.message()), Catch::Matchers::Contains("forgotten-0"));
    CHECK_THAT(std::string(refused.message()), Catch::Matchers::Contains("cairn log repair"));
    CHECK(std::filesystem::exists(broker.dir() / "forgotten-0" / "manifest"));
    CHECK_FALSE(std::filesystem::exists(broker.dir() / "quarantine"));
  }
}

TEST_CASE("Catalog: a partition whose directory is gone is offline; the others serve",
          "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 2).ok());
  AppendDurably(*broker.At("orders", 0), {"a"});
  AppendDurably(*broker.At("orders", 1), {"b"});
  const bool clean = GENERATE(true, false);
  clean ? broker.StopClean() : broker.StopUnclean();
  std::filesystem::remove_all(broker.dir() / "orders-0");
  broker.Start();
  CHECK(CodeOf(broker.At("orders", 0)->write_state()) == ErrorCode::kPartitionOffline);
  CHECK(CodeOf(Append(*broker.At("orders", 0), BatchOf({"x"})).status()) ==
        ErrorCode::kPartitionOffline);
  REQUIRE(broker.catalog().Problems().size() == 1);
  CHECK_THAT(broker.catalog().Problems()[0], Catch::Matchers::Contains("orders-0"));
  CHECK(AppendDurably(*broker.At("orders", 1), {"c"}) == Offset(1));
}

// A partition's directory that is somewhere else for a while.
class PutAside {
 public:
  explicit PutAside(std::filesystem::path directory)
      : directory_(std::move(directory)), kept_(elsewhere_.path() / "kept") {
    std::filesystem::rename(directory_, kept_);
  }
  // Stands for a disk that fails.
  void LeadNowhere() { std::filesystem::create_symlink(directory_.filename(), directory_); }
  void PutBack() {
    std::filesystem::remove(directory_);
    std::filesystem::rename(kept_, directory_);
  }

 private:
  TempDir elsewhere_;
  const std::filesystem::path directory_;
  const std::filesystem::path kept_;
};

TEST_CASE("Catalog: a partition that cannot be looked for is not called missing",
          "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 1).ok());
  AppendDurably(*broker.At("orders", 0), {"a"});
  broker.StopUnclean();
  PutAside directory(broker.dir() / "orders-0");
  directory.LeadNowhere();
  broker.Start();
  const absl::Status state = broker.At("orders", 0)->write_state();
  CHECK(CodeOf(state) == ErrorCode::kPartitionOffline);
  CHECK_THAT(std::string(state.message()), Catch::Matchers::Contains("look for"));
}

TEST_CASE("Catalog: one offline partition made every stop unclean", "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 2).ok());
  AppendDurably(*broker.At("orders", 0), {"a"});
  AppendDurably(*broker.At("orders", 1), {"b"});
  broker.StopClean();
  PutAside directory(broker.dir() / "orders-0");
  broker.Start();
  broker.StopClean();
  directory.PutBack();
  broker.Start();
  CHECK(broker.plane().data_dir().frontier().was_clean());
  CHECK(ReadValues(*broker.At("orders", 0), Offset(0)) == std::vector<std::string>{"a"});
  CHECK(AppendDurably(*broker.At("orders", 0), {"c"}) == Offset(1));
  CHECK(AppendDurably(*broker.At("orders", 1), {"d"}) == Offset(1));
}

TEST_CASE("Catalog: a log that could not be opened is not clean after a clean stop",
          "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 1).ok());
  AppendDurably(*broker.At("orders", 0), {"a"});
  broker.StopUnclean();
  const std::filesystem::path directory = broker.dir() / "orders-0";
  std::ofstream(directory / "00000000000000000000.log", std::ios::app) << "a torn batch";
  PutAside aside(directory);
  aside.LeadNowhere();
  broker.Start();
  broker.StopClean();
  aside.PutBack();
  broker.Start();
  CHECK(broker.plane().data_dir().frontier().was_clean());
  INFO(broker.At("orders", 0)->write_state());
  CHECK(AppendDurably(*broker.At("orders", 0), {"b"}) == Offset(1));
}

TEST_CASE("Catalog: ten thousand partitions cost no files and start quickly", "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("wide", 10'000).ok());
  AppendDurably(*broker.At("wide", 9'999), {"last"});
  broker.Restart(/*clean=*/true);
  CHECK(broker.plane().map().Load()->partition_count() == 10'000 + 1 + 16);  // and the broker's own
  CHECK(ReadValues(*broker.At("wide", 9'999), Offset(0)) == std::vector<std::string>{"last"});
  CHECK_FALSE(std::filesystem::exists(broker.dir() / "wide-0"));
}

TEST_CASE("Catalog: segments complete in the background are sealed", "[broker][catalog]") {
  Broker broker;
  REQUIRE(broker.Create("orders", 1, {{"segment.bytes", "16384"}}).ok());
  const std::string value(1000, 'x');
  for (int i = 0; i < 64; ++i) AppendDurably(*broker.At("orders", 0), {value});
  // A sealed segment has its index on disk.
  const auto sealed = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(broker.dir() / "orders-0")) {
      if (entry.path().extension() == ".index") ++count;
    }
    return count;
  };
  CHECK(Eventually([&] { return sealed() >= 3; }));
  CHECK(broker.At("orders", 0)->state().segments >= 4);
  broker.Restart(/*clean=*/false);
  CHECK(ReadValues(*broker.At("orders", 0), Offset(0)) == std::vector<std::string>(64, value));
}

}  // namespace
}  // namespace cairn::broker
