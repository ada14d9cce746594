#include "broker/api/connection_table.h"

#include <utility>
#include <vector>

#include "asio/post.hpp"
#include "broker/api/services.h"

namespace cairn::broker {
namespace {

constexpr int kLogLinesPerSecond = 10;

}  // namespace

ConnectionTable::ConnectionTable(asio::io_context& context, const Services& services,
                                 ConnectionCount& count, const Options& options)
    : context_(context),
      services_(services),
      count_(count),
      topics_(services.partitions.NewReader()),
      greeting_(options.hello_timeout),
      writing_(options.write_timeout),
      arriving_(options.frame_timeout),
      leaving_(options.leave_timeout),
      idle_(options.idle_timeout),
      timer_(context),
      stop_timer_(context) {}

void ConnectionTable::Adopt(Stream stream) {
  asio::post(context_, [this, stream = std::move(stream)]() mutable {
    auto connection = std::make_shared<Connection>(*this, std::move(stream));
    Add(connection, count_.served);
    if (stopping_) return connection->Close();
    connection->Start();
  });
}

void ConnectionTable::TurnAway(Stream stream, absl::Status why) {
  asio::post(context_, [this, stream = std::move(stream), why = std::move(why)]() mutable {
    auto connection = std::make_shared<Connection>(*this, std::move(stream));
    Add(connection, count_.turned_away);
    if (stopping_) return connection->Close();
    connection->TurnAway(why);
  });
}

void ConnectionTable::Add(std::shared_ptr<Connection> connection, std::atomic<int>& counter) {
  const Connection* key = connection.get();
  connections_.emplace(key, Entry{std::move(connection), &counter});
}

void ConnectionTable::Remove(Connection& connection) {
  greeting_.Remove(connection.greeting_entry_);
  writing_.Remove(connection.writing_entry_);
  arriving_.Remove(connection.arriving_entry_);
  leaving_.Remove(connection.leaving_entry_);
  idle_.Remove(connection.idle_entry_);
  const auto found = connections_.find(&connection);
  if (found == connections_.end()) return;
  found->second.counter->fetch_sub(1, std::memory_order_relaxed);
  connections_.erase(found);
  DoneIfEmpty();
}

void ConnectionTable::Stop(absl::Status why, std::chrono::milliseconds patience,
                           absl::AnyInvocable<void()> done) {
  asio::post(context_, [this, why = std::move(why), patience, done = std::move(done)]() mutable {
    stopping_ = true;
    stopped_ = std::move(done);
    stop_timer_.expires_after(patience);
    stop_timer_.async_wait([this](const asio::error_code& error) {
      if (!error) CloseAll();
    });
    // Finishing one may remove it from the table.
    std::vector<std::shared_ptr<Connection>> all;
    for (const auto& [key, entry] : connections_) all.push_back(entry.connection);
    for (const auto& connection : all) {
      connection->Finish(why);
      connection->Turn();
    }
    DoneIfEmpty();
  });
}

void ConnectionTable::CloseAll() {
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [key, entry] : connections_) all.push_back(entry.connection);
  for (const auto& connection : all) connection->Close();
}

void ConnectionTable::DoneIfEmpty() {
  if (!stopping_ || !connections_.empty() || !stopped_) return;
  stop_timer_.cancel();
  timer_.cancel();
  auto done = std::move(stopped_);
  stopped_ = nullptr;
  done();
}

bool ConnectionTable::MayLog() {
  const Clock::time_point now = Clock::now();
  if (now - logged_at_ >= std::chrono::seconds(1)) {
    logged_at_ = now;
    logged_ = 0;
  }
  return ++logged_ <= kLogLinesPerSecond;
}

void ConnectionTable::Touch(List& list, Connection& connection, List::Entry& entry) {
  list.Touch(connection, entry, Clock::now());
  ArmTimer(*list.next_due());
}

void ConnectionTable::ArmTimer(Clock::time_point due) {
  if (armed_ && *armed_ <= due) return;
  armed_ = due;
  timer_.expires_at(due);
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) EndPatience();
  });
}

void ConnectionTable::EndPatience() {
  armed_.reset();
  const Clock::time_point now = Clock::now();
  // Held, since each of these takes it off its list or out of the table.
  while (Connection* late = greeting_.Due(now)) {
    const auto held = late->shared_from_this();
    late->GreetingTimedOut();
  }
  while (Connection* late = writing_.Due(now)) {
    const auto held = late->shared_from_this();
    late->WritingTimedOut();
  }
  while (Connection* late = arriving_.Due(now)) {
    const auto held = late->shared_from_this();
    late->ArrivingTimedOut();
  }
  while (Connection* late = leaving_.Due(now)) {
    const auto held = late->shared_from_this();
    late->Close();
  }
  while (Connection* quiet = idle_.Due(now)) {
    idle_.Remove(quiet->idle_entry_);
    quiet->ReleaseBuffers();
  }
  for (const List* list : {&greeting_, &writing_, &arriving_, &leaving_, &idle_}) {
    if (const auto due = list->next_due()) ArmTimer(*due);
  }
}

}  // namespace cairn::broker
