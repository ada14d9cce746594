#include "client/consumer_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "client/deadline.h"
#include "client/detached.h"
#include "client/polled_frames.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::client {
namespace {

// A subscription is asked for until there is a broker to ask, however long that takes.
constexpr std::chrono::hours kPatience{24 * 365};

std::optional<Offset> OffsetOrNothing(std::int64_t offset) {
  if (offset < 0) return std::nullopt;
  return Offset(offset);
}

wire::StartAt ToWire(StartPosition::Kind kind) {
  switch (kind) {
    case StartPosition::Kind::kOffset:
      return wire::StartAt::Offset;
    case StartPosition::Kind::kEarliest:
      return wire::StartAt::Earliest;
    case StartPosition::Kind::kLatest:
      return wire::StartAt::Latest;
    case StartPosition::Kind::kTime:
      return wire::StartAt::Timestamp;
  }
  return wire::StartAt::Offset;
}

// Where a member begins to read what it was given.
Assignment AssignmentOf(const GivenPartition& given, const AutoOffsetReset& reset) {
  Assignment assignment{.topic = given.topic, .partition = given.id.partition};
  if (given.committed.offset != kNoOffset) {
    assignment.start = StartPosition::At(given.committed.offset);
  } else if (reset.kind() == AutoOffsetReset::Kind::kLatest) {
    assignment.start = StartPosition::Latest();
  } else if (reset.kind() == AutoOffsetReset::Kind::kTime) {
    assignment.start = StartPosition::AtTime(reset.time());
  }
  return assignment;
}

PartitionReader::OutOfRange OutOfRangeOf(const AutoOffsetReset& reset) {
  switch (reset.kind()) {
    case AutoOffsetReset::Kind::kError:
      return PartitionReader::OutOfRange::kError;
    case AutoOffsetReset::Kind::kLatest:
      return PartitionReader::OutOfRange::kLatest;
    default:
      return PartitionReader::OutOfRange::kEarliest;
  }
}

}  // namespace

Consumer::State::State(std::shared_ptr<Core> core, const ConsumerOptions& options)
    : core_(std::move(core)),
      options_(options),
      backoff_(core_->options().backoff_min, core_->options().backoff_max) {}

// ---- assignments ----

absl::Status Consumer::State::Assign(std::vector<Assignment> assignments, Duration timeout) {
  RETURN_IF_ERROR(CheckOpen());
  if (member_ != nullptr) {
    return absl::FailedPreconditionError("what a member of a group reads is given by the group");
  }
  const auto deadline = DeadlineAfter(timeout);
  std::vector<std::unique_ptr<PartitionReader>> readers;
  // Asked anew: a topic of that name may be another by now.
  for (const Assignment& assignment : assignments) core_->metadata().Forget(assignment.topic);
  for (Assignment& assignment : assignments) {
    const auto left = std::chrono::duration_cast<Duration>(deadline - Clock::now());
    ASSIGN_OR_RETURN(const auto topic,
                     core_->ResolveTopic(assignment.topic, std::max(left, Duration(1))));
    if (assignment.partition.value() < 0 || assignment.partition.value() >= topic->partitions) {
      return MakeError(
          ErrorCode::kUnknownPartition,
          absl::StrFormat("topic %s has no partition %d, only 0 to %d", assignment.topic,
                          assignment.partition.value(), topic->partitions - 1));
    }
    readers.push_back(
        std::make_unique<PartitionReader>(std::move(assignment), topic->id, options_.out_of_range));
  }
  for (const auto& reader : readers_) Abandon(*reader);
  readers_ = std::move(readers);
  next_reader_ = 0;
  error_ = absl::OkStatus();
  SubscribeWhereWanted();
  return absl::OkStatus();
}

