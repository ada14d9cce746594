#include "broker/api/handlers.h"
#include "broker/api/services.h"

namespace cairn::broker {

void HandleInitProducer(const Request& request, const wire::InitProducer& init) {
  using Outcome = absl::StatusOr<Catalog::Producer>;
  request.connection.services().catalog.InitProducer(
      ProducerId(init.producer_id()), ProducerEpoch(init.producer_epoch()),
      request.connection.services().clock.Now(),
      AnswerLater<Outcome>(
          request, [](Connection& on, std::uint64_t correlation, const Outcome& outcome) {
            on.Reply(correlation, wire::CreateProducerReady(on.builder(), outcome->id.value(),
                                                            outcome->epoch.value()));
          }));
}

}  // namespace cairn::broker
