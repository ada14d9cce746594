// Every bit of a sealed segment is changed once: no flip goes unseen, and what is served until then
// is what was written.

#include <algorithm>
#include <iostream>

#include "protocol/limits.h"
#include "tests/storage/log_fixture.h"

namespace cairn::storage {
namespace {

constexpr std::size_t kSegmentBytes = 64 << 10;

// A segment of batches of many sizes, as the manifest knows it.
struct Sealed {
  Sealed() : fixture({.segment_bytes = kSegmentBytes}) {
    std::size_t size = 1;
    while (fixture.log().bytes() < static_cast<std::int64_t>(kSegmentBytes)) {
      fixture.Append(1 + static_cast<std::int32_t>(size % 3), size);
      size = size * 7 % 1999 + 1;
    }
    fixture.Sync();
    fixture.SealAll();
    fixture.StopCleanly();
    const auto contents = Manifest::Read(fixture.directory());
    REQUIRE(contents.ok());
    REQUIRE(contents->state.segments.front().sealed.has_value());
    extent = *contents->state.segments.front().sealed;
    bytes = ReadBack(fixture.LogFile(0));
    REQUIRE(bytes.size() + 6'000 > kSegmentBytes);
    place.reset(new LogPlace{.directory = fixture.directory(),
                             .removed_files = removed_files,
                             .reserve = *reserve,
                             .epochs = EpochHistory(contents->state.epochs)});
  }

  // Reads all there is; gives whether damage was met.
  bool Read() const {
    place->damaged.store(false);
    const auto segment = Segment::OnDisk(place, Offset(0), extent, true, {}, {});
    Segment::Want want{.from = Offset(0), .position = 0, .end = extent.next_offset};
    want.bytes_max = kSegmentBytes * 2;
    while (want.from < want.end) {
      const absl::StatusOr<Segment::Found> found = segment->Read(want);
      if (!found.ok()) return true;
      if (found->is_cold) {
        (void)segment->Prepare(found->cold_position);
        continue;
      }
      const ByteView view = found->view.bytes;
      const auto expected = ByteView(bytes).subspan(static_cast<std::size_t>(want.position));
      if (!std::equal(view.begin(), view.end(), expected.begin())) {
        FAIL("a wrong record at offset " << want.from.value());
      }
      want.from = found->next;
      want.position = found->next_position;
    }
    return false;
  }

  LogFixture fixture;
  SealedSegment extent;
  Bytes bytes;
  TempDir reserve_dir;
  std::unique_ptr<Reserve> reserve = *Reserve::Open(reserve_dir.path(), 0);
  RemovedFiles removed_files;
  std::shared_ptr<LogPlace> place;
};

// One thread, so there is nothing for ThreadSanitizer to see: under it a sample must do, for every
// byte would take it ten minutes.
#ifdef __SANITIZE_THREAD__
constexpr std::size_t kStride = 61;
#else
constexpr std::size_t kStride = 1;
#endif

TEST_CASE("Segment: each single bit of 64 KiB flipped is found, and no wrong record is served",
          "[storage][flips]") {
  const Sealed sealed;
  REQUIRE_FALSE(sealed.Read());
  const auto file = File::OpenForWriting(sealed.fixture.LogFile(0));
  REQUIRE(file.ok());
  std::int64_t flips = 0;
  std::int64_t found = 0;
  for (std::size_t at = 0; at < sealed.bytes.size(); at += kStride) {
    const auto position = static_cast<std::int64_t>(at);
    for (int bit = 0; bit < 8; ++bit) {
      const std::byte flipped = sealed.bytes[at] ^ static_cast<std::byte>(1 << bit);
      if (!file->WriteAll(position, ByteView(&flipped, 1)).ok()) FAIL("cannot write");
      ++flips;
      if (sealed.Read()) {
        ++found;
      } else {
        FAIL("bit " << bit << " of byte " << at << " was not missed by anybody");
      }
    }
    if (!file->WriteAll(position, ByteView(&sealed.bytes[at], 1)).ok()) FAIL("cannot write");
  }
  std::cout << flips << " flips, " << found << " found, 0 wrong records\n";
  CHECK(found == flips);
  CHECK_FALSE(sealed.Read());
}

}  // namespace
}  // namespace cairn::storage
