#include "broker/groups/coordinator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/runtime/logging.h"
#include "broker/runtime/parallel.h"
#include "protocol/error_code.h"
#include "protocol/group_name.h"
#include "protocol/status.h"
#include "xxhash.h"

namespace cairn::broker {
namespace {

constexpr std::size_t kReadingThreads = 4;
constexpr std::chrono::milliseconds kTick{100};
// A tick that is later than this says that the broker was held up.
constexpr std::chrono::milliseconds kHeldUp{500};

}  // namespace

GroupCoordinator::GroupCoordinator(const PartitionMap& map, HelperPool& helpers, AppendClock& clock)
    : helpers_(helpers), clock_(clock), topics_(map) {}

GroupCoordinator::~GroupCoordinator() {
  Stop(MakeError(ErrorCode::kStopping, "the broker is stopping"));
}

void GroupCoordinator::Start(const std::vector<std::shared_ptr<Partition>>& partitions) {
  const auto now = std::chrono::steady_clock::now();
  for (const std::shared_ptr<Partition>& partition : partitions) {
    shards_.push_back(std::make_shared<GroupShard>(
        GroupShard::Rooms{helpers_, topics_, clock_, sessions_}, partition));
  }
  ForEachInParallel(shards_.size(), kReadingThreads, [&](std::size_t i) {
    const absl::Status status = shards_[i]->Start(now);
    if (!status.ok()) LogError("groups cannot be read", {{"partition", i}, {"reason", status}});
  });
}

void GroupCoordinator::Open() {
  const auto now = std::chrono::steady_clock::now();
  for (const std::shared_ptr<GroupShard>& shard : shards_) shard->RestartSessions(now);
  watch_ = std::thread([this] { WatchSessions(); });
}

void GroupCoordinator::Stop(const absl::Status& why) {
  sessions_.Stop();
  if (watch_.joinable()) watch_.join();
  for (const std::shared_ptr<GroupShard>& shard : shards_) shard->Stop(why);
}

absl::StatusOr<GroupShard*> GroupCoordinator::Find(std::string_view group) {
  RETURN_IF_ERROR(CheckGroupName(group));
  const std::size_t place = XXH3_64bits(group.data(), group.size()) % shards_.size();
  RETURN_IF_ERROR(shards_[place]->status());
  return shards_[place].get();
}

GroupCoordinator::Names GroupCoordinator::List(std::string_view after, std::size_t max) const {
  Names found;
  for (const std::shared_ptr<GroupShard>& shard : shards_) {
    for (std::string& name : shard->Names()) {
      if (name > after) found.names.push_back(std::move(name));
    }
  }
  std::sort(found.names.begin(), found.names.end());
  found.more = found.names.size() > max;
  if (found.more) found.names.resize(max);
  return found;
}

void GroupCoordinator::TopicChanged(const TopicId& id, const std::string& name) {
  for (const std::shared_ptr<GroupShard>& shard : shards_) shard->TopicChanged(id, name);
}

std::vector<std::string> GroupCoordinator::Problems() const {
  std::vector<std::string> problems;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    if (shards_[i]->status().ok()) continue;
    problems.push_back(absl::StrFormat("groups of __consumer_offsets-%d are not served: %s", i,
                                       shards_[i]->status().message()));
  }
  return problems;
}

void GroupCoordinator::WatchSessions() {
  using Clock = std::chrono::steady_clock;
  Clock::time_point last;
  bool is_ticking = false;  // without sessions the next tick may come at any time
  while (sessions_.Wait(kTick)) {
    const auto now = Clock::now();
    if (is_ticking && now - last > kTick + kHeldUp) {
      for (const std::shared_ptr<GroupShard>& shard : shards_) shard->Forgive(now - last);
    }
    for (const std::shared_ptr<GroupShard>& shard : shards_) shard->Expire(now);
    last = now;
    is_ticking = sessions_.any();
  }
}

}  // namespace cairn::broker
