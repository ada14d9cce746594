#include <algorithm>
#include <array>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_format.h"

#include "bench/limits/halves.h"
#include "bench/limits/limits.h"
#include "bench/limits/loopback.h"
#include "bench/machine.h"
#include "protocol/checksum.h"
#include "protocol/status.h"
#include "storage/file.h"
#include "storage/mapped_file.h"

namespace cairn::bench {
namespace {

constexpr std::int64_t kFileBytes = 256 << 20;
constexpr std::size_t kRequestBytes = 16;  // the position, then the size
constexpr std::size_t kHeadBytes = 16;     // of an answer
constexpr std::size_t kAhead = 4;

absl::StatusOr<storage::File> MakeFile(const std::string& path) {
  ASSIGN_OR_RETURN(storage::File file, storage::File::Create(path));
  const Bytes block(1 << 20, std::byte{0x5a});
  for (std::int64_t at = 0; at < kFileBytes; at += std::int64_t{1} << 20) {
    RETURN_IF_ERROR(file.WriteAll(at, block));
  }
  // So that nothing is written back while it is served.
  RETURN_IF_ERROR(file.Sync());
  return file;
}

struct Piece {
  std::size_t position = 0;
  std::size_t size = 0;
};

absl::Status SendMapped(int socket, Piece piece, const storage::MappedFile& mapping) {
  constexpr std::array<std::byte, kHeadBytes> kHead{};
  std::array<iovec, 2> parts{PartOf(kHead),
                             PartOf(mapping.bytes().subspan(piece.position, piece.size))};
  return SendAll(socket, parts);
}

absl::Status SendFile(int socket, Piece piece, const storage::File& file) {
  constexpr std::array<std::byte, kHeadBytes> kHead{};
  if (::send(socket, kHead.data(), kHead.size(), MSG_MORE | MSG_NOSIGNAL) !=
      static_cast<ssize_t>(kHead.size())) {
    return CallError("send on loopback");
  }
  auto position = static_cast<off_t>(piece.position);
  const off_t end = position + static_cast<off_t>(piece.size);
  while (position < end) {
    const auto left = static_cast<std::size_t>(end - position);
    const ssize_t sent = ::sendfile(socket, file.descriptor(), &position, left);
    if (sent < 0 && errno != EINTR) return CallError("sendfile to loopback");
    if (sent == 0) return absl::DataLossError(absl::StrFormat("sendfile: ends at %d", position));
  }
  return absl::OkStatus();
}

absl::Status Serve(int socket, absl::FunctionRef<absl::Status(Piece)> send) {
  std::array<std::byte, kRequestBytes> request;
  for (;;) {
    ASSIGN_OR_RETURN(const bool received, ReceiveAll(socket, request));
    if (!received) return absl::OkStatus();
    RETURN_IF_ERROR(send({.position = LoadLe<std::uint64_t>(request, 0),
                          .size = LoadLe<std::uint64_t>(request, 8)}));
  }
}

absl::Status Ask(int socket, std::size_t bytes, bool crc, Measurement& measurement) {
  Bytes answer(kHeadBytes + bytes);
  std::array<std::byte, kRequestBytes> request;
  std::size_t position = 0;
  std::size_t under_way = 0;
  while (under_way > 0 || !measurement.is_over()) {
    for (; under_way < kAhead && !measurement.is_over(); ++under_way) {
      StoreLe<std::uint64_t>(request, 0, position);
      StoreLe<std::uint64_t>(request, 8, bytes);
      RETURN_IF_ERROR(SendAll(socket, request));
      position += bytes;
      if (position + bytes > kFileBytes) position = 0;
    }
    ASSIGN_OR_RETURN(const bool answered, ReceiveAll(socket, answer));
    if (!answered) return absl::UnavailableError("loopback: the serving half closed");
    if (crc) (void)Crc32c(ByteView(answer).subspan(kHeadBytes));
    --under_way;
    measurement.Count(Measurement::Clock::now(), bytes);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Report> LimitServe(const LimitOptions& options) {
  const std::size_t bytes = options.bytes == 0 ? 256 << 10 : options.bytes;
  const std::string variant = options.variant.empty() ? "writev" : options.variant;
  if (variant != "writev" && variant != "sendfile") {
    return absl::InvalidArgumentError(absl::StrFormat("variant '%s': writev or sendfile", variant));
  }
  ASSIGN_OR_RETURN(const ScratchDir dir, ScratchDir::Make(options.dir));
  ASSIGN_OR_RETURN(const storage::File file, MakeFile(dir.path() + "/served"));
  ASSIGN_OR_RETURN(const auto mapping, storage::MappedFile::Map(file, kFileBytes));
  RETURN_IF_ERROR(mapping->Probe(mapping->bytes()));
  ASSIGN_OR_RETURN(Loopback loopback, Loopback::Connect(1));
  ASSIGN_OR_RETURN(const Measurement seen,
                   RunHalves(
                       options,
                       [&, served = std::move(loopback.served.front())] {
                         return Serve(served.number(), [&](Piece piece) {
                           return variant == "writev" ? SendMapped(served.number(), piece, *mapping)
                                                      : SendFile(served.number(), piece, file);
                         });
                       },
                       [&, asking = std::move(loopback.asking.front())](Measurement& measurement) {
                         return Ask(asking.number(), bytes, options.crc, measurement);
                       }));
  Report report = seen.ToReport("limit serve", {{"bytes", bytes},
                                                {"variant", variant},
                                                {"crc", options.crc},
                                                {"duration_ms", options.duration.count()}});
  report.summary =
      absl::StrFormat("pieces of %d B served (%s) and %s: %.2f GB/s", bytes, variant,
                      options.crc ? "checked" : "not checked", seen.bytes_per_second() / 1e9);
  return report;
}

}  // namespace cairn::bench