absl::StatusOr<PartitionReader*> Consumer::State::Find(std::string_view topic,
                                                       PartitionIndex partition) {
  for (const auto& reader : readers_) {
    if (reader->partition() == partition && reader->topic() == topic) return reader.get();
  }
  return absl::NotFoundError(
      absl::StrFormat("%s:%d is not assigned to this consumer", topic, partition.value()));
}

absl::Status Consumer::State::Seek(std::string_view topic, PartitionIndex partition,
                                   StartPosition start) {
  ASSIGN_OR_RETURN(PartitionReader * reader, Find(topic, partition));
  Abandon(*reader);
  reader->Seek(start);
  NotePosition(*reader);
  SubscribeWhereWanted();
  return absl::OkStatus();
}

bool Consumer::State::finished() const {
  if (member_ != nullptr) return false;
  return std::all_of(readers_.begin(), readers_.end(),
                     [](const auto& reader) { return reader->over() && !reader->has_something(); });
}

absl::Status Consumer::State::CheckOpen() const {
  if (closed_) return absl::FailedPreconditionError("the consumer is closed");
  if (member_ != nullptr && member_->calling_back()) {
    return absl::FailedPreconditionError("not from a callback of the consumer");
  }
  return absl::OkStatus();
}

absl::Status Consumer::State::Close(Duration timeout) {
  if (closed_) return absl::OkStatus();
  RETURN_IF_ERROR(CheckOpen());
  closed_ = true;
  absl::Status outcome;
  if (member_ != nullptr) outcome = member_->Close(timeout);
  for (const auto& reader : readers_) Abandon(*reader);
  return outcome;
}

void Consumer::State::Abandon() {
  if (member_ != nullptr) member_->Abandon();
  for (const auto& reader : readers_) Abandon(*reader);
}

// ---- as a member of a group ----

absl::Status Consumer::State::Subscribe(std::vector<std::string> topics) {
  RETURN_IF_ERROR(CheckOpen());
  if (!options_.group.has_value()) {
    return absl::FailedPreconditionError("Subscribe needs a group in the consumer's options");
  }
  if (member_ == nullptr && !readers_.empty()) {
    return absl::FailedPreconditionError("this consumer's partitions are assigned by hand");
  }
  if (topics.empty() || topics.size() > kGroupTopicsMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a member reads 1 to %d topics or patterns", kGroupTopicsMax));
  }
  if (member_ == nullptr) {
    // The session may live on for a moment, for its farewell.
    auto wake = [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      const std::lock_guard lock(self->mutex_);
      self->news_ = true;
      self->mail_came_.notify_one();
    };
    member_ = std::make_unique<GroupMember>(core_, *options_.group, *this, std::move(wake));
  }
  member_->Subscribe(std::move(topics));
  return absl::OkStatus();
}

absl::StatusOr<GroupMember*> Consumer::State::member() {
  if (member_ == nullptr) {
    return absl::FailedPreconditionError("this consumer has not subscribed as a group's member");
  }
  return member_.get();
}

std::vector<GroupPartition> Consumer::State::assignment() const {
  std::vector<GroupPartition> partitions;
  for (const auto& reader : readers_) partitions.push_back({reader->topic(), reader->partition()});
  std::sort(partitions.begin(), partitions.end());
  return partitions;
}

void Consumer::State::Begin(const GivenPartition& given) {
  const AutoOffsetReset& reset = options_.group->auto_offset_reset;
  auto reader = std::make_unique<PartitionReader>(AssignmentOf(given, reset), given.id.topic,
                                                  OutOfRangeOf(reset), given.committed.epoch);
  if (given.committed.offset == kNoOffset && reset.kind() == AutoOffsetReset::Kind::kError) {
    reader->Fail(absl::NotFoundError(absl::StrFormat("group %s has no committed offset for %s:%d",
                                                     options_.group->group, given.topic,
                                                     given.id.partition.value())));
  }
  readers_.push_back(std::move(reader));
}

