#include "bench/produce_load.h"

#include <cmath>
#include <cstring>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/status.h"

namespace cairn::bench {
namespace {

constexpr std::chrono::seconds kFinishWithin{60};

client::Acks AcksOf(const std::string& name) {
  static const std::map<std::string, client::Acks> kAcks = {{"default", client::Acks::kDefault},
                                                            {"none", client::Acks::kNone},
                                                            {"written", client::Acks::kWritten},
                                                            {"durable", client::Acks::kDurable}};
  return kAcks.at(name);
}

Codec CodecOf(const std::string& name) {
  static const std::map<std::string, Codec> kCodecs = {
      {"none", Codec::kNone}, {"lz4", Codec::kLz4}, {"zstd", Codec::kZstd}};
  return kCodecs.at(name);
}

}  // namespace

void LoadOptions::AddTo(CLI::App& command) {
  command.add_option("--record-bytes", record_bytes, "Size of a value")
      ->check(CLI::Range(8, 64 << 20))
      ->capture_default_str();
  command.add_option("--keys", keys, "How many keys; 0: records have none")
      ->check(CLI::Range(0, 10'000'000))
      ->capture_default_str();
  command.add_option("--acks", acks, "What is waited for (default: the topic's durability)")
      ->check(CLI::IsMember({"default", "none", "written", "durable"}))
      ->capture_default_str();
  command.add_option("--compression", compression, "Of whole batches")
      ->check(CLI::IsMember({"none", "lz4", "zstd"}))
      ->capture_default_str();
  command.add_option("--batch-bytes", batch_bytes, "A batch is sent when it is so large")
      ->check(CLI::Range(1, 64 << 20))
      ->capture_default_str();
  command.add_option("--buffer-bytes", buffer_bytes, "Accepted and not yet acknowledged")
      ->check(CLI::Range(1 << 10, 1 << 30))
      ->capture_default_str();
  command.add_option("--linger", linger_ms, "… or so old, in ms")
      ->check(CLI::Range(0, 60'000))
      ->capture_default_str();
  command.add_option("--in-flight", in_flight, "Unacknowledged records of a producer; 0: no bound")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  command
      .add_option("--rate", rate, "Records in a second, all producers together; 0: all they can")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
}

nlohmann::ordered_json LoadOptions::ToJson() const {
  nlohmann::ordered_json json;
  json["record_bytes"] = record_bytes;
  json["keys"] = keys;
  json["acks"] = acks;
  json["compression"] = compression;
  json["batch_bytes"] = batch_bytes;
  json["buffer_bytes"] = buffer_bytes;
  json["linger_ms"] = linger_ms;
  json["in_flight"] = in_flight;
  json["rate"] = rate;
  return json;
}

ProduceLoad::ProduceLoad(const LoadOptions& options, std::string topic, int producers)
    : options_(options),
      topic_(std::move(topic)),
      every_(options.rate > 0 ? std::llround(1e9 * producers / options.rate) : 0),
      payload_(options.record_bytes, options.keys, 1),
      places_(options.in_flight) {}

absl::StatusOr<std::unique_ptr<ProduceLoad>> ProduceLoad::Open(const Target& target,
                                                               const std::string& topic,
                                                               const LoadOptions& options,
                                                               int producers) {
  ASSIGN_OR_RETURN(const auto cluster, target.Connect());
  client::ProducerOptions producer;
  producer.acks = AcksOf(options.acks);
  producer.codec = CodecOf(options.compression);
  producer.batch_bytes = options.batch_bytes;
  producer.buffer_bytes_max = options.buffer_bytes;
  producer.linger = client::Duration(options.linger_ms);
  std::unique_ptr<ProduceLoad> load(new ProduceLoad(options, topic, producers));
  ASSIGN_OR_RETURN(load->producer_, client::Producer::Open(cluster, producer));
  return load;
}

void ProduceLoad::Run(const Window& window, std::int64_t records_max) {
  window_ = &window;
  const bool paced = every_ > std::chrono::nanoseconds(0);
  const std::uint64_t timed_every =
      paced || options_.in_flight > 0 ? 1 : static_cast<std::uint64_t>(options_.latency_every);
  Clock::time_point due = Clock::now();
  for (std::uint64_t i = 0; !stop_.load(std::memory_order_relaxed); ++i) {
    if (records_max > 0 && i == static_cast<std::uint64_t>(records_max)) break;
    if (paced) {
      due += every_;
      std::this_thread::sleep_until(due);
    }
    for (std::int64_t free; options_.in_flight > 0 && (free = places_.load()) == 0;) {
      places_.wait(free);
    }
    if (options_.in_flight > 0) places_.fetch_sub(1);
    const bool timed = i % timed_every == 0;
    if (!paced && timed) due = Clock::now();
    error_ = SendOne(i, due, timed);
    if (error_.ok()) continue;
    failed_ = true;
    return;
  }
}

absl::Status ProduceLoad::SendOne(std::uint64_t number, Clock::time_point due, bool timed) {
  client::ProduceRecord record;
  record.value = payload_.value(number);
  if (stamp_) {
    stamped_ = payload_.value(number);
    const std::int64_t at = due.time_since_epoch().count();
    std::memcpy(stamped_.data(), &at, sizeof at);
    record.value = stamped_;
  }
  if (payload_.keyed()) record.key = payload_.key(number);
  if (!timed) {
    return producer_->Send(topic_, record,
                           [this](const client::Delivery& delivery) { OnDelivered(delivery); });
  }
  return producer_->Send(topic_, record, [this, due](const client::Delivery& delivery) {
    if (window_->open()) latency_.Record(Clock::now() - due);
    OnDelivered(delivery);
  });
}

void ProduceLoad::OnDelivered(const client::Delivery& delivery) {
  if (delivery.status.ok()) {
    acknowledged_.store(acknowledged_.load(std::memory_order_relaxed) + 1,
                        std::memory_order_relaxed);
  } else if (first_failure_.ok()) {
    first_failure_ = delivery.status;
    failed_ = true;
  }
  if (options_.in_flight > 0 && places_.fetch_add(1) == 0) places_.notify_one();
}

absl::Status ProduceLoad::Finish() {
  RETURN_IF_ERROR(error_);
  RETURN_IF_ERROR(producer_->Close(kFinishWithin));
  return first_failure_;
}

Window::Counts ProduceLoad::counts() const {
  const std::int64_t records = acknowledged_.load(std::memory_order_relaxed);
  const std::size_t key = payload_.keyed() ? payload_.key(0).size() : 0;
  return {records, records * static_cast<std::int64_t>(options_.record_bytes + key)};
}

absl::Status Fill(const Target& target, const std::string& topic, const LoadOptions& options,
                  std::int64_t bytes) {
  LoadOptions unpaced = options;
  unpaced.rate = 0;
  unpaced.in_flight = 0;
  ASSIGN_OR_RETURN(const auto load, ProduceLoad::Open(target, topic, unpaced));
  const Window none({}, target, "filling");
  load->Run(none,
            std::max<std::int64_t>(1, bytes / static_cast<std::int64_t>(options.record_bytes)));
  return load->Finish();
}

}  // namespace cairn::bench
