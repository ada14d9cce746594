// Reads a topic from its start to its present end, then replays a part of it.
//
//   cairn_example_consumer HOST:PORT [TOPIC]
//
// Without TOPIC it makes and fills one of its own, and removes it again. Exits with 0 only if the
// offsets of every partition came in order, the replay gave the same records, and the number of
// records is what the broker says it holds.

#include "client/consumer.h"

#include <chrono>
#include <iostream>
#include <map>
#include <string>
#include <unistd.h>

#include "client/admin.h"
#include "client/cluster.h"
#include "client/producer.h"

namespace {

using namespace std::chrono_literals;
using namespace cairn::client;
using cairn::Offset;
using cairn::PartitionIndex;

constexpr Duration kPatience = 30s;

// A value by partition and offset.
using Seen = std::map<std::pair<int, std::int64_t>, std::string>;

// Reads until every assignment has ended.
absl::Status ReadAll(Consumer& consumer, Seen& seen) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::map<int, std::int64_t> last;
  while (!consumer.finished()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return absl::DeadlineExceededError("the end was not reached in time");
    }
    // Records borrow from what Poll returned: they live as long as `polled`.
    auto polled = consumer.Poll(1s);
    if (!polled.ok()) return polled.status();
    for (const ConsumedRecord& record : polled->records()) {
      const int partition = record.partition.value();
      const std::int64_t offset = record.offset.value();
      if (last.contains(partition) && offset <= last[partition]) {
        return absl::DataLossError("offsets do not go up");
      }
      last[partition] = offset;
      seen[{partition, offset}] = std::string(record.value.value_or("(null)"));
    }
    for (const ConsumerEvent& event : polled->events()) {
      if (event.kind == ConsumerEvent::Kind::kFailed) return event.status;
      if (event.kind == ConsumerEvent::Kind::kEnd) {
        std::cout << event.topic << ":" << event.partition.value() << " is read to its end\n";
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Run(const std::shared_ptr<Cluster>& cluster, const std::string& topic) {
  Admin admin(cluster);
  const auto offsets = admin.Offsets(topic);
  if (!offsets.ok()) return offsets.status();
  std::int64_t held = 0;
  std::vector<Assignment> assignments;
  for (const OffsetsOfPartition& partition : *offsets) {
    held += partition.committed_end - partition.log_start;
    Assignment assignment;
    assignment.topic = topic;
    assignment.partition = partition.partition;
    assignment.start = StartPosition::Earliest();
    assignment.stop_before = partition.committed_end;  // without it: go on for ever
    assignments.push_back(assignment);
  }

  auto consumer = Consumer::Open(cluster, ConsumerOptions());
  if (!consumer.ok()) return consumer.status();
  if (auto assigned = (*consumer)->Assign(assignments, kPatience); !assigned.ok()) return assigned;
  Seen first;
  if (auto read = ReadAll(**consumer, first); !read.ok()) return read;
  std::cout << first.size() << " records read, the broker holds " << held << "\n";
  if (static_cast<std::int64_t>(first.size()) != held) {
    return absl::DataLossError("that is not the same number");
  }

  // A seek works at any time, also after the end.
  for (const OffsetsOfPartition& partition : *offsets) {
    const Offset middle((partition.log_start.value() + partition.committed_end.value()) / 2);
    auto sought = (*consumer)->Seek(topic, partition.partition, StartPosition::At(middle));
    if (!sought.ok()) return sought;
  }
  Seen replay;
  if (auto read = ReadAll(**consumer, replay); !read.ok()) return read;
  for (const auto& [place, value] : replay) {
    if (!first.contains(place) || first[place] != value) {
      return absl::DataLossError("the replay differs");
    }
  }
  std::cout << replay.size() << " records replayed, all the same\n";
  return absl::OkStatus();
}

absl::Status Fill(const std::shared_ptr<Cluster>& cluster, const std::string& topic) {
  auto producer = Producer::Open(cluster, ProducerOptions());
  if (!producer.ok()) return producer.status();
  for (int i = 0; i < 1000; ++i) {
    const std::string value = "record " + std::to_string(i);
    ProduceRecord record;
    record.value = value;
    record.partition = PartitionIndex(i % 2);
    if (auto sent = (*producer)->Send(topic, record); !sent.ok()) return sent;
  }
  return (*producer)->Flush(kPatience);
}

absl::Status RunOnOwnTopic(const std::shared_ptr<Cluster>& cluster) {
  Admin admin(cluster);
  const std::string topic = "example-consumer-" + std::to_string(getpid());
  if (auto created = admin.CreateTopic(topic, 2, {}); !created.ok()) return created.status();
  absl::Status outcome = Fill(cluster, topic);
  if (outcome.ok()) outcome = Run(cluster, topic);
  outcome.Update(admin.DeleteTopic(topic));
  return outcome;
}

absl::Status Main(const std::string& broker, const char* topic) {
  ClusterOptions options;
  options.broker = broker;
  options.client_id = "example-consumer";
  const auto cluster = Cluster::Open(options);
  if (!cluster.ok()) return cluster.status();
  return topic == nullptr ? RunOnOwnTopic(*cluster) : Run(*cluster, topic);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: " << argv[0] << " HOST:PORT [TOPIC]\n";
    return 2;
  }
  const absl::Status outcome = Main(argv[1], argc == 3 ? argv[2] : nullptr);
  if (outcome.ok()) return 0;
  std::cerr << outcome << "\n";
  return 1;
}
