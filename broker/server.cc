#include "broker/server.h"

#include <algorithm>
#include <future>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/runtime/logging.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/internal_topics.h"

namespace cairn::broker {
namespace {

// How many of those who are too many are told so at a time; the others only find it closed.
constexpr std::int64_t kTurnedAwayMax = 128;
constexpr std::int64_t kUnfinishedBytesLeast = 256 << 20;

// A quarter of the machine's memory.
std::int64_t UnfinishedBytesMax() {
  const std::int64_t memory = std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  return std::max(memory / 4, kUnfinishedBytesLeast);
}

}  // namespace

Server::Server(const ServerOptions& options)
    : options_(options),
      count_(options.unfinished_bytes_max > 0 ? options.unfinished_bytes_max
                                              : UnfinishedBytesMax()) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  auto server = std::unique_ptr<Server>(new Server(options));
  RETURN_IF_ERROR(server->OpenRooms());
  server->OpenDoors();
  return server;
}

absl::Status Server::OpenRooms() {
  facts_.software = "cairnd/" CAIRN_VERSION;
  facts_.started = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(shares_, DescriptorShares::Derive());
  turned_away_max_ = static_cast<int>(std::min(shares_.connections / 8, kTurnedAwayMax));
  connections_max_ = static_cast<int>(shares_.connections) - turned_away_max_;
  if (options_.connections_max > 0) {
    connections_max_ = std::min(connections_max_, options_.connections_max);
  }
  workers_ = std::make_unique<Workers>(options_.threads);
  const auto last_written = storage::DataDir::LastWritten(options_.data_dir);
  ASSIGN_OR_RETURN(data_dir_, storage::DataDir::Open(options_.data_dir,
                                                     {.reserve_bytes = options_.reserve_bytes}));
  clock_ = std::make_unique<AppendClock>(options_.clocks, last_written);
  disk_usage_ = std::make_unique<DiskUsage>(*data_dir_);
  // A port that is taken is known before hours of recovery, not after.
  ASSIGN_OR_RETURN(listener_, Listener::Open(workers_->at(0).context(), options_.listen));

  helpers_ = std::make_unique<HelperPool>();
  open_files_ = std::make_unique<OpenFiles>(shares_.files, *helpers_);
  flusher_ = std::make_unique<Flusher>(*data_dir_, metrics_);
  Cleaner::Options cleaning = options_.cleaner;
  if (!cleaning.clock) {
    cleaning.clock = [this] {
      const AppendClock::Ages ages = clock_->ForAges();
      return storage::CompactionTime(ages.now, ages.trusted);
    };
  }
  cleaner_ = std::make_unique<Cleaner>(map_, std::move(cleaning));
  janitor_ = std::make_unique<Janitor>(
      map_, Janitor::Options{.retention_interval = options_.retention_interval,
                             .clock = clock_.get(),
                             .open_files = open_files_.get()});
  // A full disk is a reason to look at once for what retention does not keep.
  space_keeper_ = std::make_unique<SpaceKeeper>(
      *data_dir_, SpaceKeeper::Options{.on_short = [this] { janitor_->RetainSoon(); }});
  space_keeper_->Start();
  flusher_->Start();  // the catalog may have to write
  ASSIGN_OR_RETURN(
      catalog_,
      Catalog::Open({.data_dir = *data_dir_,
                     .map = map_,
                     .partitions = {*flusher_, *helpers_, *janitor_, *open_files_, metrics_},
                     .clock = *clock_},
                    clock_->Now()));
  groups_ = std::make_unique<GroupCoordinator>(map_, *helpers_, *clock_);
  groups_->Start(map_.Load()->Find(storage::kGroupsId)->partitions);
  catalog_->SetOnTopicChange(
      [this](const TopicId& id, const std::string& name) { groups_->TopicChanged(id, name); });
  // What it has to do with what was found can wait until all of it was.
  janitor_->Start();
  scrubber_ = std::make_unique<Scrubber>(map_, options_.data_dir, options_.scrub);
  scrubber_->Start();
  if (!data_dir_->frontier_damage().ok()) {
    facts_.problems.emplace_back(data_dir_->frontier_damage().message());
  }
  cleaner_->Start();
  return absl::OkStatus();
}

