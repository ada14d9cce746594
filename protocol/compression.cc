#include "protocol/compression.h"

#include <algorithm>
#include <lz4frame.h>
#include <memory>
#include <zstd.h>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"

namespace cairn {
namespace {

// Unpacked bytes are produced in steps, so that memory follows what is really there and not what a
// block claims to hold.
constexpr std::size_t kUnpackStep = 64u << 10;

struct ZstdFree {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};
struct Lz4Free {
  void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
};

absl::Status Broken(Codec codec, std::string_view why) {
  return absl::DataLossError(
      absl::StrFormat("a compressed block is not valid %s: %s", ToString(codec), why));
}

absl::Status TooLarge(std::size_t bytes_max) {
  return absl::ResourceExhaustedError(
      absl::StrFormat("a compressed block unpacks to more than %d bytes", bytes_max));
}

// Makes room for one more step in `out`, whose first `used` bytes are filled; false at the bound.
// One byte more than the bound is allowed, so that an end that is exact can be told from one that
// is not.
bool MakeRoom(Bytes& out, std::size_t used, std::size_t bytes_max) {
  if (used < out.size()) return true;
  if (used > bytes_max) return false;
  out.resize(std::min(bytes_max + 1, used + std::max(kUnpackStep, used)));
  return true;
}

absl::Status CompressZstd(ByteView plain, Bytes& out) {
  // A context costs hundreds of KiB to make; one stays with each thread that compresses.
  thread_local const std::unique_ptr<ZSTD_CCtx, ZstdFree> context(ZSTD_createCCtx());
  if (context == nullptr) return absl::ResourceExhaustedError("no memory for a zstd context");
  const std::size_t at = out.size();
  out.resize(at + ZSTD_compressBound(plain.size()));
  const std::size_t size = ZSTD_compressCCtx(context.get(), out.data() + at, out.size() - at,
                                             plain.data(), plain.size(), ZSTD_CLEVEL_DEFAULT);
  if (ZSTD_isError(size) != 0) {
    out.resize(at);
    return absl::InternalError(absl::StrFormat("zstd: %s", ZSTD_getErrorName(size)));
  }
  out.resize(at + size);
  return absl::OkStatus();
}

absl::Status CompressLz4(ByteView plain, Bytes& out) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  const std::size_t at = out.size();
  out.resize(at + LZ4F_compressFrameBound(plain.size(), &preferences));
  const std::size_t size = LZ4F_compressFrame(out.data() + at, out.size() - at, plain.data(),
                                              plain.size(), &preferences);
  if (LZ4F_isError(size) != 0) {
    out.resize(at);
    return absl::InternalError(absl::StrFormat("lz4: %s", LZ4F_getErrorName(size)));
  }
  out.resize(at + size);
  return absl::OkStatus();
}

absl::Status DecompressZstd(ByteView packed, std::size_t bytes_max, Bytes& out) {
  thread_local const std::unique_ptr<ZSTD_DCtx, ZstdFree> context(ZSTD_createDCtx());
  if (context == nullptr) return absl::ResourceExhaustedError("no memory for a zstd context");
  ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_only);
  // A frame may ask for a window of any size, which stays with this thread: 8 MiB is what RFC 8878
  // has every decoder support, and all that the levels up to 19 use.
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, 23);

  ZSTD_inBuffer input{packed.data(), packed.size(), 0};
  std::size_t used = 0;
  for (;;) {
    if (!MakeRoom(out, used, bytes_max)) return TooLarge(bytes_max);
    ZSTD_outBuffer output{out.data(), out.size(), used};
    const std::size_t left = ZSTD_decompressStream(context.get(), &output, &input);
    if (ZSTD_isError(left) != 0) return Broken(Codec::kZstd, ZSTD_getErrorName(left));
    const bool stuck = output.pos == used && output.pos < output.size && input.pos == input.size;
    used = output.pos;
    if (left == 0) break;
    if (stuck) return Broken(Codec::kZstd, "it ends too early");
  }
  if (used > bytes_max) return TooLarge(bytes_max);
  if (input.pos != input.size) return Broken(Codec::kZstd, "bytes follow its end");
  out.resize(used);
  return absl::OkStatus();
}

absl::Status DecompressLz4(ByteView packed, std::size_t bytes_max, Bytes& out) {
  LZ4F_dctx* raw = nullptr;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&raw, LZ4F_VERSION)) != 0) {
    return absl::ResourceExhaustedError("no memory for an lz4 context");
  }
  const std::unique_ptr<LZ4F_dctx, Lz4Free> context(raw);

  std::size_t consumed = 0;
  std::size_t used = 0;
  for (;;) {
    if (!MakeRoom(out, used, bytes_max)) return TooLarge(bytes_max);
    std::size_t room = out.size() - used;
    std::size_t taken = packed.size() - consumed;
    const std::size_t left = LZ4F_decompress(context.get(), out.data() + used, &room,
                                             packed.data() + consumed, &taken, nullptr);
    if (LZ4F_isError(left) != 0) return Broken(Codec::kLz4, LZ4F_getErrorName(left));
    used += room;
    consumed += taken;
    if (left == 0) break;
    if (room == 0 && taken == 0) return Broken(Codec::kLz4, "it ends too early");
  }
  if (used > bytes_max) return TooLarge(bytes_max);
  if (consumed != packed.size()) return Broken(Codec::kLz4, "bytes follow its end");
  out.resize(used);
  return absl::OkStatus();
}

}  // namespace

std::optional<Codec> CodecOf(std::uint8_t number) {
  switch (number) {
    case 0:
      return Codec::kNone;
    case 3:
      return Codec::kLz4;
    case 4:
      return Codec::kZstd;
    default:
      return std::nullopt;
  }
}

std::string_view ToString(Codec codec) {
  switch (codec) {
    case Codec::kNone:
      return "none";
    case Codec::kLz4:
      return "lz4";
    case Codec::kZstd:
      return "zstd";
  }
  return "none";
}

absl::StatusOr<Codec> ParseCodec(std::string_view name) {
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    if (name == ToString(codec)) return codec;
  }
  return MakeError(ErrorCode::kUnsupportedCodec,
                   absl::StrFormat("'%s' is not a codec: none, lz4 or zstd", name.substr(0, 64)));
}

absl::Status Compress(Codec codec, ByteView plain, Bytes& out) {
  switch (codec) {
    case Codec::kNone:
      AppendBytes(out, plain);
      return absl::OkStatus();
    case Codec::kLz4:
      return CompressLz4(plain, out);
    case Codec::kZstd:
      return CompressZstd(plain, out);
  }
  return MakeError(ErrorCode::kUnsupportedCodec, "not a codec");
}

absl::Status Decompress(Codec codec, ByteView packed, std::size_t bytes_max, Bytes& out) {
  out.clear();
  switch (codec) {
    case Codec::kNone:
      if (packed.size() > bytes_max) return TooLarge(bytes_max);
      AppendBytes(out, packed);
      return absl::OkStatus();
    case Codec::kLz4:
      return DecompressLz4(packed, bytes_max, out);
    case Codec::kZstd:
      return DecompressZstd(packed, bytes_max, out);
  }
  return MakeError(ErrorCode::kUnsupportedCodec, "not a codec");
}

}  // namespace cairn
