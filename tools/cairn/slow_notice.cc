#include "tools/cairn/slow_notice.h"

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

#include "tools/cairn/session.h"

namespace cairn::tools {

SlowNotice::SlowNotice(std::chrono::milliseconds moment, std::string line)
    : thread_([moment, line = std::move(line)](const std::stop_token& over) {
        std::mutex mutex;
        std::condition_variable_any wake;
        std::unique_lock lock(mutex);
        wake.wait_for(lock, over, moment, [] { return false; });
        if (!over.stop_requested()) Session::Say(line);
      }) {}

}  // namespace cairn::tools
