#include "broker/partitions/space_keeper.h"

#include <utility>

#include "broker/runtime/background.h"
#include "broker/runtime/logging.h"

namespace cairn::broker {

SpaceKeeper::SpaceKeeper(storage::DataDir& data_dir, Options options)
    : data_dir_(data_dir), options_(std::move(options)) {}

SpaceKeeper::~SpaceKeeper() { Stop(); }

void SpaceKeeper::Start() {
  data_dir_.removed_files().SetOnAdded([this] { Wake(); });
  data_dir_.reserve().SetOnShort([this] { Wake(); });
  thread_ = std::thread(&SpaceKeeper::Loop, this);
}

void SpaceKeeper::Stop() {
  data_dir_.removed_files().SetOnAdded({});
  data_dir_.reserve().SetOnShort({});
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void SpaceKeeper::Wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  wake_.notify_one();
}

bool SpaceKeeper::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void SpaceKeeper::Loop() {
  GiveWayToOthers();
  bool again = false;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto called = [this] { return woken_ || stopping_; };
    if (again) {
      wake_.wait_for(lock, options_.interval, called);
    } else {
      wake_.wait(lock, called);
    }
    woken_ = false;
    lock.unlock();
    again = Look();
    lock.lock();
  }
}

bool SpaceKeeper::Look() {
  storage::Reserve& reserve = data_dir_.reserve();
  if (reserve.is_short()) TellOnce();
  while (!stopping() && data_dir_.removed_files().Step(reserve.is_short())) {
  }
  if (reserve.is_short() && reserve.Restore() && std::exchange(told_short_, false)) {
    LogInfo("there is room on the disk again; producers go on", {});
  }
  return reserve.is_short() || !data_dir_.removed_files().empty();
}

void SpaceKeeper::TellOnce() {
  if (std::exchange(told_short_, true)) return;
  const auto space = data_dir_.Space();
  LogError(
      "the disk is full; producers wait until there is room, readers, deletions and trims go on",
      {{"data_dir", data_dir_.path().string()},
       {"free", space.ok() ? space->free : -1},
       {"reserve", data_dir_.reserve().held()}});
  if (options_.on_short) options_.on_short();
}

}  // namespace cairn::broker
