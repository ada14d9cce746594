#include "client/cluster.h"

#include <utility>

#include "client/address.h"
#include "client/core.h"
#include "protocol/status.h"

namespace cairn::client {

absl::StatusOr<std::shared_ptr<Cluster>> Cluster::Open(ClusterOptions options) {
  ASSIGN_OR_RETURN(Address address, ParseAddress(options.broker));
  return std::shared_ptr<Cluster>(
      new Cluster(std::make_shared<Core>(std::move(options), std::move(address))));
}

Cluster::Cluster(std::shared_ptr<Core> core) : core_(std::move(core)) {}

bool Cluster::connected() const { return core_->connected(); }

Cluster::~Cluster() { core_->Stop(); }

}  // namespace cairn::client
