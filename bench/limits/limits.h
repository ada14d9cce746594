#pragma once

#include "absl/status/statusor.h"

#include "bench/limits/limit.h"
#include "bench/report.h"

// The limits, one a file. Each says what it does; the figures are those of Measurement::ToReport
// unless it names others.
//   kInvalidArgument  there is no such variant
//   otherwise         the system call that failed
namespace cairn::bench {

// TCP messages of 64 bytes and answers of the same size, one under way on each connection.
absl::StatusOr<Report> LimitRoundTrip(const LimitOptions& options);

// TCP frames of 256 KiB received into a reused buffer and answered, 5 under way.
absl::StatusOr<Report> LimitSink(const LimitOptions& options);

// As sink, and the frame's CRC-32C, and the frame appended to a file. Variants: pwrite; mapped,
// copied into a populated mapping; received, straight from the socket into it.
absl::StatusOr<Report> LimitAppend(const LimitOptions& options);

// A file of 256 MiB in memory sent in pieces of 256 KiB to one reader that asks 4 ahead. Variants:
// writev, from a mapping; sendfile.
absl::StatusOr<Report> LimitServe(const LimitOptions& options);

// 4 KiB appended to a file and made durable. Variants: those of ParseBlocks.
absl::StatusOr<Report> LimitSync(const LimitOptions& options);

// TCP messages of 1 KiB, answered when they are durable in a file: one sync for all that came
// meanwhile. Variants: those of ParseBlocks.
absl::StatusOr<Report> LimitSyncRoundTrip(const LimitOptions& options);

// 4 KiB appended to each of 512 files, then all made durable. Only the latter is timed: requests
// are cycles. Variants: serial; syncfs; threads, 16 of them, whose processor time is not
// counted.
absl::StatusOr<Report> LimitDirtyFiles(const LimitOptions& options);

// CRC-32C of bytes in the processor's caches. Without a size bytes_per_second_128, _1024, _65536
// and _1048576, with one bytes_per_second.
absl::StatusOr<Report> LimitCrc(const LimitOptions& options);

// One thread wakes the other, on another core, by an eventfd in an epoll. The latency is one way:
// half of there and back.
absl::StatusOr<Report> LimitWake(const LimitOptions& options);

// Connections accepted into an epoll that then do nothing. Figures: connects_per_second;
// user_bytes_per_connection, memory of this process that both halves take for both ends;
// kernel_tcp_bytes_per_connection, buffers of the whole machine's TCP sockets.
absl::StatusOr<Report> LimitIdle(const LimitOptions& options);

}  // namespace cairn::bench
