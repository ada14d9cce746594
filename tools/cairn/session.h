#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "client/admin.h"
#include "client/cluster.h"
#include "protocol/types.h"
#include "tools/cairn/output.h"
#include "tools/cairn/table.h"

namespace cairn::tools {

// What every command has: the global options, the way to the broker, stdout and the time.
class Session {
 public:
  std::string broker;  // HOST:PORT
  bool json = false;   // --format json
  Timestamp now;       // when the command began
  Output output;

  // Connects when first used.
  absl::StatusOr<std::shared_ptr<client::Cluster>> Cluster();
  // For questions (short patience) and for changes (the broker may have much to do).
  absl::StatusOr<client::Admin> Ask();
  absl::StatusOr<client::Admin> Change();

  // Writes a table the way --format says.
  void Print(const Table& table);
  // A line for people on stderr.
  static void Say(const std::string& line);

  // Adds to an error what the user can do about it.
  absl::Status Explain(const absl::Status& status) const;

 private:
  std::shared_ptr<client::Cluster> cluster_;
};

// A command at work: its exit code, or an error that main prints.
using Run = std::function<absl::StatusOr<int>(Session&)>;

}  // namespace cairn::tools
