// Uses every public class without a broker, so that each must be found by the linker.

#include <iostream>

#include "client/admin.h"
#include "client/cluster.h"
#include "client/consumer.h"
#include "client/producer.h"

#ifdef ASIO_HPP
#error "a public header includes Asio"
#endif

int main() {
  using namespace cairn::client;
  ClusterOptions options;
  options.broker = "no port";
  if (!absl::IsInvalidArgument(Cluster::Open(options).status())) return 1;

  options.broker = "127.0.0.1:1";  // nobody listens there
  auto cluster = Cluster::Open(options);
  if (!cluster.ok()) return 1;
  auto producer = Producer::Open(*cluster, ProducerOptions());
  auto consumer = Consumer::Open(*cluster, ConsumerOptions());
  if (!producer.ok() || !consumer.ok() || !(*consumer)->finished()) return 1;
  Admin admin(*cluster, Duration(50));
  const absl::Status status = admin.Status().status();
  if (!absl::IsDeadlineExceeded(status)) return 1;
  std::cout << "as it should be, without a broker: " << status << "\n";
  return 0;
}
