#pragma once

#include <memory>
#include <string>

#include <catch2/catch.hpp>

#include "broker/runtime/logging.h"
#include "broker/server.h"
#include "tests/storage/temp_dir.h"
#include "tests/support/raw_client.h"

namespace cairn::test {

// A broker in this process, on a data directory of its own and any free port.
class RunningServer {
 public:
  explicit RunningServer(const broker::ServerOptions& options = broker::ServerOptions())
      : options_(options) {
    broker::SetLogLevel(broker::LogLevel::kError);
    options_.data_dir = directory_ / "data";
    options_.listen.address.port = 0;
    if (options_.threads == 0) options_.threads = 2;
    Start();
  }

  void Start() {
    auto server = broker::Server::Start(options_);
    INFO(server.status());
    REQUIRE(server.ok());
    server_ = *std::move(server);
  }
  void Stop() {
    const absl::Status stopped = server_->Stop();
    INFO(stopped);
    CHECK(stopped.ok());
    server_.reset();
  }
  void Restart() {
    Stop();
    Start();
  }

  std::uint16_t port() const { return server_->port(); }
  broker::Server& operator*() { return *server_; }
  broker::Server* operator->() { return server_.get(); }
  const broker::ServerOptions& options() const { return options_; }
  RawClient Connect() const { return RawClient::Greeted(port()); }

 private:
  storage::TempDir directory_;
  broker::ServerOptions options_;
  std::unique_ptr<broker::Server> server_;
};

}  // namespace cairn::test
