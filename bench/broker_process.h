#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/status/statusor.h"

#include "bench/machine.h"

namespace cairn::bench {

// A cairnd of this run's own, on a free loopback port and an empty data directory, both gone with
// this object. It dies with this process, however that ends.
class BrokerProcess {
 public:
  struct Options {
    std::string cairnd;              // the program; empty: the one of the same build or install
    std::string dir;                 // where its data directory goes; empty: the working directory
    std::vector<std::string> flags;  // more of them, as cairnd takes them
    bool pin = true;                 // to BrokerCore()
  };

  //   kNotFound     there is no such program
  //   kUnavailable  it did not come up; the message has what it said last
  static absl::StatusOr<BrokerProcess> Start(const Options& options);

  BrokerProcess(BrokerProcess&& other) noexcept;
  BrokerProcess& operator=(BrokerProcess&&) = delete;
  ~BrokerProcess();

  const std::string& address() const { return address_; }  // HOST:PORT
  pid_t pid() const { return pid_; }
  std::string data_dir() const { return dir_.path() + "/data"; }

 private:
  BrokerProcess(ScratchDir dir, pid_t pid) : dir_(std::move(dir)), pid_(pid) {}

  absl::Status AwaitReady(int from);

  ScratchDir dir_;
  pid_t pid_;
  std::string address_;
};

}  // namespace cairn::bench
