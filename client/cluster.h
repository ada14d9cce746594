#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "client/options.h"

namespace cairn::client {

class Core;  // connections, the I/O thread and the metadata; not for users

// A broker as clients see it: one I/O thread, the connections and what is known about topics.
// Producers, consumers and admins share a Cluster and keep it alive; make one per process.
//
// Threads: everything may be called from any thread. Nothing is connected until something is asked.
class Cluster {
 public:
  //   kInvalidArgument  options.broker is not HOST:PORT
  static absl::StatusOr<std::shared_ptr<Cluster>> Open(ClusterOptions options);

  // Waits for the I/O thread to end; outstanding calls are answered with kCancelled. Not to be
  // reached from a delivery callback, which runs on that thread.
  ~Cluster();

  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // Whether a broker is there at this moment: it has answered on the connection that stands.
  bool connected() const;

  const std::shared_ptr<Core>& core() const { return core_; }

 private:
  explicit Cluster(std::shared_ptr<Core> core);

  std::shared_ptr<Core> core_;
};

}  // namespace cairn::client
