#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>

#include <catch2/catch.hpp>

#include "client/partition_queue.h"
#include "protocol/error_code.h"

// Random traffic between a PartitionQueue and a model of one broker partition, with lost requests,
// lost answers, broken connections whose last requests still arrive later, refusals of every kind,
// a broker that forgets producers, and expiry.
namespace cairn::client {
namespace {

using namespace std::chrono_literals;
using Outcome = Delivery::Outcome;

struct Sent {
  std::uint64_t serial;
  int name;  // of the batch
  std::int32_t records;
  ProducerIdentity identity;
  std::int32_t sequence;
};

// One partition, with the rule of the last five batches.
class ModelBroker {
 public:
  PartitionQueue::Answer Append(const Sent& batch) {
    Producer& producer = producers_[batch.identity.id.value()];
    if (!producer.known && batch.sequence != 0) return Refuse(ErrorCode::kUnknownProducer);
    if (producer.known && batch.identity.epoch < producer.epoch) {
      return Refuse(ErrorCode::kStaleProducerEpoch);
    }
    const bool same_epoch = producer.known && batch.identity.epoch == producer.epoch;
    if (same_epoch) {
      for (const auto& [sequence, records, offset] : producer.last) {
        if (sequence == batch.sequence && records == batch.records) return Appended(offset);
      }
    }
    const std::int32_t expected = same_epoch ? producer.next : 0;
    if (batch.sequence != expected) return Refuse(ErrorCode::kOutOfOrderSequence);
    if (!same_epoch) producer.last.clear();
    producer.known = true;
    producer.epoch = batch.identity.epoch;
    producer.next = batch.sequence + batch.records;
    const auto offset = static_cast<std::int64_t>(log_.size());
    producer.last.push_back({batch.sequence, batch.records, offset});
    if (producer.last.size() > 5) producer.last.pop_front();
    for (int i = 0; i < batch.records; ++i) log_.push_back(batch.name);
    return Appended(offset);
  }
  void Forget() { producers_.clear(); }
  const std::vector<int>& log() const { return log_; }

  static PartitionQueue::Answer Refuse(ErrorCode code) {
    return {.status = MakeError(code, NameOf(code))};
  }
  static PartitionQueue::Answer Appended(std::int64_t offset) {
    return {.status = absl::OkStatus(),
            .base_offset = Offset(offset),
            .durability = Durability::kDurable};
  }

 private:
  struct Producer {
    bool known = false;
    ProducerEpoch epoch{-1};
    std::int32_t next = 0;
    std::deque<std::tuple<std::int32_t, std::int32_t, std::int64_t>> last;
  };
  std::map<std::int64_t, Producer> producers_;
  std::vector<int> log_;
};

struct Mischief {
  int cut = 0, refuse = 0, reject = 0, forget = 0;  // in a thousand steps
  bool expire = false;
};

class World {
 public:
  World(std::uint32_t seed, const Mischief& mischief)
      : random_(seed), mischief_(mischief), queue_({.in_flight_max = 1 + Below(5)}) {}

  void Run(int batches) {
    for (int step = 0; step < 100'000 && (name_ < batches || !queue_.idle()); ++step) {
      now_ += 1ms;
      if (name_ < batches && Below(3) == 0) Push();
      if (Chance(mischief_.cut)) Cut();
      if (Chance(mischief_.forget)) broker_.Forget();
      if (queue_.needs_identity() && Below(4) == 0) {
        queue_.OnIdentity({ProducerId(1), ProducerEpoch(epoch_++)});
      }
      Send();
      if (!to_broker_.empty() && Below(2) == 0) BrokerReads();
      if (!late_.empty() && Below(4) == 0) LateRequestArrives();
      if (!to_client_.empty() && Below(2) == 0) ClientReads();
      if (mischief_.expire) queue_.Expire(now_);
      TakeSettled();
    }
    while (!late_.empty()) LateRequestArrives();
    REQUIRE(queue_.idle());
  }

  void Check() const {
    CHECK(deliveries_.size() == static_cast<std::size_t>(name_));
    std::map<int, std::int32_t> in_log;
    int last = -1;
    bool in_order = true;
    for (const int name : broker_.log()) {
      in_order = in_order && name >= last;
      last = name;
      ++in_log[name];
    }
    CHECK(in_order);
    for (const auto& [name, delivery] : deliveries_) {
      const std::int32_t found = in_log.contains(name) ? in_log[name] : 0;
      const std::int32_t records = records_.at(name);
      INFO("batch " << name);
      switch (delivery.outcome) {
        case Outcome::kAppended:
          CHECK(found == records);
          CHECK(broker_.log()[static_cast<std::size_t>(delivery.offset)] == name);
          break;
        case Outcome::kRefused:
          CHECK(found == 0);
          break;
        case Outcome::kUnknown:
          CHECK((found == 0 || found == records));
          break;
      }
    }
  }

  std::map<Outcome, int> Tally() const {
    std::map<Outcome, int> tally;
    for (const auto& [name, delivery] : deliveries_) ++tally[delivery.outcome];
    return tally;
  }

