#include <algorithm>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include <catch2/catch.hpp>

#include "protocol/checksum.h"
#include "protocol/error_code.h"
#include "protocol/messages.h"
#include "protocol/partitioner.h"
#include "protocol/record_batch.h"
#include "tests/protocol/examples.h"

// What WIRE.md shows and lists is what the code does.
namespace cairn {
namespace {

std::vector<std::string> Lines() {
  std::ifstream file(CAIRN_WIRE_DOCUMENT);
  REQUIRE(file.good());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

Bytes FromHex(const std::string& text) {
  Bytes bytes;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, 16);
    REQUIRE(error == std::errc());
    REQUIRE(end == word.data() + 2);
    bytes.push_back(static_cast<std::byte>(value));
  }
  return bytes;
}

// The blocks that begin with ```hex name=…, by name.
std::map<std::string, Bytes> HexBlocks() {
  constexpr std::string_view kFence = "```hex name=";
  std::map<std::string, Bytes> blocks;
  std::string name, text;
  for (const std::string& line : Lines()) {
    if (line.starts_with(kFence)) {
      name = line.substr(kFence.size());
      text.clear();
    } else if (line.starts_with("```") && !name.empty()) {
      CHECK(blocks.emplace(name, FromHex(text)).second);
      name.clear();
    } else if (!name.empty()) {
      text += line + " ";
    }
  }
  CHECK(name.empty());
  return blocks;
}

// A whole frame and its message, kept together.
struct Decoded {
  explicit Decoded(const Bytes& bytes) : frame_bytes(bytes) {
    const auto size = PeekFrame(frame_bytes, {});
    REQUIRE(size.ok());
    REQUIRE(size->frame_bytes == frame_bytes.size());
    const auto frame = ParseFrame(frame_bytes);
    REQUIRE(frame.ok());
    attachment = frame->attachment;
    const auto parsed = ParseMessage(frame->control);
    REQUIRE(parsed.ok());
    message = *parsed;
  }
  Decoded(const Decoded&) = delete;
  Decoded& operator=(const Decoded&) = delete;

