#include <string>

#include "absl/strings/str_format.h"

#include "broker/api/handlers.h"
#include "broker/api/services.h"
#include "protocol/error_code.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

using ConfigEntries = flatbuffers::Vector<flatbuffers::Offset<wire::ConfigEntry>>;

absl::StatusOr<TopicConfigs> FromWire(const ConfigEntries* entries) {
  TopicConfigs configs;
  if (entries == nullptr) return configs;
  for (const wire::ConfigEntry* entry : *entries) {
    const auto [position, is_new] = configs.emplace(std::string(cairn::FromWire(entry->name())),
                                                    std::string(cairn::FromWire(entry->value())));
    if (!is_new) {
      return MakeError(ErrorCode::kInvalidConfig,
                       absl::StrFormat("%s is given twice", position->first));
    }
  }
  return configs;
}

}  // namespace

void HandleCreateTopic(const Request& request, const wire::CreateTopic& create) {
  using Outcome = absl::StatusOr<TopicId>;
  auto configs = FromWire(create.configs());
  if (!configs.ok()) return request.connection.Fail(request.correlation, configs.status());
  request.connection.services().catalog.CreateTopic(
      std::string(cairn::FromWire(create.name())), create.partitions(), *std::move(configs),
      request.connection.services().clock.Now(),
      AnswerLater<Outcome>(request,
                           [](Connection& on, std::uint64_t correlation, const Outcome& id) {
                             const wire::Uuid uuid = ToWire(*id);
                             on.Reply(correlation, wire::CreateTopicCreated(on.builder(), &uuid));
                           }));
}

void HandleAlterTopic(const Request& request, const wire::AlterTopic& alter) {
  auto configs = FromWire(alter.configs());
  if (!configs.ok()) return request.connection.Fail(request.correlation, configs.status());
  request.connection.services().catalog.AlterTopic(
      std::string(cairn::FromWire(alter.name())),
      {.configs = *std::move(configs),
       .partitions = alter.partitions(),
       .remap_keys = alter.remap_keys()},
      request.connection.services().clock.Now(),
      AnswerLater<absl::Status>(request,
                                [](Connection& on, std::uint64_t correlation, const absl::Status&) {
                                  on.Reply(correlation, wire::CreateTopicAltered(on.builder()));
                                }));
}

void HandleDeleteTopic(const Request& request, const wire::DeleteTopic& remove) {
  request.connection.services().catalog.DeleteTopic(
      std::string(cairn::FromWire(remove.name())), request.connection.services().clock.Now(),
      AnswerLater<absl::Status>(request,
                                [](Connection& on, std::uint64_t correlation, const absl::Status&) {
                                  on.Reply(correlation, wire::CreateTopicDeleted(on.builder()));
                                }));
}

void HandleTrimTopic(const Request& request, const wire::TrimTopic& trim) {
  using Outcome = absl::StatusOr<Offset>;
  request.connection.services().catalog.TrimTopic(
      cairn::FromWire(trim.name()), PartitionIndex(trim.partition()), Offset(trim.before()),
      request.connection.services().clock.Now(),
      AnswerLater<Outcome>(
          request, [](Connection& on, std::uint64_t correlation, const Outcome& log_start) {
            on.Reply(correlation, wire::CreateTopicTrimmed(on.builder(), log_start->value()));
          }));
}

}  // namespace cairn::broker