void Consumer::State::End(const TopicPartition& id) {
  const auto reader = std::find_if(readers_.begin(), readers_.end(), [&](const auto& each) {
    return each->topic_id() == id.topic && each->partition() == id.partition;
  });
  if (reader == readers_.end()) return;
  Abandon(**reader);
  readers_.erase(reader);
}

void Consumer::State::AwaitNews(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  mail_came_.wait_until(lock, until, [this] { return news_; });
  news_ = false;
}

void Consumer::State::NotePosition(const PartitionReader& reader) {
  if (member_ == nullptr || !reader.position().has_value()) return;
  member_->holdings().HandOut({reader.topic_id(), reader.partition()},
                              {*reader.position(), reader.epoch()});
}

void Consumer::State::NoteEvents(const PartitionReader& reader, const PolledRecords& polled,
                                 std::size_t from) {
  if (member_ == nullptr) return;
  for (std::size_t i = from; i < polled.events_.size(); ++i) {
    const ConsumerEvent& event = polled.events_[i];
    if (event.kind != ConsumerEvent::Kind::kTrimmed) continue;
    member_->holdings().Trim({reader.topic_id(), reader.partition()}, event.from, event.to);
  }
}

// ---- subscriptions, seen from the application ----

void Consumer::State::SubscribeWhereWanted() {
  if (subscribe_at_.has_value() && Clock::now() < *subscribe_at_) return;
  subscribe_at_.reset();
  for (const auto& reader : readers_) {
    if (reader->wants_subscription()) Subscribe(*reader);
  }
}

void Consumer::State::Subscribe(PartitionReader& reader) {
  const std::uint32_t id = core_->NextSubscription();
  const auto handle = std::make_shared<Handle>(id);
  reader.Begin(id);
  subscriptions_.emplace(id, std::pair(&reader, handle));
  auto build = [self = shared_from_this(), handle, request = reader.request(),
                topic = reader.topic_id(),
                partition = reader.partition()](flatbuffers::FlatBufferBuilder& builder,
                                                std::uint64_t correlation, Bytes& head) {
    if (!handle->abandoned) {
      self->core_->AddSubscription(handle->id, [self, id = handle->id](const ReceivedFrame* frame) {
        self->OnPush(id, frame);
      });
    }
    const wire::Uuid uuid = cairn::ToWire(topic);
    const bool by_time = request.start.kind() == StartPosition::Kind::kTime;
    const auto subscribe = wire::CreateSubscribe(
        builder, handle->id, &uuid, partition.value(), ToWire(request.start.kind()),
        by_time ? 0 : request.start.value(), by_time ? request.start.value() : 0,
        request.epoch.value(), self->options_.prefetch_bytes, request.stop_at_present_end,
        request.stop_before.value_or(kNoOffset).value());
    FinishFrame(builder, correlation, subscribe, 0, head);
  };
  core_->Post([self = shared_from_this(), handle, build = std::move(build)]() mutable {
    if (handle->abandoned) return;
    self->core_->Call(std::move(build), Core::Retry::kNever, Clock::now() + kPatience,
                      [self, handle](const absl::Status& status, const wire::Message* message) {
                        self->OnAnswer(handle, status, message);
                      });
  });
}

void Consumer::State::Abandon(PartitionReader& reader) {
  Drop(reader.subscription());
  reader.OnLost();
}

void Consumer::State::Drop(std::uint32_t subscription) {
  const auto found = subscriptions_.find(subscription);
  if (found == subscriptions_.end()) return;
  core_->Post([self = shared_from_this(), handle = found->second.second] {
    handle->abandoned = true;
    if (!self->core_->HasSubscription(handle->id)) return;
    self->core_->RemoveSubscription(handle->id);
    self->Unsubscribe(handle->id);
  });
  subscriptions_.erase(found);
}

PartitionReader* Consumer::State::FindBySubscription(std::uint32_t subscription) {
  const auto found = subscriptions_.find(subscription);
  return found == subscriptions_.end() ? nullptr : found->second.first;
}

