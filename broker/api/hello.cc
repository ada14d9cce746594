#include <string>

#include "absl/strings/str_format.h"

#include "broker/api/handlers.h"
#include "broker/api/services.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"

namespace cairn::broker {

void HandleHello(const Request& request, const wire::Hello& hello) {
  Connection& connection = request.connection;
  if (connection.greeted()) {
    return connection.Fail(request.correlation,
                           MakeError(ErrorCode::kInvalidRequest, "Hello was said before"));
  }
  if (hello.protocol_version() != kProtocolVersion) {
    return connection.Finish(MakeError(
        ErrorCode::kUnsupportedVersion,
        absl::StrFormat("protocol version %d is not spoken here; this broker speaks version %d",
                        hello.protocol_version(), kProtocolVersion)));
  }
  const std::string_view client_id = FromWire(hello.client_id());
  if (client_id.size() > kClientIdBytesMax) {
    return connection.Finish(MakeError(ErrorCode::kInvalidRequest,
                                       absl::StrFormat("a client id of %d bytes; %d are allowed",
                                                       client_id.size(), kClientIdBytesMax)));
  }
  connection.Greet(std::string(client_id));

  const Services& services = connection.services();
  auto& builder = connection.builder();
  const auto software = ToWire(builder, services.facts.software);
  const wire::Uuid cluster = ToWire(services.data_dir.cluster_id());
  wire::WelcomeBuilder welcome(builder);
  welcome.add_protocol_version(kProtocolVersion);
  welcome.add_frame_bytes_max(kFrameBytesMax);
  welcome.add_cluster_id(&cluster);
  welcome.add_software(software);
  connection.Reply(request.correlation, welcome.Finish());
}

void HandlePing(const Request& request) {
  request.connection.Reply(request.correlation, wire::CreatePong(request.connection.builder()));
}

}  // namespace cairn::broker
