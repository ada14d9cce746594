#include "tools/cairn/usage.h"

#include "absl/strings/cord.h"

namespace cairn::tools {
namespace {

constexpr char kUsagePayload[] = "cairn/usage";

}  // namespace

absl::Status UsageError(std::string message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

absl::Status AsUsageError(const absl::Status& status) {
  return status.ok() ? status : UsageError(std::string(status.message()));
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

}  // namespace cairn::tools
