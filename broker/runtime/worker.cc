#include "broker/runtime/worker.h"

#include <algorithm>
#include <sched.h>

#include "protocol/check.h"

namespace cairn::broker {
namespace {

// The cores that this process may run on: two workers on one core would only take it from each
// other.
int CoresAllowed() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

Worker::Worker(int index) : index_(index) {}

Worker::~Worker() { CAIRN_CHECK(!thread_.joinable()); }

void Worker::Start() {
  CAIRN_CHECK(!thread_.joinable());
  thread_ = std::thread([this] {
    thread_id_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    context_.run();
  });
}

void Worker::Stop() { context_.stop(); }

void Worker::Join() {
  if (thread_.joinable()) thread_.join();
}

Workers::Workers(int count) {
  if (count <= 0) count = std::max(1, CoresAllowed());
  workers_.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) workers_.push_back(std::make_unique<Worker>(i));
}

Workers::~Workers() { StopAndJoin(); }

void Workers::Start() {
  for (const auto& worker : workers_) worker->Start();
}

Worker& Workers::Next() {
  const unsigned turn = next_.fetch_add(1, std::memory_order_relaxed);
  return *workers_[turn % workers_.size()];
}

void Workers::StopAndJoin() {
  for (const auto& worker : workers_) worker->Stop();
  for (const auto& worker : workers_) worker->Join();
}

}  // namespace cairn::broker
