#include "broker/api/disk_usage.h"

#include <fstream>

#include <catch2/catch.hpp>

#include "tests/storage/temp_dir.h"

namespace cairn::broker {

TEST_CASE("Disk usage: many who ask within a second share one look", "[broker][api]") {
  storage::TempDir directory;
  const auto data_dir = *storage::DataDir::Open(directory / "data");
  DiskUsage usage(*data_dir);
  const DiskUsage::Clock::time_point start{std::chrono::hours(1)};
  const DiskUsage::Seen empty = usage.Look(start);
  CHECK(empty.used > 0);
  CHECK(empty.space.total > 0);
  std::ofstream(directory / "data" / "more") << std::string(1 << 20, 'x') << std::flush;
  CHECK(usage.Look(start + std::chrono::milliseconds(999)).used == empty.used);
  CHECK(usage.Look(start + std::chrono::seconds(1)).used >= empty.used + (1 << 20));
}

}  // namespace cairn::broker
