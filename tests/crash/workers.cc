#include "tests/crash/workers.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"

namespace cairn::test {
namespace {

using namespace std::chrono_literals;
using Event = client::ConsumerEvent::Kind;
using Kind = ReadStep::Kind;

constexpr std::size_t kOutstandingMax = 3000;

void Add(Reader& reader, Kind kind, std::int32_t place, std::int64_t offset, std::int64_t to = 0) {
  reader.steps.push_back({.time = MonotonicNow(),
                          .offset = offset,
                          .value = static_cast<Value>(to),
                          .partition = place,
                          .kind = kind});
}

void AddFailure(Reader& reader, std::int32_t place, std::int64_t offset, const absl::Status& why) {
  Add(reader, Kind::kFailed, place, offset);
  reader.failures.push_back(why.ToString());
}

// Whoever outlives a disk may say so, and a reader hears of it.
bool IsFailingDisk(const Scene& scene, const absl::Status& why) {
  return scene.disk_may_fail && CodeOf(why) == ErrorCode::kStorageFailed;
}

// A reader that chose where to begin without knowing what has been trimmed since then, or taken
// back on a written topic, may be refused there.
bool BeganOutside(const Scene& scene, std::int32_t place, const absl::Status& why) {
  const PartitionRules& rules = scene.places.rules(place);
  return (CodeOf(why) == ErrorCode::kTrimmed || CodeOf(why) == ErrorCode::kOffsetOutOfRange) &&
         (rules.keeps != PartitionRules::Keeps::kAll || rules.durability == Durability::kWritten);
}

std::vector<client::Assignment> AssignAll(const Places& places) {
  std::vector<client::Assignment> assignments;
  for (std::int32_t place = 0; place < places.size(); ++place) {
    assignments.push_back({.topic = places.topic(place), .partition = places.partition(place)});
  }
  return assignments;
}

}  // namespace

std::int64_t MonotonicNow() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::shared_ptr<client::Cluster> Scene::Connect() const {
  client::ClusterOptions options;
  options.broker = absl::StrFormat("127.0.0.1:%d", port);
  options.client_id = "crash-run";
  options.backoff_min = client::Duration(2);
  options.backoff_max = client::Duration(50);
  return *client::Cluster::Open(options);
}

void Note(const Scene& scene, const client::PolledRecords& polled, const Excuse& excuse,
          Reader& reader) {
  // A poll gives records and events apart. What was trimmed stands before the records behind it;
  // every other event is the last of its partition in this poll.
  std::vector<const client::ConsumerEvent*> trimmed;
  for (const client::ConsumerEvent& event : polled.events()) {
    if (event.kind == Event::kTrimmed) trimmed.push_back(&event);
  }
  const auto add_trimmed = [&](const client::ConsumerEvent& event) {
    Add(reader, Kind::kTrimmed, scene.places.Find(event.topic, event.partition), event.from.value(),
        event.to.value());
  };
  for (const client::ConsumedRecord& record : polled.records()) {
    const auto before =
        std::find_if(trimmed.begin(), trimmed.end(), [&](const client::ConsumerEvent* event) {
          return event->partition == record.partition && event->topic == record.topic &&
                 event->to <= record.offset;
        });
    if (before != trimmed.end()) {
      add_trimmed(**before);
      trimmed.erase(before);
    }
    // Bytes that no producer made are a value that no producer sent.
    const Value value =
        scene.payloads.Parse(record.value.value_or("")).value_or(MakeValue(0xffff, 0));
    Add(reader, Kind::kRecord, scene.places.Find(record.topic, record.partition),
        record.offset.value(), static_cast<std::int64_t>(value));
  }
  for (const client::ConsumerEvent* event : trimmed) add_trimmed(*event);
  for (const client::ConsumerEvent& event : polled.events()) {
    const std::int32_t place = scene.places.Find(event.topic, event.partition);
    if (event.kind == Event::kTruncated) {
      Add(reader, Kind::kTruncated, place, event.from.value(), event.to.value());
    } else if (event.kind == Event::kFailed && excuse(place, event.status)) {
      Add(reader, Kind::kReleased, place, 0);
    } else if (event.kind == Event::kFailed) {
      AddFailure(reader, place, event.from.value(), event.status);
    }
  }
}

// ---- sending ----

ProducerWorker::ProducerWorker(Scene& scene, int number, client::ProducerOptions options,
                               int records_per_second)
    : scene_(scene),
      number_(number),
      acks_(options.acks),
      records_per_second_(records_per_second),
      random_(scene.seed * 31 + static_cast<std::uint64_t>(number)),
      producer_(*client::Producer::Open(scene.Connect(), options)),
      thread_([this] { Run(); }) {}

void ProducerWorker::Run() {
  while (!scene_.stop) {
    {
      std::unique_lock lock(mutex_);
      decided_.wait_for(lock, 20ms, [this] { return outstanding_ < kOutstandingMax; });
      if (outstanding_ >= kOutstandingMax) continue;
    }
    const auto place =
        static_cast<std::int32_t>(random_() % static_cast<std::uint64_t>(scene_.places.size()));
    const int burst = 1 + static_cast<int>(random_() % 100);
    for (int i = 0; i < burst; ++i) SendOne(place);
    std::this_thread::sleep_for(std::chrono::microseconds(1'000'000) * burst / records_per_second_);
  }
}

void ProducerWorker::SendOne(std::int32_t place) {
  const Durability of_topic = scene_.places.rules(place).durability;
  std::size_t sequence = 0;
  {
    const std::lock_guard lock(mutex_);
    sequence = sent_.size();
    SentRecord& sent = sent_.emplace_back();
    sent.partition = place;
    sent.promised = acks_ == client::Acks::kDefault   ? of_topic
                    : acks_ == client::Acks::kDurable ? Durability::kDurable
                                                      : Durability::kWritten;
    sent.invoked = MonotonicNow();
    ++outstanding_;
  }
  const std::string bytes =
      scene_.payloads.Make(MakeValue(number_, static_cast<std::int64_t>(sequence)));
  client::ProduceRecord record;
  record.value = bytes;
  const std::string key =
      absl::StrFormat("%d of %d", sequence % std::size_t{kKeysPerProducer}, number_);
  if (scene_.places.rules(place).keeps == PartitionRules::Keeps::kNewestOfKey) record.key = key;
  record.partition = scene_.places.partition(place);
  const absl::Status accepted =
      producer_->Send(scene_.places.topic(place), record,
                      [this, sequence](const client::Delivery& d) { OnDelivery(sequence, d); });
  if (accepted.ok()) return;
  client::Delivery refused;
  refused.status = accepted;
  OnDelivery(sequence, refused);
}

void ProducerWorker::OnDelivery(std::size_t sequence, const client::Delivery& delivery) {
  using From = client::Delivery::Outcome;
  const std::lock_guard lock(mutex_);
  SentRecord& sent = sent_[sequence];
  sent.outcome = delivery.outcome == From::kAppended  ? SentRecord::Outcome::kAppended
                 : delivery.outcome == From::kRefused ? SentRecord::Outcome::kRefused
                                                      : SentRecord::Outcome::kUnknown;
  sent.offset = delivery.offset.value();
  sent.returned = MonotonicNow();
  --outstanding_;
  decided_.notify_one();
}

bool ProducerWorker::Finish() {
  Join();
  return producer_->Flush(client::Duration(60'000)).ok();
}

std::vector<SentRecord> ProducerWorker::TakeHistory() {
  const absl::Status closed = producer_->Close(client::Duration(0));
  (void)closed;  // what it leaves undecided is unknown
  const std::lock_guard lock(mutex_);
  return {sent_.begin(), sent_.end()};
}

// ---- reading ----

ConsumerWorker::ConsumerWorker(Scene& scene, std::string name, client::ConsumerOptions options,
                               bool slow)
    : scene_(scene),
      options_(options),
      slow_(slow),
      positions_(static_cast<std::size_t>(scene.places.size())) {
  reader_.name = std::move(name);
  thread_ = std::thread([this] { Run(); });
}

void ConsumerWorker::Run() {
  auto consumer = *client::Consumer::Open(scene_.Connect(), options_);
  const absl::Status assigned =
      consumer->Assign(AssignAll(scene_.places), client::Duration(60'000));
  if (!assigned.ok()) return AddFailure(reader_, 0, 0, assigned);
  for (std::int32_t p = 0; p < scene_.places.size(); ++p) Add(reader_, Kind::kAssigned, p, 0);
  while (!over_) {
    auto polled = consumer->Poll(client::Duration(20), slow_ ? 300 : 10'000);
    if (!polled.ok()) {
      AddFailure(reader_, 0, 0, polled.status());
      continue;
    }
    Note(
        scene_, *polled,
        [this](std::int32_t, const absl::Status& why) { return IsFailingDisk(scene_, why); },
        reader_);
    for (const client::ConsumerEvent& event : polled->events()) {
      if (event.kind == Event::kFailed && IsFailingDisk(scene_, event.status)) {
        BeginAgain(*consumer, event);
      }
    }
    PublishPositions(*consumer);
    if (slow_ && !scene_.stop) std::this_thread::sleep_for(10ms);
  }
}

void ConsumerWorker::PublishPositions(const client::Consumer& consumer) {
  for (std::int32_t place = 0; place < scene_.places.size(); ++place) {
    const auto position =
        consumer.Position(scene_.places.topic(place), scene_.places.partition(place));
    if (position.ok() && position->has_value()) {
      positions_[static_cast<std::size_t>(place)] = (*position)->value();
    }
  }
}

void ConsumerWorker::BeginAgain(client::Consumer& consumer, const client::ConsumerEvent& failure) {
  const std::int32_t place = scene_.places.Find(failure.topic, failure.partition);
  const absl::Status sought =
      consumer.Seek(failure.topic, failure.partition, client::StartPosition::Earliest());
  if (!sought.ok()) return AddFailure(reader_, place, 0, sought);
  Add(reader_, Kind::kAssigned, place, -1);
}

void ConsumerWorker::Finish() {
  over_ = true;
  if (thread_.joinable()) thread_.join();
}

// ---- auditing ----

Auditor::Auditor(Scene& scene)
    : scene_(scene),
      cluster_(scene.Connect()),
      admin_(cluster_, client::Duration(500)),
      random_(scene.seed * 31 + 1000),
      starts_(static_cast<std::size_t>(scene.places.size())),
      ends_(starts_.size()) {
  reader_.name = "auditor";
  thread_ = std::thread([this] { Run(); });
}

void Auditor::Finish() {
  if (thread_.joinable()) thread_.join();
}

void Auditor::Run() {
  while (!scene_.stop) {
    if (!AskForEnds()) continue;
    if (random_() % 4 == 0) Trim();
    ReadOnce();
    std::this_thread::sleep_for(20ms);
  }
}

bool Auditor::AskForEnds() {
  for (std::int32_t place = 0; place < scene_.places.size(); ++place) {
    if (scene_.places.partition(place) != PartitionIndex(0)) continue;  // once per topic
    const std::int64_t invoked = MonotonicNow();
    const auto offsets = admin_.Offsets(scene_.places.topic(place));
    if (!offsets.ok()) return false;
    for (const client::OffsetsOfPartition& each : *offsets) {
      if (!each.status.ok()) continue;
      const std::int32_t at = scene_.places.Find(scene_.places.topic(place), each.partition);
      end_reads_.push_back({invoked, each.committed_end.value(), at});
      starts_[static_cast<std::size_t>(at)] = each.log_start.value();
      ends_[static_cast<std::size_t>(at)] = each.committed_end.value();
    }
  }
  return true;
}

void Auditor::Trim() {
  for (std::int32_t place = 0; place < scene_.places.size(); ++place) {
    const auto p = static_cast<std::size_t>(place);
    if (scene_.places.rules(place).keeps != PartitionRules::Keeps::kFromLogStart) continue;
    const std::int64_t length = ends_[p] - starts_[p];
    if (length < 5000) continue;
    const std::int64_t before =
        starts_[p] + static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(length));
    // Whether it was done shows in the log start; an answer may be lost.
    const auto trimmed = admin_.TrimTopic(scene_.places.topic(place),
                                          scene_.places.partition(place), Offset(before));
    (void)trimmed;
  }
}

std::vector<client::Assignment> Auditor::ChooseStarts() {
  std::vector<client::Assignment> assignments = AssignAll(scene_.places);
  for (std::size_t p = 0; p < assignments.size(); ++p) {
    const auto back = static_cast<std::int64_t>(random_() % 500);
    assignments[p].start = client::StartPosition::At(Offset(std::max(starts_[p], ends_[p] - back)));
    assignments[p].stop_at_present_end = true;
  }
  return assignments;
}

void Auditor::ReadOnce() {
  auto consumer = *client::Consumer::Open(cluster_, {});
  const std::vector<client::Assignment> assignments = ChooseStarts();
  const std::int64_t invoked = MonotonicNow();
  if (!consumer->Assign(assignments, client::Duration(500)).ok()) return;
  for (std::int32_t place = 0; place < scene_.places.size(); ++place) {
    const client::Assignment& assigned = assignments[static_cast<std::size_t>(place)];
    Add(reader_, Kind::kAssigned, place, assigned.start.value());
  }
  while (!scene_.stop && !consumer->finished()) {
    const auto polled = consumer->Poll(client::Duration(20));
    if (!polled.ok()) {
      AddFailure(reader_, 0, 0, polled.status());
      break;
    }
    Note(
        scene_, *polled,
        [this](std::int32_t place, const absl::Status& why) {
          return BeganOutside(scene_, place, why) || IsFailingDisk(scene_, why);
        },
        reader_);
    for (const client::ConsumerEvent& event : polled->events()) {
      if (event.kind != Event::kEnd) continue;
      const auto position = consumer->Position(event.topic, event.partition);
      end_reads_.push_back(
          {invoked, (*position)->value(), scene_.places.Find(event.topic, event.partition)});
    }
  }
  for (std::int32_t p = 0; p < scene_.places.size(); ++p) Add(reader_, Kind::kReleased, p, 0);
}

}  // namespace cairn::test
