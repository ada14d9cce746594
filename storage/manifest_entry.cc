#include "storage/manifest_entry.h"

#include <algorithm>
#include <string>
#include <variant>

#include "absl/strings/str_format.h"

#include "protocol/checksum.h"
#include "protocol/status.h"

namespace cairn::storage {
namespace {

enum EntryField : std::size_t {
  kLengthAt = 0,
  kCrcAt = 4,
  kKindAt = 8,
  kPayloadAt = 9,
};
constexpr std::size_t kLengthMin = 1 + 8;
constexpr std::size_t kLengthMax = 256;
// Far more cleanings than a segment's life has room for.
constexpr std::uint64_t kGenerationMax = 0x7fffffff;

enum Kind : std::uint8_t {
  kOpened = 1,
  kSealed = 2,
  kReopened = 3,
  kDropped = 4,
  kLogStart = 5,
  kLeaderEpoch = 6,
  kSwapped = 7,
  kSynced = 8,
};
static_assert(std::variant_size_v<ManifestEntry> == kSynced);

constexpr std::size_t PayloadBytes(std::uint8_t kind) {
  switch (kind) {
    case kOpened:
      return 24;
    case kSealed:
      return 56;
    case kReopened:
    case kDropped:
    case kLogStart:
    case kSynced:
      return 8;
    case kLeaderEpoch:
      return 12;
    case kSwapped:
      return 80;
    default:
      return 0;
  }
}

// The checksum covers everything but itself.
std::uint32_t ChecksumOf(ByteView entry) {
  Bytes covered(entry.begin(), entry.begin() + kCrcAt);
  AppendBytes(covered, entry.subspan(kKindAt));
  return Crc32c(covered);
}

struct PayloadWriter {
  Bytes& out;

  void operator()(const SegmentOpened& e) const {
    AppendLe(out, e.base.value());
    AppendLe(out, e.first_append_time.value());
    Write(e.first_batch);
  }
  void operator()(const SegmentSealed& e) const {
    AppendLe(out, e.base.value());
    Write(e.sealed);
  }
  void operator()(const SegmentReopened& e) const { AppendLe(out, e.base.value()); }
  void operator()(const SegmentDropped& e) const { AppendLe(out, e.base.value()); }
  void operator()(const LogStartMoved& e) const { AppendLe(out, e.log_start.value()); }
  void operator()(const LeaderEpochRaised& e) const {
    AppendLe(out, e.epoch.value());
    AppendLe(out, e.first_offset.value());
  }
  void operator()(const SegmentSwapped& e) const {
    AppendLe(out, e.base.value());
    AppendLe(out, std::uint64_t{e.generation});
    AppendLe(out, e.clean_end.value());
    Write(e.sealed);
    Write(e.first_batch);
  }
  void operator()(const ManifestSynced& e) const { AppendLe(out, e.end); }

  void Write(const SealedSegment& sealed) const {
    AppendLe(out, sealed.next_offset.value());
    AppendLe(out, sealed.length);
    AppendLe(out, sealed.first_append_time.value());
    AppendLe(out, sealed.last_append_time.value());
    AppendLe(out, sealed.max_timestamp.value());
    AppendLe(out, sealed.fingerprint);
  }
  void Write(const BatchMark& mark) const {
    AppendLe(out, mark.length);
    AppendLe(out, mark.crc);
  }
};

ManifestEntry ReadPayload(std::uint8_t kind, ByteReader reader) {
  const auto offset = [&] { return Offset(reader.Le<std::int64_t>()); };
  const auto time = [&] { return Timestamp(reader.Le<std::int64_t>()); };
  const auto sealed = [&] {
    SealedSegment facts;
    facts.next_offset = offset();
    facts.length = reader.Le<std::int64_t>();
    facts.first_append_time = time();
    facts.last_append_time = time();
    facts.max_timestamp = time();
    facts.fingerprint = reader.Le<std::uint64_t>();
    return facts;
  };
  const auto mark = [&] {
    BatchMark first_batch;
    first_batch.length = reader.Le<std::uint32_t>();
    first_batch.crc = reader.Le<std::uint32_t>();
    return first_batch;
  };
  switch (kind) {
    case kOpened: {
      const Offset base = offset();
      const Timestamp first_append_time = time();
      return SegmentOpened{base, first_append_time, mark()};
    }
    case kSealed: {
      const Offset base = offset();
      return SegmentSealed{base, sealed()};
    }
    case kSwapped: {
      const Offset base = offset();
      // A generation beyond 32 bits fits no list: see Applier.
      const auto generation = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(reader.Le<std::uint64_t>(), kGenerationMax + 1));
      const Offset clean_end = offset();
      const SealedSegment facts = sealed();
      return SegmentSwapped{base, generation, clean_end, facts, mark()};
    }
    case kReopened:
      return SegmentReopened{offset()};
    case kDropped:
      return SegmentDropped{offset()};
    case kLogStart:
      return LogStartMoved{offset()};
    case kSynced:
      return ManifestSynced{reader.Le<std::int64_t>()};
    default: {
      const LeaderEpoch epoch(reader.Le<std::int32_t>());
      return LeaderEpochRaised{epoch, offset()};
    }
  }
}

absl::Status Misfit(const std::string& why) { return absl::DataLossError(why); }

// Each visit changes the state only once nothing can be wrong any more.
struct Applier {
  ManifestState& state;

