#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "client/admin.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "tests/crash/payload.h"
#include "tests/crash/topics.h"
#include "tests/support/history.h"

namespace cairn::test {

// What the workers of a run share.
struct Scene {
  const Places& places;
  std::uint16_t port;
  std::uint64_t seed;
  bool disk_may_fail;             // before the broker ends
  std::atomic<bool> stop{false};  // no more sends, and no more passes
  Payloads payloads{};

  std::shared_ptr<client::Cluster> Connect() const;
};

// Nanoseconds of the monotonic clock.
std::int64_t MonotonicNow();

// Sends its numbered records to partitions by chance, in bursts, until told to stop.
class ProducerWorker {
 public:
  ProducerWorker(Scene& scene, int number, client::ProducerOptions options, int records_per_second);
  ~ProducerWorker() { Join(); }

  // Waits until the last send is decided. False: it took too long.
  bool Finish();
  std::vector<SentRecord> TakeHistory();

 private:
  void Run();
  void SendOne(std::int32_t place);
  void OnDelivery(std::size_t sequence, const client::Delivery& delivery);
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

  Scene& scene_;
  const int number_;
  const client::Acks acks_;
  const int records_per_second_;
  std::mt19937_64 random_;

  std::mutex mutex_;
  std::condition_variable decided_;
  std::deque<SentRecord> sent_;
  std::size_t outstanding_ = 0;

  // After what its callbacks use.
  std::unique_ptr<client::Producer> producer_;
  std::thread thread_;
};

// Reads all partitions from their beginning, through whatever happens, to the end of the run.
class ConsumerWorker {
 public:
  ConsumerWorker(Scene& scene, std::string name, client::ConsumerOptions options, bool slow);
  ~ConsumerWorker() { Finish(); }

  // Where it stands in a partition. Any thread.
  std::int64_t position(std::int32_t place) const {
    return positions_[static_cast<std::size_t>(place)];
  }
  void Finish();
  Reader TakeHistory() { return std::move(reader_); }

 private:
  void Run();
  void PublishPositions(const client::Consumer& consumer);
  void BeginAgain(client::Consumer& consumer, const client::ConsumerEvent& failure);

  Scene& scene_;
  const client::ConsumerOptions options_;
  const bool slow_;
  std::atomic<bool> over_{false};
  std::vector<std::atomic<std::int64_t>> positions_;
  Reader reader_;
  std::thread thread_;
};

// Reads again and again from somewhere up to the end of that moment, asks for ends, and trims.
class Auditor {
 public:
  explicit Auditor(Scene& scene);
  ~Auditor() { Finish(); }

  void Finish();
  Reader TakeReader() { return std::move(reader_); }
  std::vector<EndRead> TakeEndReads() { return std::move(end_reads_); }

 private:
  void Run();
  bool AskForEnds();
  void Trim();
  void ReadOnce();
  std::vector<client::Assignment> ChooseStarts();

  Scene& scene_;
  const std::shared_ptr<client::Cluster> cluster_;
  client::Admin admin_;
  std::mt19937_64 random_;
  std::vector<std::int64_t> starts_, ends_;  // as last heard
  Reader reader_;
  std::vector<EndRead> end_reads_;
  std::thread thread_;
};

// Writes down what a poll brought. A partition whose failure is excused is released.
using Excuse = std::function<bool(std::int32_t place, const absl::Status& why)>;
void Note(const Scene& scene, const client::PolledRecords& polled, const Excuse& excuse,
          Reader& reader);

}  // namespace cairn::test
