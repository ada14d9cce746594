#include "broker/partitions/scrubber.h"

#include <atomic>
#include <fstream>

#include "tests/broker/data_plane.h"

namespace cairn::broker {
namespace {

constexpr std::int64_t kDay = 24LL * 3600 * 1000;

// Flips a bit in the first batch of a file, behind everybody's back.
void FlipAtRest(const std::filesystem::path& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(40);
  const char byte = static_cast<char>(file.get());
  file.seekp(40);
  file.put(static_cast<char>(byte ^ 0x10));
}

// Two topics, each with three sealed segments and one that grows.
struct Scrubbed {
  Scrubbed() {
    plane = std::make_unique<DataPlane>(dir.path(), DataPlane::Options());
    PartitionOptions options;
    options.log.segment_bytes = 1;
    for (const char* name : {"orders", "other"}) {
      auto topic = std::make_shared<ServedTopic>();
      topic->name = name;
      topic->partitions.push_back(plane->NewPartition(name, options));
      topic->id = topic->partitions[0]->id().topic;
      plane->map().Put(topic);
      const auto& partition = topic->partitions[0];
      for (const char* value : {"a", "b", "c", "d"}) AppendDurably(*partition, {value});
      REQUIRE(Eventually([&] { return partition->SealedSegments().size() == 3; }));
      partitions.push_back(partition);
    }
  }
  std::unique_ptr<Scrubber> Start(Scrubber::Options options = {}) {
    options.clock = [this] { return Timestamp(now.load()); };
    options.look_interval = std::chrono::milliseconds(1);
    options.bytes_per_second = std::int64_t{1} << 40;
    auto scrubber = std::make_unique<Scrubber>(plane->map(), dir.path(), std::move(options));
    scrubber->Start();
    return scrubber;
  }
  static bool Completes(const Scrubber& scrubber, std::int64_t at_least) {
    return Eventually([&] {
      const Scrubber::Progress progress = scrubber.progress();
      return !progress.running && progress.state.completed >= Timestamp(at_least);
    });
  }

  TempDir dir;
  std::atomic<std::int64_t> now{kNow.value()};
  std::unique_ptr<DataPlane> plane;
  std::vector<std::shared_ptr<Partition>> partitions;
};

TEST_CASE("Scrubber: every sealed segment is read once in an interval", "[broker][scrubber]") {
  Scrubbed scrubbed;
  const auto scrubber = scrubbed.Start();
  REQUIRE(Scrubbed::Completes(*scrubber, kNow.value()));
  CHECK(scrubber->progress().state.segments == 6);
  CHECK(scrubber->progress().state.damages == 0);
  CHECK(scrubber->progress().state.bytes > 6 * 61);
  scrubbed.now += 6 * kDay;
  scrubbed.now += kDay;
  REQUIRE(Scrubbed::Completes(*scrubber, kNow.value() + 7 * kDay));
  CHECK(scrubber->progress().state.segments == 6);
}

TEST_CASE("Scrubber: an interval shorter than a minute was taken and not kept",
          "[broker][scrubber]") {
  Scrubbed scrubbed;
  Scrubber::Options options;
  options.interval = std::chrono::milliseconds(50);
  options.bytes_per_second = std::int64_t{1} << 40;
  Scrubber scrubber(scrubbed.plane->map(), scrubbed.dir.path(), options);
  scrubber.Start();
  REQUIRE(Scrubbed::Completes(scrubber, 0));
  const Timestamp first = scrubber.progress().state.completed;
  CHECK(Scrubbed::Completes(scrubber, first.value() + 1));
}

TEST_CASE("Scrubber: a bit that flipped at rest takes its partition offline from there, no other",
          "[broker][scrubber]") {
  Scrubbed scrubbed;
  FlipAtRest(scrubbed.dir / "orders-0/00000000000000000001.log");
  const auto scrubber = scrubbed.Start();
  REQUIRE(Scrubbed::Completes(*scrubber, kNow.value()));
  CHECK(scrubber->progress().state.damages == 1);
  CHECK(scrubber->progress().state.segments == 6);
  const absl::Status state = scrubbed.partitions[0]->write_state();
  CHECK(CodeOf(state) == ErrorCode::kPartitionOffline);
  CHECK_THAT(Text(state), Catch::Contains("00000000000000000001.log, position 0: expected"));
  storage::ReadCursor cursor;
  CHECK(CodeOf(scrubbed.partitions[0]->Read(Offset(1), 1000, cursor).status()) ==
        ErrorCode::kPartitionOffline);
  CHECK(scrubbed.partitions[0]->Read(Offset(0), 1000, cursor).ok());
  CHECK(ReadValues(*scrubbed.partitions[1], Offset(0)) ==
        std::vector<std::string>{"a", "b", "c", "d"});
  CHECK(AppendDurably(*scrubbed.partitions[1], {"e"}) == Offset(4));
}

TEST_CASE("Scrubber: a restart goes on with the round, and does not begin before its time",
          "[broker][scrubber]") {
  Scrubbed scrubbed;
  // As a run leaves it that was stopped in the midst of a round.
  std::vector<TopicPartition> order{scrubbed.partitions[0]->id(), scrubbed.partitions[1]->id()};
  std::sort(order.begin(), order.end());
  REQUIRE(storage::SaveScrubState(scrubbed.dir.path(), {.round_began = kNow,
                                                        .completed = kNoTimestamp,
                                                        .segments = 2,
                                                        .bytes = 200,
                                                        .damages = 0,
                                                        .partition = order[0],
                                                        .segment_base = Offset(1)})
              .ok());
  scrubbed.now += kDay;
  auto scrubber = scrubbed.Start();
  REQUIRE(Scrubbed::Completes(*scrubber, kNow.value() + kDay));
  CHECK(scrubber->progress().state.round_began == kNow);
  CHECK(scrubber->progress().state.segments == 6);  // four of them now
  const std::int64_t bytes = scrubber->progress().state.bytes;
  CHECK(bytes < 200 + 6 * (bytes - 200) / 4);
  scrubber.reset();
  scrubbed.now += kDay;
  scrubber = scrubbed.Start();
  CHECK_FALSE(scrubber->progress().running);
  CHECK(scrubber->progress().state.completed == kNow + kDay);
  CHECK(scrubber->progress().state.round_began == kNow);
}

TEST_CASE("Scrubber: a clock that had been years ahead put off the next round for as long",
          "[broker][scrubber]") {
  Scrubbed scrubbed;
  const Timestamp ahead = kNow + 10 * 365 * kDay;
  REQUIRE(storage::SaveScrubState(scrubbed.dir.path(), {.round_began = ahead,
                                                        .completed = ahead,
                                                        .segments = 6,
                                                        .bytes = 600,
                                                        .damages = 0,
                                                        .partition = {},
                                                        .segment_base = kNoOffset})
              .ok());
  const auto scrubber = scrubbed.Start();
  REQUIRE(Eventually([&] { return scrubber->progress().state.completed == kNow; }));
  CHECK(scrubber->progress().state.round_began == kNow);
}

TEST_CASE("Scrubber: an interval of 0 is never", "[broker][scrubber]") {
  Scrubbed scrubbed;
  const auto scrubber = scrubbed.Start({.interval = std::chrono::milliseconds(0)});
  CHECK_FALSE(scrubber->progress().enabled);
  scrubber->Stop();
  CHECK(scrubber->progress().state == storage::ScrubState());
}

}  // namespace
}  // namespace cairn::broker