  auto Find(Offset base) const {
    return std::find_if(state.segments.begin(), state.segments.end(),
                        [&](const ManifestSegment& segment) { return segment.base == base; });
  }
  absl::Status Unknown(const char* what, Offset base) const {
    return Misfit(absl::StrFormat("segment %d is %s, but is not in the list", base.value(), what));
  }

  absl::Status Cleaned(const char* what, Offset base) const {
    return Misfit(
        absl::StrFormat("segment %d is %s, but compaction has cleaned it", base.value(), what));
  }

  absl::Status operator()(const SegmentOpened& e) const {
    if (e.base < Offset(0)) return Misfit(absl::StrFormat("segment %d opened", e.base.value()));
    if (!state.segments.empty()) {
      ManifestSegment& last = state.segments.back();
      if (last.base == e.base && !last.sealed) {
        last.first_append_time = e.first_append_time;
        last.first_batch = e.first_batch;
        return absl::OkStatus();
      }
      const Offset above = last.sealed ? last.sealed->next_offset - 1 : last.base;
      if (e.base <= above) {
        return Misfit(absl::StrFormat("segment %d opened, but the one before goes from %d to %d",
                                      e.base.value(), last.base.value(), above.value()));
      }
    }
    state.segments.push_back(
        {.base = e.base, .first_append_time = e.first_append_time, .first_batch = e.first_batch});
    return absl::OkStatus();
  }

  absl::Status operator()(const SegmentSealed& e) const {
    const auto segment = Find(e.base);
    if (segment == state.segments.end()) return Unknown("sealed", e.base);
    const auto after = std::next(segment);
    const bool overlaps = after != state.segments.end() && e.sealed.next_offset > after->base;
    if (segment->generation != 0) return Cleaned("sealed", e.base);
    if (e.sealed.next_offset <= e.base || e.sealed.length <= 0 || overlaps) {
      return Misfit(absl::StrFormat("segment %d sealed with %d bytes up to offset %d",
                                    e.base.value(), e.sealed.length, e.sealed.next_offset.value()));
    }
    segment->sealed = e.sealed;
    return absl::OkStatus();
  }

  absl::Status operator()(const SegmentReopened& e) const {
    if (state.segments.empty() || state.segments.back().base != e.base) {
      return Misfit(absl::StrFormat("segment %d reopened, but it is not the last", e.base.value()));
    }
    if (state.segments.back().generation != 0) return Cleaned("reopened", e.base);
    state.segments.back().sealed.reset();
    return absl::OkStatus();
  }

  absl::Status operator()(const SegmentDropped& e) const {
    const auto segment = Find(e.base);
    if (segment == state.segments.end()) return Unknown("dropped", e.base);
    state.segments.erase(segment);
    return absl::OkStatus();
  }

  absl::Status operator()(const LogStartMoved& e) const {
    if (e.log_start < state.log_start) {
      return Misfit(absl::StrFormat("log start falls from %d to %d", state.log_start.value(),
                                    e.log_start.value()));
    }
    state.log_start = e.log_start;
    return absl::OkStatus();
  }

  absl::Status operator()(const LeaderEpochRaised& e) const {
    const EpochStart last =
        state.epochs.empty() ? EpochStart{LeaderEpoch(-1), Offset(0)} : state.epochs.back();
    if (e.epoch <= last.epoch || e.first_offset < last.first_offset) {
      return Misfit(absl::StrFormat("leader epoch %d from offset %d follows epoch %d from %d",
                                    e.epoch.value(), e.first_offset.value(), last.epoch.value(),
                                    last.first_offset.value()));
    }
    state.epochs.push_back({e.epoch, e.first_offset});
    return absl::OkStatus();
  }

