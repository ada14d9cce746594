#include "tools/cairn/session.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/status.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr client::Duration kAskTimeout{5'000};
constexpr client::Duration kChangeTimeout{60'000};

bool BrokerIsAway(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

absl::StatusOr<std::shared_ptr<client::Cluster>> Session::Cluster() {
  if (cluster_ == nullptr) {
    client::ClusterOptions options;
    options.broker = broker;
    options.client_id = "cairn";
    absl::StatusOr<std::shared_ptr<client::Cluster>> opened =
        client::Cluster::Open(std::move(options));
    // Only an address that is none is refused without asking anybody.
    if (absl::IsInvalidArgument(opened.status())) {
      return UsageError(std::string(opened.status().message()));
    }
    ASSIGN_OR_RETURN(cluster_, std::move(opened));
  }
  return cluster_;
}

absl::StatusOr<client::Admin> Session::Ask() {
  ASSIGN_OR_RETURN(auto cluster, Cluster());
  return client::Admin(std::move(cluster), kAskTimeout);
}

absl::StatusOr<client::Admin> Session::Change() {
  ASSIGN_OR_RETURN(auto cluster, Cluster());
  return client::Admin(std::move(cluster), kChangeTimeout);
}

void Session::Print(const Table& table) {
  if (!json) return table.AppendText(output.buffer());
  JsonWriter writer(output.buffer());
  table.WriteJson(writer);
  output.Write("\n");
}

void Session::Say(const std::string& line) { absl::FPrintF(stderr, "%s\n", line); }

absl::Status Session::Explain(const absl::Status& status) const {
  if (cluster_ == nullptr) return status;  // nothing of this came from a broker
  std::string hint;
  if (BrokerIsAway(status) && !cluster_->connected()) {
    hint = absl::StrFormat(
        "is cairnd running on %s? Name another broker with -b HOST:PORT or CAIRN_BROKER", broker);
  } else if (CodeOf(status) == ErrorCode::kUnknownTopic) {
    hint = "'cairn topic list' shows the topics, 'cairn topic create NAME -p N' makes one";
  } else if (CodeOf(status) == ErrorCode::kUnknownGroup) {
    hint = "'cairn group list' shows the groups";
  }
  if (hint.empty()) return status;
  return absl::Status(status.code(),
                      absl::StrFormat("%s (%s)", std::string(status.message()), hint));
}

}  // namespace cairn::tools
