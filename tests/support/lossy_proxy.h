#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <random>
#include <thread>

namespace cairn::test {

// A TCP proxy on loopback that understands frames from the broker and treats them badly: it
// swallows one answer in `drop_one_in`, and cuts the connection after swallowing one and, besides,
// after one answer in `cut_one_in`. The first frame of a connection (Welcome) always gets through.
// What is decided depends on the seed and on the order in which answers come.
//
// Threads: one per listener and two per connection; the destructor ends and joins them all.
class LossyProxy {
 public:
  struct Options {
    std::uint16_t broker_port = 0;
    std::uint32_t seed = 1;
    std::uint32_t drop_one_in = 10;
    std::uint32_t cut_one_in = 50;
  };
  struct Counts {
    std::int64_t answers = 0, dropped = 0, cut = 0, connections = 0;
  };

  explicit LossyProxy(Options options);
  ~LossyProxy();

  std::uint16_t port() const { return port_; }
  Counts counts() const;
  // From now on everything gets through: for the end of a test.
  void Behave() { behave_ = true; }

 private:
  struct Link {
    int client = -1;
    int broker = -1;
    std::thread up;
    std::thread down;
  };

  void Accept();
  void Forward(Link& link);         // client -> broker, byte by byte as it comes
  void ForwardAnswers(Link& link);  // broker -> client, frame by frame
  enum class Fate { kPass, kDropAndCut, kCut };
  Fate Decide();

  Options options_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> behave_{false};

  mutable std::mutex mutex_;  // guards what is below
  std::mt19937 random_;
  Counts counts_;
  std::list<Link> links_;

  std::thread acceptor_;
};

}  // namespace cairn::test
