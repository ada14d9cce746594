#include "storage/file.h"

#include <atomic>
#include <cerrno>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "storage/mapped_file.h"
#include "storage/segment_name.h"
#include "tests/storage/damage.h"
#include "tests/storage/temp_dir.h"

namespace {

std::atomic<bool> next_sync_fails{false};

}  // namespace

// In place of the C library's: as the kernel does, it tells of an error once and is content then.
extern "C" int fdatasync(int descriptor) {
  if (next_sync_fails.exchange(false)) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, descriptor));
}

namespace cairn::storage {
namespace {

File Create(const std::filesystem::path& path) {
  auto file = File::Create(path);
  REQUIRE(file.ok());
  return *std::move(file);
}

}  // namespace

TEST_CASE("File: errno becomes a status that names the path", "[storage][file]") {
  CHECK(CodeOf(ErrnoError("write to", "/data/x", ENOSPC)) == ErrorCode::kStorageFull);
  CHECK(CodeOf(ErrnoError("write to", "/data/x", EDQUOT)) == ErrorCode::kStorageFull);
  CHECK(CodeOf(ErrnoError("write to", "/data/x", EIO)) == ErrorCode::kStorageFailed);
  CHECK(CodeOf(ErrnoError("write to", "/data/x", EBADF)) == ErrorCode::kStorageFailed);
  CHECK(absl::IsNotFound(ErrnoError("open", "/data/x", ENOENT)));
  CHECK(absl::IsPermissionDenied(ErrnoError("open", "/data/x", EROFS)));
  CHECK(absl::IsUnavailable(ErrnoError("open", "/data/x", EMFILE)));
  CHECK(ErrnoError("write to", "/data/x", EIO).message() == "write to /data/x: Input/output error");
}

TEST_CASE("File: a full disk is an error code", "[storage][file]") {
  const auto full = File::CreateOrEmpty("/dev/full");
  REQUIRE(full.ok());
  CHECK(CodeOf(full->WriteAll(0, AsBytes("x"))) == ErrorCode::kStorageFull);
}

TEST_CASE("File: a FIFO in a file's place was waited for without end", "[storage][file]") {
  TempDir temp;
  REQUIRE(::mkfifo((temp / "fifo").c_str(), 0644) == 0);
  for (const auto open : {File::OpenForReading, File::OpenForWriting}) {
    const absl::Status fifo = open(temp / "fifo").status();
    CHECK(absl::IsDataLoss(fifo));
    CHECK(fifo.message() == (temp / "fifo").string() + " is no regular file, but a FIFO");
    const absl::Status directory = open(temp / "").status();
    CHECK(absl::IsDataLoss(directory));
    CHECK(std::string(directory.message()).ends_with("is no regular file, but a directory"));
    CHECK(absl::IsDataLoss(open("/dev/null").status()));
  }
  CHECK(File::OpenDirectory(temp / "").ok());
}

TEST_CASE("File: what was written is read, and the end is known", "[storage][file]") {
  TempDir temp;
  const File file = Create(temp / "f");
  REQUIRE(file.WriteAll(3, AsBytes("hello")).ok());
  CHECK(*file.Size() == 8);
  Bytes out(5);
  REQUIRE(file.ReadAll(3, MutableBytes(out)).ok());
  CHECK(AsText(out) == "hello");
  CHECK(absl::IsOutOfRange(file.ReadAll(4, MutableBytes(out))));
  CHECK(*file.Read(6, MutableBytes(out)) == 2);
  CHECK(*file.Read(100, MutableBytes(out)) == 0);
  CHECK(file.Sync().ok());
  CHECK(file.DropCache().ok());
  CHECK(file.DropCache(6).ok());
  CHECK(absl::IsAlreadyExists(File::Create(temp / "f").status()));
  CHECK(absl::IsNotFound(File::OpenForReading(temp / "g").status()));
}

TEST_CASE("File: knows where what was written ends", "[storage][file]") {
  TempDir temp;
  auto created = File::Create(temp / "f");
  REQUIRE(created.ok());
  const File& file = *created;
  CHECK(*file.EndOfWritten(0) == 0);
  REQUIRE(file.WriteAll(0, AsBytes("bytes")).ok());
  REQUIRE(file.Reserve(5, 1 << 20).ok());
  REQUIRE(file.Sync().ok());
  CHECK(*file.Size() == (1 << 20) + 5);
  const std::int64_t end = *file.EndOfWritten(0);
  CHECK(end >= 5);
  CHECK(end <= (64 << 10));  // a page, whatever its size
  CHECK(*file.EndOfWritten(900'000) == 900'000);
  REQUIRE(file.WriteAll(1'000'000, AsBytes("x")).ok());
  CHECK(*file.EndOfWritten(0) > 1'000'000);
  CHECK(*file.EndOfWritten(900'000) > 1'000'000);
  CHECK(*file.Size() == (1 << 20) + 5);
}

TEST_CASE("File: a failed sync is remembered, though the kernel tells of it only once",
          "[storage][file]") {
  const TempDir dir;
  const File file = Create(dir / "a");
  REQUIRE(file.Sync().ok());
  next_sync_fails = true;
  CHECK(CodeOf(file.Sync()) == ErrorCode::kStorageFailed);
  CHECK_FALSE(next_sync_fails);
  CHECK(CodeOf(file.Sync()) == ErrorCode::kStorageFailed);
  CHECK(Create(dir / "b").Sync().ok());
}

TEST_CASE("File: reserving makes the file longer, or not", "[storage][file]") {
  TempDir temp;
  const File file = Create(temp / "f");
  REQUIRE(file.ReserveBehindEnd(0, 1 << 16).ok());
  CHECK(*file.Size() == 0);
  REQUIRE(file.Reserve(0, 1 << 16).ok());
  CHECK(*file.Size() == 1 << 16);
  REQUIRE(file.Truncate(10).ok());
  CHECK(*file.Size() == 10);
}

TEST_CASE("File: replacing is all or nothing and leaves nothing behind", "[storage][file]") {
  TempDir temp;
  REQUIRE(ReplaceFile(temp / "f", AsBytes("one")).ok());
  REQUIRE(ReplaceFile(temp / "f", AsBytes("three")).ok());
  CHECK(AsText(*ReadFile(temp / "f", 5)) == "three");
  CHECK(absl::IsDataLoss(ReadFile(temp / "f", 4).status()));
  CHECK_FALSE(std::filesystem::exists(temp / "f.new"));
  CHECK(absl::IsNotFound(ReplaceFile(temp / "no/f", AsBytes("x"))));
}

TEST_CASE("File: moving does not replace, renaming does", "[storage][file]") {
  TempDir temp;
  WriteFile(temp / "a", AsBytes("a"));
  WriteFile(temp / "b", AsBytes("b"));
  CHECK(absl::IsAlreadyExists(MoveDurably(temp / "a", temp / "b")));
  CHECK(AsText(ReadBack(temp / "b")) == "b");
  REQUIRE(RenameDurably(temp / "a", temp / "b").ok());
  CHECK(AsText(ReadBack(temp / "b")) == "a");
  CHECK(RemoveFile(temp / "b").ok());
  CHECK(RemoveFile(temp / "b").ok());
}

TEST_CASE("MappedFile: shows later writes and outlives the file's name", "[storage][file]") {
  TempDir temp;
  File file = Create(temp / "f");
  REQUIRE(file.Reserve(0, 4096).ok());
  const auto mapping = MappedFile::Map(file, 4096);
  REQUIRE(mapping.ok());
  REQUIRE(file.WriteAll(100, AsBytes("later")).ok());
  file.Close();
  REQUIRE(RemoveFile(temp / "f").ok());
  CHECK(AsText((*mapping)->bytes().subspan(100, 5)) == "later");
}

TEST_CASE("MappedFile: nothing is mapped for no bytes", "[storage][file]") {
  TempDir temp;
  const auto mapping = MappedFile::Map(Create(temp / "f"), 0);
  REQUIRE(mapping.ok());
  CHECK((*mapping)->bytes().empty());
}

TEST_CASE("SegmentName: there and back", "[storage][file]") {
  CHECK(LogFileName(Offset(4096)) == "00000000000000004096.log");
  CHECK(IndexFileName(Offset(0)) == "00000000000000000000.index");
  CHECK(LogFileName(Offset(INT64_MAX)) == "09223372036854775807.log");
  CHECK(ParseLogFileName("09223372036854775807.log") == SegmentFileName{Offset(INT64_MAX)});
  CHECK(ParseIndexFileName("00000000000000000012.index") == SegmentFileName{Offset(12)});
  CHECK(LogFileName(Offset(4096), 3) == "00000000000000004096.g3.log");
  CHECK(ParseLogFileName("00000000000000004096.g3.log") == SegmentFileName{Offset(4096), 3});
  CHECK(ParseIndexFileName("00000000000000000012.g10.index") == SegmentFileName{Offset(12), 10});
  for (const char* name :
       {"", ".log", "12.log", "00000000000000000012.index", "0000000000000000001x.log",
        "09223372036854775808.log", "-0000000000000000001.log", "00000000000000000012.log.new",
        "00000000000000000012.g0.log", "00000000000000000012.g01.log", "00000000000000000012.g.log",
        "00000000000000000012.g4294967296.log"}) {
    INFO(name);
    CHECK_FALSE(ParseLogFileName(name).has_value());
  }
}

}  // namespace cairn::storage
