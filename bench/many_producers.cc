#include <vector>

#include "absl/strings/str_format.h"

#include "bench/limits/epoll.h"
#include "bench/many_options.h"
#include "bench/wire_connection.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

using Clock = std::chrono::steady_clock;

wire::Acks AcksOf(const std::string& name) {
  if (name == "written") return wire::Acks::Written;
  if (name == "durable") return wire::Acks::Durable;
  return wire::Acks::Default;
}

// All producers in one thread: each sends its record when its last one is acknowledged.
class OneEach {
 public:
  OneEach(const ManyOptions& options, Target& target)
      : options_(options), target_(target), end_(Clock::now()) {}

  absl::Status Open() {
    ASSIGN_OR_RETURN(const auto topic, target_.admin().DescribeTopic(target_.topic()));
    ASSIGN_OR_RETURN(Epoll epoll, Epoll::Make());
    epoll_.emplace(std::move(epoll));
    for (int i = 0; i < options_.count; ++i) {
      ASSIGN_OR_RETURN(WireConnection connection, WireConnection::Open(target_.address()));
      producers_.push_back({.connection = std::move(connection), .frame = {}, .sent = {}});
      WireConnection::MakeProduce(topic.id, PartitionIndex(i % options_.target.partitions),
                                  AcksOf(options_.load.acks), options_.load.record_bytes,
                                  producers_.back().frame);
      RETURN_IF_ERROR(
          epoll_->Add(producers_.back().connection.descriptor(), static_cast<std::uint32_t>(i)));
    }
    return absl::OkStatus();
  }

  absl::Status Run(Window& window) {
    const auto open_at = Clock::now() + options_.window.warm_up_length();
    end_ = open_at + options_.window.length();
    for (Producer& producer : producers_) RETURN_IF_ERROR(SendNext(producer, Clock::now()));
    for (auto now = Clock::now(); now < end_; now = Clock::now()) {
      if (!window.open() && now >= open_at) window.Open(counts_);
      ASSIGN_OR_RETURN(const auto events, epoll_->Wait());
      for (const epoll_event& event : events) {
        RETURN_IF_ERROR(Acknowledged(producers_[event.data.u32], window));
      }
    }
    window.Close(counts_);
    return absl::OkStatus();
  }

  const Histogram& latency() const { return latency_; }

 private:
  struct Producer {
    WireConnection connection;
    Bytes frame;
    Clock::time_point sent;
  };

  absl::Status SendNext(Producer& producer, Clock::time_point now) {
    producer.sent = now;
    return producer.connection.Send(producer.frame);
  }

  absl::Status Acknowledged(Producer& producer, const Window& window) {
    RETURN_IF_ERROR(producer.connection.Receive().status());
    const auto now = Clock::now();
    if (window.open()) latency_.Record(now - producer.sent);
    ++counts_.records;
    counts_.bytes += static_cast<std::int64_t>(options_.load.record_bytes);
    return SendNext(producer, now);
  }

  const ManyOptions& options_;
  Target& target_;
  std::optional<Epoll> epoll_;
  std::vector<Producer> producers_;
  Clock::time_point end_;
  Window::Counts counts_;
  Histogram latency_;
};

}  // namespace

absl::StatusOr<Report> ManyProducers(const ManyOptions& options) {
  if (options.count == 0) return absl::InvalidArgumentError("--count 0: nobody would send");
  ASSIGN_OR_RETURN(const auto target, Target::Open(options.target));
  OneEach producers(options, *target);
  RETURN_IF_ERROR(producers.Open());
  Window window(options.window, *target, "one record each");
  RETURN_IF_ERROR(producers.Run(window));
  Report report = ReportOf(options, "producers");
  report.latency.Add(producers.latency());
  window.AddTo(report);
  report.figures["requests_per_second"] = report.figures["records_per_second"];
  report.AddLatency();
  report.summary = absl::StrFormat(
      "%d producers, one record each: %.0f/s, %.3f ms 50th, %.3f ms 99th", options.count,
      report.figures["requests_per_second"].get<double>(),
      Milliseconds(report.latency.Percentile(50)), Milliseconds(report.latency.Percentile(99)));
  return report;
}

}  // namespace cairn::bench