void Consumer::State::OpenMail() {
  std::vector<Letter> mail;
  {
    const std::lock_guard lock(mutex_);
    mail.swap(mail_);
  }
  for (Letter& letter : mail) Apply(letter);
}

void Consumer::State::Apply(Letter& letter) {
  PartitionReader* reader = FindBySubscription(letter.subscription);
  if (reader == nullptr || reader->subscription() != letter.subscription) return;
  const auto be_patient = [&](const absl::Status& why) {
    if (IsTransient(why)) subscribe_at_ = Clock::now() + backoff_.Next();
  };
  if (auto* subscribed = std::get_if<Subscribed>(&letter.content)) {
    backoff_.Reset();
    reader->OnSubscribed(subscribed->start, subscribed->committed_end, subscribed->stop);
    if (reader->subscription() != letter.subscription) Drop(letter.subscription);
    NotePosition(*reader);
  } else if (auto* batches = std::get_if<Batches>(&letter.content)) {
    reader->OnBatches(std::move(batches->bytes), batches->committed_end);
  } else if (auto* end = std::get_if<SubscriptionEnd>(&letter.content)) {
    be_patient(end->status);
    reader->OnEnded(std::move(*end));
  } else if (auto* refused = std::get_if<absl::Status>(&letter.content)) {
    be_patient(*refused);
    subscriptions_.erase(letter.subscription);
    reader->OnRefused(*refused);
  } else {
    subscriptions_.erase(letter.subscription);
    reader->OnLost();
  }
}

// ---- reading ----

absl::StatusOr<PolledRecords> Consumer::State::Poll(Duration timeout, std::size_t records_max) {
  RETURN_IF_ERROR(CheckOpen());
  if (member_ == nullptr) return PollUntil(DeadlineAfter(timeout), records_max);
  member_->EnterPoll();
  auto polled = PollUntil(DeadlineAfter(timeout), records_max);
  member_->LeavePoll();
  return polled;
}

absl::StatusOr<PolledRecords> Consumer::State::PollUntil(Clock::time_point deadline,
                                                         std::size_t records_max) {
  while (true) {
    if (!error_.ok()) return std::exchange(error_, absl::OkStatus());
    OpenMail();
    if (member_ != nullptr) RETURN_IF_ERROR(member_->Step());
    PolledRecords polled;
    absl::Status collected;
    if (member_ == nullptr || member_->sure()) collected = Collect(records_max, polled);
    GiveCredit();
    SubscribeWhereWanted();
    if (!polled.empty()) {
      error_ = collected;  // after what was good
      return polled;
    }
    RETURN_IF_ERROR(collected);
    if (!readers_.empty() && finished()) return polled;
    if (!AwaitMail(deadline)) return polled;
  }
}

// False: the time is over, or Wake was called.
bool Consumer::State::AwaitMail(Clock::time_point deadline) {
  auto until = subscribe_at_.has_value() ? std::min(*subscribe_at_, deadline) : deadline;
  if (member_ != nullptr) until = std::min(until, member_->due_at());
  std::unique_lock lock(mutex_);
  mail_came_.wait_until(lock, until, [this] { return woken_ || news_ || !mail_.empty(); });
  if (std::exchange(woken_, false)) return false;
  return std::exchange(news_, false) || !mail_.empty() || Clock::now() < deadline;
}