 private:
  struct Told {
    Outcome outcome;
    std::int64_t offset;
  };

  int Below(int n) { return static_cast<int>(random_() % static_cast<std::uint32_t>(n)); }
  bool Chance(int in_a_thousand) { return Below(1000) < in_a_thousand; }

  void Push() {
    auto batch = std::make_unique<Batch>();
    batch->record_count = 1 + Below(4);
    batch->generation = static_cast<std::uint64_t>(name_);
    batch->deadline = mischief_.expire ? now_ + std::chrono::milliseconds(20 + Below(200))
                                       : PartitionQueue::TimePoint::max();
    records_[name_++] = batch->record_count;
    queue_.Push(std::move(batch));
  }
  void Cut() {
    // What the kernel already had may reach the broker later, while a new connection is at work; a
    // part of it never does.
    while (!to_broker_.empty() && Below(3) != 0) {
      late_.push_back(to_broker_.front());
      to_broker_.pop_front();
    }
    to_broker_.clear();
    to_client_.clear();
    queue_.OnDisconnected();
  }
  void Send() {
    while (const auto to_send = queue_.NextToSend(now_)) {
      to_broker_.push_back({to_send->serial, static_cast<int>(to_send->batch->generation),
                            to_send->batch->record_count, to_send->identity,
                            to_send->base_sequence});
    }
  }
  PartitionQueue::Answer Judge(const Sent& sent) {
    if (rejected_.contains(sent.name)) return ModelBroker::Refuse(ErrorCode::kTooLarge);
    if (Chance(mischief_.reject) && !judged_.contains(sent.name)) {
      rejected_.insert(sent.name);  // for its own fault: now and for ever
      return ModelBroker::Refuse(ErrorCode::kTooLarge);
    }
    judged_.insert(sent.name);
    if (Chance(mischief_.refuse)) return ModelBroker::Refuse(ErrorCode::kStorageFull);
    return broker_.Append(sent);
  }
  void BrokerReads() {
    const Sent sent = to_broker_.front();
    to_broker_.pop_front();
    // Answers overtake one another.
    const auto at = static_cast<std::ptrdiff_t>(
        to_client_.empty() ? 0 : static_cast<std::size_t>(Below(2)) * to_client_.size());
    to_client_.insert(to_client_.begin() + at, {sent.serial, Judge(sent)});
  }
  void LateRequestArrives() {
    const Sent sent = late_.front();
    late_.pop_front();
    Judge(sent);  // nobody is there for the answer
  }
  void ClientReads() {
    const auto [serial, answer] = to_client_.front();
    to_client_.pop_front();
    queue_.OnAnswer(serial, answer, now_);
  }
  void TakeSettled() {
    for (auto& settled : queue_.TakeSettled()) {
      const int name = static_cast<int>(settled.batch->generation);
      CHECK(!deliveries_.contains(name));
      if (settled.outcome == Outcome::kAppended) {
        CHECK(settled.base_offset.value() > last_offset_);
        last_offset_ = settled.base_offset.value();
      }
      deliveries_[name] = {settled.outcome, settled.base_offset.value()};
    }
  }

  std::mt19937 random_;
  const Mischief mischief_;
  PartitionQueue queue_;
  ModelBroker broker_;
  PartitionQueue::TimePoint now_{};
  std::int16_t epoch_ = 0;
  int name_ = 0;
  std::map<int, std::int32_t> records_;
  std::map<int, Told> deliveries_;
  std::set<int> rejected_, judged_;
  std::int64_t last_offset_ = -1;
  std::deque<Sent> to_broker_, late_;
  std::deque<std::pair<std::uint64_t, PartitionQueue::Answer>> to_client_;
};

}  // namespace

TEST_CASE("PartitionQueue: losses and refusals never duplicate, reorder or lose a batch",
          "[client][partition_queue][model]") {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    World world(seed, {.cut = 60, .refuse = 100});
    world.Run(200);
    world.Check();
    CHECK(world.Tally()[Outcome::kAppended] == 200);
  }
}

TEST_CASE("PartitionQueue: batches refused for their own fault take no others with them",
          "[client][partition_queue][model]") {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    World world(seed, {.refuse = 50, .reject = 50});
    world.Run(200);
    world.Check();
    CHECK(world.Tally()[Outcome::kUnknown] == 0);
  }
}

TEST_CASE("PartitionQueue: with everything going wrong each batch is told once, and truly",
          "[client][partition_queue][model]") {
  int appended = 0;
  for (std::uint32_t seed = 1; seed <= 500; ++seed) {
    INFO("seed " << seed);
    World world(seed,
                {.cut = 50, .refuse = 50, .reject = 20, .forget = 0, .expire = seed % 2 == 0});
    world.Run(200);
    world.Check();
    appended += world.Tally()[Outcome::kAppended];
  }
  CHECK(appended > 500 * 100);  // and not by giving up
}

TEST_CASE("PartitionQueue: a broker that forgets producers costs outcomes, nothing else",
          "[client][partition_queue][model]") {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    World world(seed, {.forget = 10});
    world.Run(200);
    world.Check();
  }
}

}  // namespace cairn::client
