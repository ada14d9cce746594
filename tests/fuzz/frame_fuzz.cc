// The frame decoder, as a connection uses it: peek, take apart, go on behind the frame.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "protocol/check.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "protocol/record_batch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  // As large as the input says, aligned as a receive buffer is.
  std::vector<std::uint64_t> storage(size / 8 + 1);
  std::memcpy(storage.data(), data, size);
  MutableBytes rest(reinterpret_cast<std::byte*>(storage.data()), size);

  while (!rest.empty()) {
    const auto peeked = PeekFrame(rest, {});
    if (!peeked.ok() || peeked->frame_bytes == 0) break;
    CAIRN_CHECK(peeked->frame_bytes % 8 == 0);
    if (peeked->frame_bytes > rest.size()) break;
    const auto frame = ParseFrame(rest.first(peeked->frame_bytes));
    if (!frame.ok()) break;
    CAIRN_CHECK(frame->frame_bytes == peeked->frame_bytes);
    CAIRN_CHECK(kFrameHeaderBytes + frame->control.size() + frame->attachment.size() <=
                frame->frame_bytes);
    if (ParseMessage(frame->control).ok() && !frame->attachment.empty()) {
      (void)RecordBatchView::SizeOf(frame->attachment);
    }
    rest = rest.subspan(frame->frame_bytes);
  }
  return 0;
}
