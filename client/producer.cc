#include "client/producer.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"

#include "client/detached.h"
#include "client/producer_state.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::client {

absl::StatusOr<std::unique_ptr<Producer>> Producer::Open(std::shared_ptr<Cluster> cluster,
                                                         ProducerOptions options) {
  constexpr int kInFlightMax = static_cast<int>(kProducerBatchesKept);
  if (options.in_flight_max < 1 || options.in_flight_max > kInFlightMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("in_flight_max %d: the broker remembers %d batches of a producer, so it "
                        "must be from 1 to %d",
                        options.in_flight_max, kInFlightMax, kInFlightMax));
  }
  if (options.delivery_timeout <= Duration(0) || options.linger < Duration(0)) {
    return absl::InvalidArgumentError("delivery_timeout must be positive, linger not negative");
  }
  auto state = std::make_shared<State>(cluster->core(), options);
  state->Start();
  return std::unique_ptr<Producer>(new Producer(std::move(cluster), std::move(state)));
}

Producer::Producer(std::shared_ptr<Cluster> cluster, std::shared_ptr<State> state)
    : cluster_(std::move(cluster)), state_(std::move(state)) {}

Producer::~Producer() {
  // Whoever cares about what was not delivered has called Close or Flush and read its status.
  state_->Close(Duration(0)).IgnoreError();
}

absl::Status Producer::Send(std::string_view topic, const ProduceRecord& record, OnDelivery done) {
  return state_->Send(topic, record, std::move(done));
}

absl::StatusOr<Delivery> Producer::SendAndWait(std::string_view topic,
                                               const ProduceRecord& record) {
  if (state_->OnIoThread()) {
    return absl::FailedPreconditionError("SendAndWait cannot be used in a delivery callback");
  }
  std::mutex mutex;
  std::condition_variable wake;
  std::optional<Delivery> result;
  RETURN_IF_ERROR(Send(topic, record, [&](const Delivery& delivery) {
    const std::lock_guard lock(mutex);
    result = delivery;
    result->status = Detached(delivery.status);
    wake.notify_one();  // under the lock: the waiter's stack goes away afterwards
  }));
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return result.has_value(); });
  return *std::move(result);
}

absl::Status Producer::Flush(Duration timeout) { return state_->Flush(timeout); }
absl::Status Producer::Close(Duration timeout) { return state_->Close(timeout); }

}  // namespace cairn::client