absl::Status Consumer::State::Collect(std::size_t records_max, PolledRecords& polled) {
  const std::size_t count = readers_.size();
  for (std::size_t i = 0; i < count && polled.records_.size() < records_max; ++i) {
    PartitionReader& reader = *readers_[(next_reader_ + i) % count];
    if (!reader.has_something()) continue;
    if (polled.frames_ == nullptr) polled.frames_ = std::make_unique<PolledRecords::Frames>();
    PartitionReader::Taken taken{polled.records_, polled.events_, polled.frames_->keepers};
    const std::uint32_t subscription = reader.subscription();
    const std::size_t events_before = polled.events_.size();
    const absl::Status read = reader.Take(records_max - polled.records_.size(), taken);
    NotePosition(reader);
    NoteEvents(reader, polled, events_before);
    // It has come to an end, or to damage: what the subscription still brings is for nobody.
    if (reader.subscription() != subscription) Drop(subscription);
    RETURN_IF_ERROR(read);
    // Whoever filled the answer lets the others go first next time.
    if (polled.records_.size() == records_max) next_reader_ = (next_reader_ + i + 1) % count;
  }
  return absl::OkStatus();
}

void Consumer::State::GiveCredit() {
  std::vector<std::pair<std::uint32_t, std::size_t>> credits;
  for (const auto& reader : readers_) {
    if (reader->subscription() == 0) continue;
    if (reader->consumed_bytes() == 0 || reader->consumed_bytes() < options_.prefetch_bytes / 2) {
      continue;
    }
    credits.emplace_back(reader->subscription(), reader->TakeConsumedBytes());
  }
  if (credits.empty()) return;
  core_->Post([self = shared_from_this(), credits = std::move(credits)] {
    Connection* connection = self->core_->connection();
    if (connection == nullptr) return;
    for (const auto& [subscription, bytes] : credits) {
      // One of another connection has been given its credit anew.
      if (!self->core_->HasSubscription(subscription)) continue;
      Bytes head;
      FinishFrame(connection->builder(), 0,
                  wire::CreateCredit(connection->builder(), subscription, bytes), 0, head);
      connection->Send(std::move(head), nullptr);
    }
  });
}

void Consumer::State::Wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  mail_came_.notify_one();
}

// ---- the I/O thread ----

void Consumer::State::Post(std::uint32_t subscription, decltype(Letter::content) content) {
  const std::lock_guard lock(mutex_);
  mail_.push_back({subscription, std::move(content)});
  mail_came_.notify_one();
}

void Consumer::State::OnAnswer(const std::shared_ptr<Handle>& handle, const absl::Status& status,
                               const wire::Message* message) {
  if (message == nullptr) return Post(handle->id, Detached(status));
  const auto subscribed = ReplyAs<wire::Subscribed>(*message);
  if (!subscribed.ok()) {
    core_->RemoveSubscription(handle->id);
    return Post(handle->id, Detached(subscribed.status()));
  }
  if (handle->abandoned) return Unsubscribe(handle->id);
  Post(handle->id, Subscribed{.start = Offset((*subscribed)->start_offset()),
                              .committed_end = Offset((*subscribed)->committed_end()),
                              .stop = OffsetOrNothing((*subscribed)->stop_offset())});
}

void Consumer::State::OnPush(std::uint32_t subscription, const ReceivedFrame* frame) {
  if (frame == nullptr) return Post(subscription, Lost{});
  if (const auto* batches = frame->message->body_as_Batches()) {
    return Post(subscription, Batches{frame->Retain(), Offset(batches->committed_end())});
  }
  if (const auto* ended = frame->message->body_as_SubscriptionEnded()) {
    core_->RemoveSubscription(subscription);
    Post(subscription,
         SubscriptionEnd{.status = StatusFromWire(ended->code(), FromWire(ended->message())),
                         .from = Offset(ended->from()),
                         .to = Offset(ended->to()),
                         .next_offset = Offset(ended->next_offset())});
  }
}

void Consumer::State::Unsubscribe(std::uint32_t subscription) {
  Connection* connection = core_->connection();
  if (connection == nullptr) return;
  const std::uint64_t correlation = connection->NextCorrelation();
  Bytes head;
  FinishFrame(connection->builder(), correlation,
              wire::CreateUnsubscribe(connection->builder(), subscription), 0, head);
  connection->Request(correlation, std::move(head), nullptr,
                      [](const absl::Status&, const ReceivedFrame*) {});
}

}  // namespace cairn::client
