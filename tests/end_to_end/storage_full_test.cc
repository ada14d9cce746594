// A small file system that is full: producers are told so, nobody else notices, and it passes.

#include <algorithm>
#include <chrono>
#include <thread>

#include <catch2/catch.hpp>

#include "tests/end_to_end/live_broker.h"
#include "tests/support/loop_mount.h"
#include "tests/support/raw_client.h"
#include "tests/support/skip.h"

namespace cairn::test {
namespace {

constexpr std::size_t kValueBytes = 256 << 10;
constexpr int kBatchesMax = 1000;  // several times what the disk holds

// What the broker answers to batch after batch; and how long the slowest answer took.
class Producing {
 public:
  Producing(std::uint16_t port, const TopicId& topic)
      : client_(RawClient::Greeted(port)), topic_(topic) {}

  RawClient::Frame Send() {
    const auto begun = std::chrono::steady_clock::now();
    auto answer =
        client_.AskProduce(topic_, 0, MakeBatch({.first = appended_, .value_bytes = kValueBytes}));
    slowest_ = std::max(slowest_, std::chrono::duration_cast<std::chrono::milliseconds>(
                                      std::chrono::steady_clock::now() - begun));
    if (answer.kind() == wire::Body::Produced) {
      CHECK(answer.as<wire::Produced>().base_offset() == appended_);
      ++appended_;
    } else {
      REQUIRE(answer.code() == ErrorCode::kStorageFull);
    }
    return answer;
  }
  int appended() const { return appended_; }
  std::chrono::milliseconds slowest() const { return slowest_; }

 private:
  RawClient client_;
  const TopicId topic_;
  int appended_ = 0;
  std::chrono::milliseconds slowest_{0};
};

// The values from `from` to the present end.
std::vector<std::string> ReadFrom(std::uint16_t port, const TopicId& topic, std::int64_t from) {
  RawClient client = RawClient::Greeted(port);
  client.AskSubscribe(topic, 0, {.offset = from, .to_present_end = true}).as<wire::Subscribed>();
  std::vector<std::string> values;
  for (;;) {
    const auto frame = client.Take();
    if (frame.kind() != wire::Body::Batches) {
      CHECK(frame.as<wire::SubscriptionEnded>().code() == 0);
      return values;
    }
    for (const ReadRecord& record : RecordsOf(frame.attachment())) {
      CHECK(record.offset == from + static_cast<std::int64_t>(values.size()));
      values.push_back(record.value);
    }
  }
}

bool IsCalledFull(client::Admin& admin) {
  const auto status = admin.Status();
  REQUIRE(status.ok());
  return std::any_of(status->problems.begin(), status->problems.end(), [](const auto& problem) {
    return problem.find("the disk is full") != std::string::npos;
  });
}

}  // namespace

TEST_CASE("Storage full: producers are told, readers read on, and room lets them go on",
          "[end_to_end][crash]") {
  if (const auto why = LoopMount::Unavailable(LoopMount::Kind::kExt4)) {
    if (!MaySkip()) FAIL("with CI=true nothing is skipped: " << *why);
    WARN("skipped: " << *why);
    return;
  }
  const auto mount = LoopMount::Make(LoopMount::Kind::kExt4, std::int64_t{64} << 20);
  INFO(mount.status());
  REQUIRE(mount.ok());
  LiveBroker broker((*mount)->path());
  CreateTopic(broker.port(), "orders", 1, {{"segment.bytes", "4194304"}});
  client::Admin admin(ClusterAt(broker.port()));
  const TopicId topic = admin.DescribeTopic("orders")->id;
  Producing producing(broker.port(), topic);

  // Every one that is sent is answered, not kept waiting. After the first that is refused there may
  // be room for another one: the file system gives some back late.
  for (int refused = 0; refused < 20;) {
    refused = producing.Send().kind() == wire::Body::Produced ? 0 : refused + 1;
    REQUIRE(producing.appended() < kBatchesMax);
  }
  const int full_at = producing.appended();
  REQUIRE(full_at > 10);
  CHECK(IsCalledFull(admin));
  CHECK(ReadFrom(broker.port(), topic, 0).size() == static_cast<std::size_t>(full_at));

  const auto start =
      admin.TrimTopic("orders", PartitionIndex(0), Offset(std::int64_t{full_at} * 3 / 4));
  INFO(start.status());
  REQUIRE(start.ok());
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (producing.Send().kind() != wire::Body::Produced) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (int i = 0; i < 8; ++i) CHECK(producing.Send().kind() == wire::Body::Produced);
  // Nothing that was refused is there.
  CHECK(ReadFrom(broker.port(), topic, start->value()).size() ==
        static_cast<std::size_t>(producing.appended()) - static_cast<std::size_t>(start->value()));
  WARN("full after " << full_at << " batches; the slowest answer took "
                     << producing.slowest().count() << " ms");
  broker.Stop();
}

}  // namespace cairn::test