  Bytes frame_bytes;
  MutableBytes attachment;
  const wire::Message* message = nullptr;
};

TEST_CASE("WIRE.md: there is a hex example for each frame it speaks of", "[protocol][document]") {
  std::set<std::string> names;
  for (const auto& [name, bytes] : HexBlocks()) names.insert(name);
  CHECK(names == std::set<std::string>{"hello-frame", "welcome-frame", "produce-frame",
                                       "produced-frame", "failure-frame"});
}

TEST_CASE("WIRE.md: the hex examples are what our builders make", "[protocol][document]") {
  auto blocks = HexBlocks();
  CHECK(blocks["hello-frame"] == examples::HelloFrame());
  CHECK(blocks["welcome-frame"] == examples::WelcomeFrame());
  CHECK(blocks["produce-frame"] == examples::ProduceFrame());
  CHECK(blocks["produced-frame"] == examples::ProducedFrame());
  CHECK(blocks["failure-frame"] == examples::FailureFrame());
}

TEST_CASE("WIRE.md: the first frames decode to what stands above them", "[protocol][document]") {
  auto blocks = HexBlocks();
  const Decoded hello(blocks["hello-frame"]);
  CHECK(hello.message->correlation() == 1);
  REQUIRE(hello.message->body_as_Hello() != nullptr);
  CHECK(hello.message->body_as_Hello()->protocol_version() == 1);
  CHECK(FromWire(hello.message->body_as_Hello()->client_id()) == "demo");
  CHECK(FromWire(hello.message->body_as_Hello()->software()) == "by-hand/1");

  const Decoded welcome(blocks["welcome-frame"]);
  CHECK(welcome.message->correlation() == 1);
  const auto* body = welcome.message->body_as_Welcome();
  REQUIRE(body != nullptr);
  CHECK(body->protocol_version() == 1);
  CHECK(body->features() == nullptr);
  CHECK(body->frame_bytes_max() == 67'174'400);
  CHECK(ToString(FromWire(*body->cluster_id())) == "0badcafe-0001-4def-9abc-102030405060");
  CHECK(FromWire(body->software()) == "cairnd/0.1.0");
}

TEST_CASE("WIRE.md: the Produce decodes to what stands above it", "[protocol][document]") {
  auto blocks = HexBlocks();
  const Decoded produce(blocks["produce-frame"]);
  CHECK(produce.message->correlation() == 2);
  const auto* body = produce.message->body_as_Produce();
  REQUIRE(body != nullptr);
  CHECK(ToString(FromWire(*body->topic())) == "c0ffee00-1234-4abc-8def-001122334455");
  CHECK(body->partition() == 3);
  CHECK(body->acks() == wire::Acks::Durable);

  const auto batch = RecordBatchView::Parse(produce.attachment);
  REQUIRE(batch.ok());
  CHECK(batch->size() == produce.attachment.size());
  Bytes scratch;
  CHECK(ValidateProduced(*batch, true, scratch).ok());
  CHECK(batch->producer_id() == ProducerId(7));
  CHECK(batch->base_sequence() == 0);
  RecordReader reader;
  REQUIRE(reader.Open(*batch, 1000).ok());
  RecordView record;
  REQUIRE(reader.Next(record));
  CHECK(record.timestamp == Timestamp(1'700'000'000'000));
  CHECK(AsText(record.key.value()) == "order-17");
  CHECK(AsText(record.value.value()) == "paid");
  REQUIRE(record.headers.size() == 1);
  CHECK(AsText(record.headers[0].name) == "source");
  CHECK(AsText(record.headers[0].value.value()) == "web");
  CHECK_FALSE(reader.Next(record));
  CHECK(reader.status().ok());
}

TEST_CASE("WIRE.md: the answers decode to what stands above them", "[protocol][document]") {
  auto blocks = HexBlocks();
  const Decoded produced(blocks["produced-frame"]);
  CHECK(produced.message->correlation() == 2);
  REQUIRE(produced.message->body_as_Produced() != nullptr);
  CHECK(produced.message->body_as_Produced()->base_offset() == 4096);
  CHECK(produced.message->body_as_Produced()->durability() == wire::Durability::Durable);
  CHECK_FALSE(produced.message->body_as_Produced()->duplicate());

  const Decoded failure(blocks["failure-frame"]);
  CHECK(failure.message->correlation() == 2);
  const auto* body = failure.message->body_as_Failure();
  REQUIRE(body != nullptr);
  CHECK(static_cast<ErrorCode>(body->code()) == ErrorCode::kUnknownTopic);
  CHECK(FromWire(body->message()) == "no such topic");
}

TEST_CASE("WIRE.md: the annotations of the Produce are the bytes of the frame",
          "[protocol][document]") {
  const Bytes frame = HexBlocks()["produce-frame"];
  bool inside = false;
  std::size_t rows = 0, seen = 0;
  for (const std::string& line : Lines()) {
    if (line == "| at | bytes | |") inside = true;
    if (!line.starts_with("|")) inside = false;
    std::size_t at = 0;
    const auto [end, error] = std::from_chars(line.data() + std::min<std::size_t>(2, line.size()),
                                              line.data() + line.size(), at);
    const std::size_t from = line.find('`');
    const std::size_t to = line.find('`', from + 1);
    if (!inside || error != std::errc() || to == std::string::npos) continue;
    std::string hex = line.substr(from + 1, to - from - 1);
    const std::size_t gap = hex.find(" …");
    if (gap != std::string::npos) hex.resize(gap);
    const Bytes bytes = FromHex(hex);
    CAPTURE(line);
    REQUIRE(at + bytes.size() <= frame.size());
    CHECK(Bytes(frame.begin() + static_cast<std::ptrdiff_t>(at),
                frame.begin() + static_cast<std::ptrdiff_t>(at + bytes.size())) == bytes);
    ++rows;
    seen += bytes.size();
  }
  CHECK(rows == 36);
  CHECK(seen > 150);
}

TEST_CASE("WIRE.md: its error table is the one in the code", "[protocol][document]") {
  std::set<std::string> rows;
  for (const std::string& line : Lines()) {
    if (!line.starts_with("| ") || line.find("_") == 0) continue;
    rows.insert(line);
  }
  const auto row_of = [&](const std::string& start) {
    const auto found = rows.lower_bound(start);
    return found != rows.end() && found->starts_with(start) ? *found : std::string();
  };
  for (int number = 0; number <= static_cast<int>(ErrorCode::kResetUnderWay); ++number) {
    const auto code = static_cast<ErrorCode>(number);
    const std::string row = row_of(absl::StrFormat("| %d | %s |", number, NameOf(code)));
    CAPTURE(number, NameOf(code));
    REQUIRE_FALSE(row.empty());
    CHECK(row.ends_with("| yes |") == IsTransient(code));
  }
  CHECK(row_of("| 39 |").empty());
}

TEST_CASE("WIRE.md: its partition vectors are the ones of the code", "[protocol][document]") {
  Bytes counting(1u << 20);
  for (std::size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<std::byte>(i & 0xff);
  const auto filled = [](std::size_t size, char c) {
    return Bytes(size, static_cast<std::byte>(c));
  };
  const auto text = AsBytes("order-17");
  const std::vector<std::pair<std::string, Bytes>> keys = {
      {"empty (0 bytes)", {}},
      {"`a` (1 byte, 0x61)", filled(1, 'a')},
      {"one zero byte", filled(1, '\0')},
      {"`order-17` (8 bytes)", Bytes(text.begin(), text.end())},
      {"240 × `x` (0x78)", filled(240, 'x')},
      {"241 × `x`", filled(241, 'x')},
      {"1,048,576 zero bytes", filled(1u << 20, '\0')},
      {"1,048,576 bytes, byte *i* = *i* mod 256", counting},
  };
  std::set<std::string> lines;
  for (const std::string& line : Lines()) lines.insert(line);
  for (const auto& [name, key] : keys) {
    const std::string row =
        absl::StrFormat("| %s | `%016x` | %d | %d |", name, Xxh3(key),
                        PartitionForKey(key, 4).value(), PartitionForKey(key, 7).value());
    CAPTURE(row);
    CHECK(lines.contains(row));
  }
}

}  // namespace
}  // namespace cairn
