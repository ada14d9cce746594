// Files that are cut under a mapping of them: nobody dies of it, and no zeros pass for records.

#include <atomic>
#include <cstddef>
#include <thread>

#include "tests/storage/log_fixture.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPage = 4096;

TEST_CASE("MappedFile: bytes that were cut off read as zeros, and the mapping says so",
          "[storage][segment]") {
  TempDir temp;
  const fs::path path = temp.path() / "cut";
  WriteFile(path, Bytes(3 * kPage, std::byte{7}));
  auto file = File::OpenForWriting(path);
  REQUIRE(file.ok());
  const auto mapping = *MappedFile::Map(*file, 3 * kPage);
  const auto other = *MappedFile::Map(*file, 3 * kPage);
  CHECK(mapping->Probe(mapping->bytes()).ok());
  REQUIRE(file->Truncate(kPage).ok());
  CHECK(mapping->bytes()[kPage - 1] == std::byte{7});
  CHECK_FALSE(mapping->is_lost());
  CHECK(mapping->bytes()[kPage + 5] == std::byte{0});
  CHECK(mapping->is_lost());
  // Nobody has touched that one.
  CHECK_FALSE(other->is_lost());
  const absl::Status probed = other->Probe(other->bytes());
  CHECK(absl::IsDataLoss(probed));
  CHECK_THAT(std::string(probed.message()),
             Catch::Matchers::Contains(path.string() + ", position 4096"));
}

TEST_CASE("MappedFile: a place in the table of guards is used again, and forgets the last mapping",
          "[storage][segment]") {
  TempDir temp;
  const fs::path path = temp.path() / "again";
  WriteFile(path, Bytes(kPage, std::byte{7}));
  auto file = File::OpenForWriting(path);
  REQUIRE(file.ok());
  for (int i = 0; i < 100; ++i) {
    REQUIRE(file->Truncate(kPage).ok());
    const auto mapping = *MappedFile::Map(*file, kPage);
    CHECK_FALSE(mapping->is_lost());
    REQUIRE(file->Truncate(0).ok());
    CHECK(mapping->bytes()[0] == std::byte{0});
    CHECK(mapping->is_lost());
  }
}

// Segments of about 40 batches; the first is sealed, the last one grows.
class CutFixture : public LogFixture {
 public:
  static constexpr std::int64_t kBatches = 100;
  CutFixture() : LogFixture({.segment_bytes = 50'000, .continue_bytes_max = 0}) {
    for (std::int64_t i = 0; i < kBatches; ++i) Append(1, 1000);
    Sync();
    SealAll();
    before = ReadAll();
    batch_bytes = before.size() / static_cast<std::size_t>(kBatches);
  }

  // Every record up to the cut is served, then the log says what is wrong, and takes no more.
  void RequireOfflineFrom(Offset first_lost, const std::string& what) {
    absl::Status status;
    const Bytes served = ReadAll(Offset(0), 10'000, status);
    CHECK(CodeOf(status) == ErrorCode::kPartitionOffline);
    CHECK_THAT(std::string(status.message()), Catch::Matchers::Contains(what));
    const auto expected = static_cast<std::size_t>(first_lost.value()) * batch_bytes;
    CHECK(served == Bytes(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(expected)));
    Bytes batch = MakeBatch(1, 1000);
    CHECK(CodeOf(log().Append(batch, kNow).status()) == ErrorCode::kPartitionOffline);
  }

  Bytes before;
  std::size_t batch_bytes = 0;  // all have the same size, offsets below 100 being two digits or one
};

TEST_CASE("Segment: a file that is cut under its mapping takes the partition offline from there",
          "[storage][segment]") {
  CutFixture fixture;
  const auto& segments = fixture.log().Segments();
  const bool active = GENERATE(false, true);
  const auto& segment = active ? segments.back() : segments.front();
  REQUIRE(segment->is_growing() == active);
  // At the very beginning, in the midst of a page, at its end, and in the last batch.
  const std::int64_t size =
      GENERATE_COPY(std::int64_t{0}, std::int64_t{5000}, 2 * kPage, segment->length() - 1);
  CAPTURE(active, size);
  fs::resize_file(segment->LogPath(), static_cast<std::uintmax_t>(size));
  const std::int64_t whole = size / static_cast<std::int64_t>(fixture.batch_bytes);
  fixture.RequireOfflineFrom(segment->base() + whole, segment->LogPath().string() + ", position " +
                                                          std::to_string(size) + ": expected " +
                                                          std::to_string(segment->length()) +
                                                          " bytes, found " + std::to_string(size));
}

TEST_CASE("Segment: the first append behind a cut finds it", "[storage][segment]") {
  CutFixture fixture;
  const auto active = fixture.log().Segments().back();
  fs::resize_file(active->LogPath(), 0);
  Bytes batch = MakeBatch(1, 1000);
  CHECK(CodeOf(fixture.log().Append(batch, kNow).status()) == ErrorCode::kPartitionOffline);
  CHECK(fs::file_size(active->LogPath()) == 0);
  fixture.RequireOfflineFrom(active->base(), "found 0");
}

TEST_CASE("Segment: a clean stop leaves a file that was cut as it is", "[storage][segment]") {
  CutFixture fixture;
  const fs::path path = fixture.log().Segments().back()->LogPath();
  fs::resize_file(path, 100);
  CHECK_FALSE(fixture.log().CloseClean().ok());
  CHECK(fs::file_size(path) == 100);
}

TEST_CASE("Segment: a file that is cut while threads walk it kills nobody", "[storage][segment]") {
  CutFixture fixture;
  const auto segment = fixture.log().Segments().front();
  const auto held = fixture.Read(Offset(0), kEverything, 1 << 20, *std::make_unique<ReadCursor>());
  REQUIRE(held.ok());
  std::atomic<bool> stop{false};
  std::thread walker([&] {
    std::byte sum{0};
    while (!stop) {
      for (const std::byte each : held->view.bytes) sum ^= each;
      // Walks headers from the index on.
      (void)segment->Read({.from = Offset(7), .end = Offset(9), .bytes_max = 1});
    }
    (void)sum;
  });
  for (std::int64_t size = segment->length(); size >= 0; size -= 3333) {
    fs::resize_file(segment->LogPath(), static_cast<std::uintmax_t>(size));
  }
  fs::resize_file(segment->LogPath(), 0);
  stop = true;
  walker.join();
  fixture.RequireOfflineFrom(Offset(0), "found 0");
}

}  // namespace
}  // namespace cairn::storage
