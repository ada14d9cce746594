#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "client/backoff.h"
#include "client/consumer.h"
#include "client/core.h"
#include "client/group_member.h"
#include "client/partition_reader.h"

namespace cairn::client {

// What a Consumer is inside: the readers, which belong to the application's thread, and a mailbox
// into which the I/O thread puts what subscriptions bring. Frames stay in the buffers they were
// received into; they are checked and taken apart by Poll.
//
// Threads: the application's, except where it says otherwise.
class Consumer::State final : public std::enable_shared_from_this<State>,
                              public GroupMember::Reading {
 public:
  State(std::shared_ptr<Core> core, const ConsumerOptions& options);

  absl::Status Assign(std::vector<Assignment> assignments, Duration timeout);
  absl::StatusOr<PolledRecords> Poll(Duration timeout, std::size_t records_max);
  absl::Status Subscribe(std::vector<std::string> topics);
  absl::Status Seek(std::string_view topic, PartitionIndex partition, StartPosition start);
  absl::StatusOr<PartitionReader*> Find(std::string_view topic, PartitionIndex partition);
  bool finished() const;
  void Wake();  // any thread
  // kFailedPrecondition: this consumer is not in a group.
  absl::StatusOr<GroupMember*> member();
  std::vector<GroupPartition> assignment() const;
  absl::Status Close(Duration timeout);
  void Abandon();

 private:
  using Clock = std::chrono::steady_clock;

  struct Subscribed {
    Offset start, committed_end;
    std::optional<Offset> stop;
  };
  struct Batches {
    SharedBytes bytes;
    Offset committed_end;
  };
  struct Lost {};
  // What the I/O thread tells about a subscription; a status: it was refused.
  struct Letter {
    std::uint32_t subscription;
    std::variant<Subscribed, absl::Status, Batches, SubscriptionEnd, Lost> content;
  };
  // A subscription as the I/O thread knows it.
  struct Handle {
    explicit Handle(std::uint32_t its_id) : id(its_id) {}

    const std::uint32_t id;
    bool abandoned = false;
  };

  // GroupMember::Reading
  void Begin(const GivenPartition& given) override;
  void End(const TopicPartition& id) override;
  void AwaitNews(Clock::time_point until) override;

  absl::Status CheckOpen() const;
  absl::StatusOr<PolledRecords> PollUntil(Clock::time_point deadline, std::size_t records_max);
  // What the group must know about what is handed out.
  void NotePosition(const PartitionReader& reader);
  void NoteEvents(const PartitionReader& reader, const PolledRecords& polled, std::size_t from);

  void Subscribe(PartitionReader& reader);
  void Abandon(PartitionReader& reader);
  void Drop(std::uint32_t subscription);
  void SubscribeWhereWanted();
  void OpenMail();
  void Apply(Letter& letter);
  PartitionReader* FindBySubscription(std::uint32_t subscription);
  absl::Status Collect(std::size_t records_max, PolledRecords& polled);
  void GiveCredit();
  bool AwaitMail(Clock::time_point deadline);

  // The I/O thread's.
  void OnAnswer(const std::shared_ptr<Handle>& handle, const absl::Status& status,
                const wire::Message* message);
  void OnPush(std::uint32_t subscription, const ReceivedFrame* frame);
  void Post(std::uint32_t subscription, decltype(Letter::content) content);
  void Unsubscribe(std::uint32_t subscription);

  const std::shared_ptr<Core> core_;
  const ConsumerOptions options_;

  // The application's thread's.
  std::vector<std::unique_ptr<PartitionReader>> readers_;
  std::map<std::uint32_t, std::pair<PartitionReader*, std::shared_ptr<Handle>>> subscriptions_;
  std::size_t next_reader_ = 0;  // whose turn it is
  Backoff backoff_;
  std::optional<Clock::time_point> subscribe_at_;  // not before: the broker asked for patience
  absl::Status error_;                             // to be returned by the next Poll
  std::unique_ptr<GroupMember> member_;            // null: not subscribed
  bool closed_ = false;

  std::mutex mutex_;  // guards what follows
  std::condition_variable mail_came_;
  std::vector<Letter> mail_;
  bool woken_ = false;
  bool news_ = false;  // of the group's session
};

}  // namespace cairn::client
