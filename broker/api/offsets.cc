#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "broker/api/connection_table.h"
#include "broker/api/handlers.h"
#include "protocol/error_code.h"

namespace cairn::broker {
namespace {

// One reply must fit in a control message.
constexpr std::size_t kQueriesMax = 10'000;

using Answers = std::vector<wire::PartitionOffsets>;

void Encode(Connection& connection, std::uint64_t correlation, const Answers& answers) {
  auto& builder = connection.builder();
  const auto partitions = builder.CreateVectorOfStructs(answers);
  connection.Reply(correlation, wire::CreateOffsetsReply(builder, partitions));
}

wire::PartitionOffsets Unknown(const wire::OffsetQuery& query, ErrorCode code) {
  return {-1, -1, -1, -1, query.partition(), -1, static_cast<std::uint16_t>(code)};
}

// PARTITION_OFFLINE if damage stands where the end would be: what comes before it can still be
// read.
std::uint16_t CodeOfEnd(const Partition& partition) {
  const ErrorCode code = CodeOf(partition.write_state());
  return code == ErrorCode::kPartitionOffline ? static_cast<std::uint16_t>(code) : 0;
}

wire::PartitionOffsets EndsOf(const Partition& partition) {
  const Partition::Ends ends = partition.ends();
  return {ends.log_start.value(),
          ends.committed_end.value(),
          -1,
          -1,
          partition.id().partition.value(),
          ends.leader_epoch.value(),
          CodeOfEnd(partition)};
}

using Found = absl::StatusOr<std::optional<storage::Log::TimeMatch>>;

wire::PartitionOffsets AtTime(const Partition& partition, const Found& found) {
  wire::PartitionOffsets answer = EndsOf(partition);
  if (!found.ok()) {
    return {answer.log_start(),
            answer.committed_end(),
            -1,
            -1,
            answer.partition(),
            answer.leader_epoch(),
            static_cast<std::uint16_t>(CodeOf(found.status()))};
  }
  if (!*found) {
    return {answer.log_start(), answer.committed_end(), answer.committed_end(), -1,
            answer.partition(), answer.leader_epoch(),  answer.code()};
  }
  return {answer.log_start(),
          answer.committed_end(),
          (*found)->offset.value(),
          (*found)->timestamp.value(),
          answer.partition(),
          (*found)->leader_epoch.value(),
          0};
}

// Gathers the look-ups of one request, each of which ends on a helper thread, and answers when the
// last one has.
class Gathering : public std::enable_shared_from_this<Gathering> {
 public:
  Gathering(const Request& request, std::size_t size)
      : connection_(request.connection.shared_from_this()),
        correlation_(request.correlation),
        answers_(size) {
    connection_->Expect();
  }

  void Set(std::size_t index, const wire::PartitionOffsets& answer) {
    const std::lock_guard lock(mutex_);
    answers_[index] = answer;
  }
  void LookUp(std::size_t index, const std::shared_ptr<Partition>& partition, Timestamp time) {
    partition->FindTime(time, [self = shared_from_this(), index, partition](const Found& found) {
      self->Set(index, AtTime(*partition, found));
    });
  }
  // The last holder lets go: everything is there.
  ~Gathering() {
    connection_->Post([correlation = correlation_, answers = std::move(answers_)](Connection& on) {
      on.Answered();
      Encode(on, correlation, answers);
    });
  }

 private:
  const std::shared_ptr<Connection> connection_;
  const std::uint64_t correlation_;
  std::mutex mutex_;
  Answers answers_;  // guarded by mutex_
};

}  // namespace

void HandleListOffsets(const Request& request, const wire::ListOffsets& list) {
  Connection& connection = request.connection;
  const ServedTopics& topics = connection.table().topics();
  const TopicId id = FromWire(*list.topic());
  const ServedTopic* topic = topics.Find(id);
  if (topic == nullptr) {
    return connection.Fail(request.correlation,
                           MakeError(ErrorCode::kUnknownTopic,
                                     absl::StrFormat("no topic has the id %s", ToString(id))));
  }
  const std::size_t count = list.queries() == nullptr ? 0 : list.queries()->size();
  if (count > kQueriesMax) {
    return connection.Fail(
        request.correlation,
        MakeError(ErrorCode::kInvalidRequest,
                  absl::StrFormat("%d queries; at most %d at a time", count, kQueriesMax)));
  }
  const auto gathering = std::make_shared<Gathering>(request, count);
  for (std::size_t i = 0; i < count; ++i) {
    const wire::OffsetQuery& query = *list.queries()->Get(static_cast<flatbuffers::uoffset_t>(i));
    const auto index = static_cast<std::size_t>(query.partition());
    if (query.partition() < 0 || index >= topic->partitions.size()) {
      gathering->Set(i, Unknown(query, ErrorCode::kUnknownPartition));
    } else if (query.timestamp() == -1) {
      gathering->Set(i, EndsOf(*topic->partitions[index]));
    } else {
      gathering->LookUp(i, topic->partitions[index], Timestamp(query.timestamp()));
    }
  }
}

}  // namespace cairn::broker