  absl::Status operator()(const SegmentSwapped& e) const {
    const auto first = Find(e.base);
    if (first == state.segments.end()) return Unknown("swapped", e.base);
    const auto end = std::find_if(first, state.segments.end(), [&](const ManifestSegment& each) {
      return each.base >= e.sealed.next_offset;
    });
    const bool fits = std::all_of(first, end, [&](const ManifestSegment& each) {
      return each.generation < e.generation &&
             (!each.sealed || each.sealed->next_offset <= e.sealed.next_offset);
    });
    if (first == end || e.sealed.length <= 0 || e.clean_end < e.base ||
        e.clean_end > e.sealed.next_offset || e.generation > kGenerationMax || !fits) {
      return Misfit(absl::StrFormat("segment %d swapped for generation %d with %d bytes up to %d",
                                    e.base.value(), e.generation, e.sealed.length,
                                    e.sealed.next_offset.value()));
    }
    *first = {.base = e.base,
              .first_append_time = e.sealed.first_append_time,
              .sealed = e.sealed,
              .generation = e.generation,
              .clean_end = e.clean_end,
              .first_batch = e.first_batch};
    state.segments.erase(std::next(first), end);
    return absl::OkStatus();
  }

  // It is about the file, and not about the log.
  absl::Status operator()(const ManifestSynced&) const { return absl::OkStatus(); }
};

bool IsZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

void EncodeManifestEntry(const ManifestEntry& entry, Bytes& out) {
  const auto kind = static_cast<std::uint8_t>(entry.index() + 1);
  const std::size_t begin = out.size();
  AppendLe(out, static_cast<std::uint32_t>(1 + PayloadBytes(kind)));
  AppendLe(out, std::uint32_t{0});
  AppendLe(out, kind);
  std::visit(PayloadWriter{out}, entry);
  const MutableBytes bytes = MutableBytes(out).subspan(begin);
  StoreLe(bytes, kCrcAt, ChecksumOf(bytes));
}

absl::StatusOr<DecodedEntry> DecodeManifestEntry(ByteView bytes) {
  if (IsZero(bytes)) {
    return absl::OutOfRangeError(absl::StrFormat("%d zeros to the end", bytes.size()));
  }
  if (bytes.size() < kPayloadAt) {
    return absl::OutOfRangeError(absl::StrFormat("an entry of %d bytes", bytes.size()));
  }
  const auto length = LoadLe<std::uint32_t>(bytes, kLengthAt);
  if (length < kLengthMin || length > kLengthMax) {
    return absl::DataLossError(absl::StrFormat("an entry of length %d; %d to %d are possible",
                                               length, kLengthMin, kLengthMax));
  }
  const std::size_t size = kKindAt + length;
  if (size > bytes.size()) {
    return absl::OutOfRangeError(
        absl::StrFormat("an entry of %d bytes, of which %d are there", size, bytes.size()));
  }
  const ByteView entry = bytes.first(size);
  const auto expected = LoadLe<std::uint32_t>(entry, kCrcAt);
  const std::uint32_t found = ChecksumOf(entry);
  if (expected != found) {
    return absl::DataLossError(absl::StrFormat(
        "checksum 0x%08x, but the entry's %d bytes hash to 0x%08x", expected, size, found));
  }
  const auto kind = LoadLe<std::uint8_t>(entry, kKindAt);
  if (PayloadBytes(kind) == 0 || length != 1 + PayloadBytes(kind)) {
    return absl::UnimplementedError(absl::StrFormat(
        "an entry of kind %d and length %d, of a newer format than this program knows", kind,
        length));
  }
  return DecodedEntry{ReadPayload(kind, ByteReader(entry.subspan(kPayloadAt))), size};
}

std::int64_t FindVouchedEnd(ByteView bytes) {
  constexpr std::size_t kLength = 1 + PayloadBytes(kSynced);
  std::int64_t end = 0;
  for (; bytes.size() >= kKindAt + kLength; bytes = bytes.subspan(1)) {
    // The cheap tests first: this looks at every byte.
    if (LoadLe<std::uint32_t>(bytes, kLengthAt) != kLength) continue;
    if (LoadLe<std::uint8_t>(bytes, kKindAt) != kSynced) continue;
    if (LoadLe<std::uint32_t>(bytes, kCrcAt) != ChecksumOf(bytes.first(kKindAt + kLength)))
      continue;
    end = std::max(end, LoadLe<std::int64_t>(bytes, kPayloadAt));
  }
  return end;
}

absl::Status ApplyManifestEntry(const ManifestEntry& entry, ManifestState& state) {
  return std::visit(Applier{state}, entry);
}

}  // namespace cairn::storage
