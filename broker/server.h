#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "broker/api/connection_table.h"
#include "broker/api/services.h"
#include "broker/catalog/catalog.h"
#include "broker/groups/coordinator.h"
#include "broker/net/listener.h"
#include "broker/partitions/cleaner.h"
#include "broker/partitions/flusher.h"
#include "broker/partitions/janitor.h"
#include "broker/partitions/open_files.h"
#include "broker/partitions/partition_map.h"
#include "broker/partitions/scrubber.h"
#include "broker/partitions/space_keeper.h"
#include "broker/runtime/append_clock.h"
#include "broker/runtime/helper_pool.h"
#include "broker/runtime/metrics.h"
#include "broker/runtime/worker.h"
#include "storage/data_dir.h"

namespace cairn::broker {

struct ServerOptions {
  std::filesystem::path data_dir = "cairn-data";
  Listener::Options listen{.address = {.host = "127.0.0.1", .port = kDefaultPort}};
  int threads = 0;          // 0: one for each core
  int connections_max = 0;  // 0: what the descriptors allow
  // What connections may hold of frames that have not arrived whole; 0: a quarter of the memory.
  std::int64_t unfinished_bytes_max = 0;
  // See storage::DataDirOptions.
  std::optional<std::int64_t> reserve_bytes = 0;
  ConnectionTable::Options connections;
  Cleaner::Options cleaner;
  std::chrono::milliseconds retention_interval{std::chrono::minutes(1)};
  AppendClock::Sources clocks = AppendClock::OfThisMachine();
  Scrubber::Options scrub;
  // How long clients may take to leave when the broker stops.
  std::chrono::milliseconds stop_patience{2000};
};

// The running broker: builds the rooms from the ground up and stops them in reverse.
//
// Threads: Start, Stop and the destructor from one thread, which is none of its own.
class Server {
 public:
  // Recovers what is in the data directory and serves. When it returns, clients are answered.
  // Errors are those of DataDir::Open, Listener::Open and Catalog::Open.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  // Stops if that was not done.
  ~Server();

  // No more requests; what was accepted is made durable and answered; clients get a moment to
  // leave; every log is closed cleanly. An error says what could not be: the next start will
  // recover.
  absl::Status Stop();

  // "127.0.0.1:40112", with the port that is really in use.
  const std::string& endpoint() const { return listener_->endpoint(); }
  std::uint16_t port() const { return listener_->port(); }
  int connections() const { return count_.served.load(); }

 private:
  explicit Server(const ServerOptions& options);

  absl::Status OpenRooms();
  void OpenDoors();
  void TakeIn(int descriptor);
  void StopDoors();
  void RunLeftovers();

  const ServerOptions options_;
  DescriptorShares shares_;
  int connections_max_ = 0;
  ServerFacts facts_;
  ConnectionCount count_;
  int turned_away_max_ = 0;
  Metrics metrics_;

  // Destroyed in reverse. The workers' loops come first since connections, which whoever owes them
  // an answer may hold, must not outlive them.
  std::unique_ptr<Workers> workers_;
  std::unique_ptr<storage::DataDir> data_dir_;
  std::unique_ptr<AppendClock> clock_;
  std::unique_ptr<DiskUsage> disk_usage_;
  std::shared_ptr<Listener> listener_;
  std::unique_ptr<HelperPool> helpers_;
  std::unique_ptr<OpenFiles> open_files_;
  std::unique_ptr<Flusher> flusher_;
  PartitionMap map_;
  std::unique_ptr<Janitor> janitor_;
  std::unique_ptr<Cleaner> cleaner_;
  std::unique_ptr<SpaceKeeper> space_keeper_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<GroupCoordinator> groups_;
  std::unique_ptr<Scrubber> scrubber_;
  std::unique_ptr<Services> services_;
  std::vector<std::unique_ptr<ConnectionTable>> tables_;
  bool serving_ = false;
};

}  // namespace cairn::broker