void Server::OpenDoors() {
  services_ = std::make_unique<Services>(Services{.partitions = map_,
                                                  .catalog = *catalog_,
                                                  .groups = *groups_,
                                                  .helpers = *helpers_,
                                                  .data_dir = *data_dir_,
                                                  .clock = *clock_,
                                                  .disk_usage = *disk_usage_,
                                                  .scrubber = *scrubber_,
                                                  .connections = count_,
                                                  .facts = facts_});
  for (int i = 0; i < workers_->size(); ++i) {
    tables_.push_back(std::make_unique<ConnectionTable>(workers_->at(i).context(), *services_,
                                                        count_, options_.connections));
  }
  serving_ = true;
  workers_->Start();
  listener_->Start([this](int descriptor) { TakeIn(descriptor); });
  groups_->Open();
  LogInfo("serving", {{"endpoint", endpoint()},
                      {"data_dir", options_.data_dir.string()},
                      {"threads", workers_->size()},
                      {"connections_max", connections_max_},
                      {"clean_start", catalog_->clean_start()}});
}

void Server::TakeIn(int descriptor) {
  Worker& worker = workers_->Next();
  ConnectionTable& table = *tables_[static_cast<std::size_t>(worker.index())];
  const bool room = count_.served.fetch_add(1, std::memory_order_relaxed) < connections_max_;
  std::atomic<int>& counter = room ? count_.served : count_.turned_away;
  if (!room) {
    count_.served.fetch_sub(1, std::memory_order_relaxed);
    Count(metrics_.connections_refused);
    if (counter.fetch_add(1, std::memory_order_relaxed) >= turned_away_max_) {
      counter.fetch_sub(1, std::memory_order_relaxed);
      ::close(descriptor);
      return;
    }
  }
  auto stream = Stream::Adopt(worker.context(), descriptor);
  if (!stream.ok()) {
    counter.fetch_sub(1, std::memory_order_relaxed);
    LogWarning("connection not taken", {{"error", stream.status()}});
    return;
  }
  if (room) return table.Adopt(*std::move(stream));
  table.TurnAway(*std::move(stream),
                 MakeError(ErrorCode::kTooManyConnections,
                           absl::StrFormat("this broker serves %d connections already, the most it "
                                           "may; close some, or raise its limit of open files",
                                           connections_max_)));
}

Server::~Server() {
  if (serving_) {
    const absl::Status stopped = Stop();
    if (!stopped.ok()) LogError("stopped uncleanly", {{"error", stopped}});
  }
}

absl::Status Server::Stop() {
  if (!serving_) return absl::OkStatus();
  serving_ = false;
  LogInfo("stopping", {{"connections", connections()}});
  StopDoors();
  workers_->StopAndJoin();
  scrubber_->Stop();
  groups_->Stop(MakeError(ErrorCode::kStopping, "the broker is stopping"));
  helpers_->Stop();
  cleaner_->Stop();
  space_keeper_->Stop();
  janitor_->Stop();
  flusher_->Stop();
  RunLeftovers();
  const absl::Status closed = catalog_->CloseClean();
  if (closed.ok()) LogInfo("stopped", {});
  return closed;
}

void Server::StopDoors() {
  std::promise<void> closed;
  listener_->Stop([&closed] { closed.set_value(); });
  closed.get_future().wait();

  std::vector<std::promise<void>> emptied(tables_.size());
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    tables_[i]->Stop(MakeError(ErrorCode::kStopping, "the broker is stopping"),
                     options_.stop_patience, [&, i] { emptied[i].set_value(); });
  }
  for (std::promise<void>& table : emptied) table.get_future().wait();
}

void Server::RunLeftovers() {
  // What was posted to connections that had closed by then does nothing, but it holds them.
  for (int i = 0; i < workers_->size(); ++i) {
    workers_->at(i).context().restart();
    workers_->at(i).context().poll();
  }
}

}  // namespace cairn::broker
