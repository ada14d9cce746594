// Sends a thousand keyed records and tells where they went.
//
//   cairn_example_producer HOST:PORT [TOPIC]
//
// Without TOPIC it makes one of its own, and removes it again. Exits with 0 only if every record
// was acknowledged.

#include "client/producer.h"

#include <atomic>
#include <chrono>
#include <iostream>
#include <map>
#include <string>
#include <unistd.h>

#include "client/admin.h"
#include "client/cluster.h"

namespace {

using namespace std::chrono_literals;
using namespace cairn::client;

constexpr int kRecords = 1000;

absl::Status Run(const std::string& broker, const std::string& topic) {
  // One Cluster for the whole process: it holds the connection and the I/O thread.
  ClusterOptions cluster_options;
  cluster_options.broker = broker;
  cluster_options.client_id = "example-producer";
  auto cluster = Cluster::Open(cluster_options);
  if (!cluster.ok()) return cluster.status();

  ProducerOptions options;
  options.codec = cairn::Codec::kZstd;  // whole batches are packed
  options.linger = 5ms;                 // how long a record may wait for company
  auto producer = Producer::Open(*cluster, options);
  if (!producer.ok()) return producer.status();

  // Callbacks run on the cluster's I/O thread, one at a time: they must be quick. This one counts,
  // and keeps the last offset of each partition.
  std::atomic<int> delivered{0}, failed{0};
  std::map<int, std::int64_t> last_offset;
  const auto on_delivery = [&](const Delivery& delivery) {
    if (delivery.status.ok()) {
      ++delivered;
      last_offset[delivery.partition.value()] = delivery.offset.value();
    } else {
      ++failed;
      std::cerr << "not delivered: " << delivery.status << "\n";
    }
  };

  for (int i = 0; i < kRecords; ++i) {
    // Records of one key go to one partition, and stay in order there.
    const std::string key = std::to_string(i % 10) + "-sensor";
    const std::string value = std::to_string(i) + " degrees";
    ProduceRecord record;
    record.key = key;  // borrowed only during Send
    record.value = value;
    record.headers = {{"unit", "celsius"}};
    // Blocks while the producer's buffer is full; an error means that the record was not taken.
    if (absl::Status sent = (*producer)->Send(topic, record, on_delivery); !sent.ok()) return sent;
  }
  // After Flush every callback has run, so what they wrote may be read.
  if (absl::Status flushed = (*producer)->Flush(30s); !flushed.ok()) return flushed;

  for (const auto& [partition, offset] : last_offset) {
    std::cout << topic << ":" << partition << " up to offset " << offset << "\n";
  }
  std::cout << delivered << " of " << kRecords << " records delivered\n";
  if (delivered != kRecords || failed != 0) return absl::UnknownError("some were not delivered");
  return absl::OkStatus();
}

absl::Status RunOnOwnTopic(const std::string& broker) {
  ClusterOptions options;
  options.broker = broker;
  auto cluster = Cluster::Open(options);
  if (!cluster.ok()) return cluster.status();
  Admin admin(*cluster);
  const std::string topic = "example-producer-" + std::to_string(getpid());
  if (auto created = admin.CreateTopic(topic, 3, {}); !created.ok()) return created.status();
  absl::Status outcome = Run(broker, topic);
  outcome.Update(admin.DeleteTopic(topic));
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: " << argv[0] << " HOST:PORT [TOPIC]\n";
    return 2;
  }
  const absl::Status outcome = argc == 3 ? Run(argv[1], argv[2]) : RunOnOwnTopic(argv[1]);
  if (outcome.ok()) return 0;
  std::cerr << outcome << "\n";
  return 1;
}
