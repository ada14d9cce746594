#include "client/address.h"

#include <catch2/catch.hpp>

namespace cairn::client {

TEST_CASE("ParseAddress: a host and a port", "[client][address]") {
  CHECK(*ParseAddress("127.0.0.1:7654") == Address{"127.0.0.1", 7654});
  CHECK(*ParseAddress("broker.example:1") == Address{"broker.example", 1});
  CHECK(*ParseAddress("[::1]:65535") == Address{"::1", 65535});
}

TEST_CASE("ParseAddress: what is not HOST:PORT is refused and quoted", "[client][address]") {
  const std::string text =
      GENERATE("", "host", "host:", ":7654", "host:0", "host:65536", "host:7x", "::1:7654", "[]:1");
  const auto address = ParseAddress(text);
  REQUIRE(absl::IsInvalidArgument(address.status()));
  CHECK(std::string(address.status().message()).find("'" + text + "'") != std::string::npos);
}

}  // namespace cairn::client
