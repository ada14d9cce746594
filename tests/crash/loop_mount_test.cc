#include "tests/support/loop_mount.h"

#include <array>
#include <fcntl.h>
#include <string>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/skip.h"

namespace cairn::test {
namespace {

// The power cut is the foundation of every run on it: that it takes what it must, and no more.
void CheckPowerCut(LoopMount::Kind kind, LoopMount::Journal journal) {
  if (const auto why = LoopMount::Unavailable(kind)) {
    if (!MaySkip()) FAIL("with CI=true nothing is skipped: " << *why);
    WARN("skipped: " << *why);
    return;
  }
  const auto mount = LoopMount::Make(kind, std::int64_t{320} << 20);
  INFO(mount.status());
  REQUIRE(mount.ok());
  const std::filesystem::path file = (*mount)->path() / "file";
  const std::filesystem::path unsynced = (*mount)->path() / "unsynced";
  {
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    CHECK(::write(fd, "synced", 6) == 6);
    CHECK(::fsync(fd) == 0);
    const int root = ::open((*mount)->path().c_str(), O_RDONLY | O_CLOEXEC);
    CHECK(::fsync(root) == 0);
    ::close(root);
    CHECK(::write(fd, " and not", 8) == 8);
    const int other = ::open(unsynced.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(::write(other, "not", 3) == 3);
    const absl::Status cut = (*mount)->CutPower(journal);
    INFO(cut);
    REQUIRE(cut.ok());
    CHECK(::fsync(fd) != 0);
    ::close(other);
    ::close(fd);
  }
  const absl::Status mounted = (*mount)->Remount();
  INFO(mounted);
  REQUIRE(mounted.ok());

  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  std::array<char, 32> bytes{};
  const ssize_t length = ::read(fd, bytes.data(), bytes.size());
  ::close(fd);
  // The length may have been in the journal; the bytes were not.
  std::string expected = "synced";
  expected.resize(static_cast<std::size_t>(length));
  CHECK(length >= 6);
  CHECK(std::string(bytes.data(), static_cast<std::size_t>(length)) == expected);
  std::error_code error;
  const auto size = std::filesystem::file_size(unsynced, error);
  CHECK((error || size == 0));
}

}  // namespace

TEST_CASE("Power cut: ext4 keeps what was synced and nothing else", "[crash]") {
  CheckPowerCut(LoopMount::Kind::kExt4, LoopMount::Journal::kLost);
  CheckPowerCut(LoopMount::Kind::kExt4, LoopMount::Journal::kWritten);
}

TEST_CASE("Power cut: xfs keeps what was synced and nothing else", "[crash]") {
  CheckPowerCut(LoopMount::Kind::kXfs, LoopMount::Journal::kLost);
  CheckPowerCut(LoopMount::Kind::kXfs, LoopMount::Journal::kWritten);
}

}  // namespace cairn::test
