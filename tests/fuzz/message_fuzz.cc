// Control messages: whatever passes ParseMessage must be safe to read to its last field. Unpacking
// into the object form, which only this target generates, reads every one.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "protocol/check.h"
#include "protocol/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  static std::vector<std::uint64_t> aligned;
  aligned.resize(size / 8 + 1);
  std::memcpy(aligned.data(), data, size);
  const auto message =
      ParseMessage(ByteView(reinterpret_cast<const std::byte*>(aligned.data()), size));
  if (!message.ok()) return 0;
  const std::unique_ptr<wire::MessageT> copy((*message)->UnPack());
  CAIRN_CHECK(copy->body.type != wire::Body::NONE);
  return 0;
}
