#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"

#include "bench/consume_load.h"
#include "bench/produce_load.h"
#include "bench/target.h"

namespace cairn::bench {

// A consumer that reads, beside what is measured, a topic of which nothing is in memory.
class ColdReader {
 public:
  // Fills a topic of its own with so many bytes and has the system forget them. Needs a broker that
  // this run started, for its files.
  //   kInvalidArgument  it is another one
  static absl::StatusOr<std::unique_ptr<ColdReader>> Open(Target& target,
                                                          const LoadOptions& options,
                                                          std::int64_t bytes);
  ~ColdReader();  // stops

  void Start();
  absl::Status Stop();
  Window::Counts counts() const { return load_->counts(); }

 private:
  explicit ColdReader(std::unique_ptr<ConsumeLoad> load) : load_(std::move(load)) {}

  std::unique_ptr<ConsumeLoad> load_;
  std::thread thread_;
};

}  // namespace cairn::bench
