#include <atomic>
#include <future>
#include <set>
#include <thread>

#include <catch2/catch.hpp>

#include "asio/post.hpp"
#include "broker/runtime/gate.h"
#include "broker/runtime/logging.h"
#include "broker/runtime/parallel.h"
#include "broker/runtime/published.h"
#include "broker/runtime/worker.h"
#include "tests/broker/data_plane.h"

namespace cairn::broker {
namespace {

TEST_CASE("Logging: a line is logfmt, and values cannot forge another", "[broker][runtime]") {
  const Timestamp when(1'764'000'000'123);
  CHECK(FormatLogLine(when, LogLevel::kInfo, "topic created",
                      {{"topic", "orders"}, {"partitions", 4}, {"offset", Offset(7)}}) ==
        "2025-11-24T16:00:00.123Z info topic created topic=orders partitions=4 offset=7");
  CHECK(
      FormatLogLine(when, LogLevel::kWarning, "hello",
                    {{"client", "a b\n2025 error \"x\"\\\x1b[2J"}, {"empty", ""}, {"on", true}}) ==
      "2025-11-24T16:00:00.123Z warning hello "
      "client=\"a b\\n2025 error \\\"x\\\"\\\\\\x1b[2J\" empty=\"\" on=true");
}

TEST_CASE("Logging: levels have names", "[broker][runtime]") {
  CHECK(ParseLogLevel("debug") == LogLevel::kDebug);
  CHECK(ParseLogLevel("error") == LogLevel::kError);
  CHECK_FALSE(ParseLogLevel("loud").has_value());
}

TEST_CASE("HelperPool: tasks of one kind run in order, and a slow kind does not stop another",
          "[broker][runtime]") {
  HelperPool pool;
  SyncValve valve;
  valve.Close();
  Answer<absl::Status> slow;
  pool.Submit(HelperKind::kTrim, [&valve, taker = slow.Taker()](absl::Status status) mutable {
    valve.Pass();
    taker(std::move(status));
  });
  std::vector<int> order;
  Answer<absl::Status> last;
  for (int i = 0; i < 100; ++i) {
    pool.Submit(HelperKind::kState, [&order, i](const absl::Status&) { order.push_back(i); });
  }
  pool.Submit(HelperKind::kState,
              [taker = last.Taker()](absl::Status status) mutable { taker(std::move(status)); });
  CHECK(last.Wait().ok());
  REQUIRE(order.size() == 100);
  CHECK(std::is_sorted(order.begin(), order.end()));
  valve.Open();
  CHECK(slow.Wait().ok());
}

TEST_CASE("HelperPool: every task hears of its end, also when there is no room or no pool",
          "[broker][runtime]") {
  HelperPool::Options options;
  options.other_queue_max = 1;
  HelperPool pool(options);
  SyncValve valve;
  valve.Close();
  pool.Submit(HelperKind::kTrim, [&valve](const absl::Status&) { valve.Pass(); });
  valve.WaitForFlusher();  // the one thread is busy
  Answer<absl::Status> queued, refused, late;
  pool.Submit(HelperKind::kTrim, [t = queued.Taker()](absl::Status s) mutable { t(std::move(s)); });
  pool.Submit(HelperKind::kTrim,
              [t = refused.Taker()](absl::Status s) mutable { t(std::move(s)); });
  CHECK(CodeOf(refused.Wait()) == ErrorCode::kTooManyInFlight);
  std::thread stopper([&pool] { pool.Stop(); });
  // Stop has begun once nothing is taken any more.
  const auto stopping = std::make_shared<std::atomic<bool>>(false);
  REQUIRE(Eventually([&pool, &stopping] {
    pool.Submit(HelperKind::kTrim, [stopping](const absl::Status& status) {
      if (CodeOf(status) == ErrorCode::kStopping) *stopping = true;
    });
    return stopping->load();
  }));
  valve.Open();
  stopper.join();
  CHECK(CodeOf(queued.Wait()) == ErrorCode::kStopping);
  pool.Submit(HelperKind::kRead, [t = late.Taker()](absl::Status s) mutable { t(std::move(s)); });
  CHECK(CodeOf(late.Wait()) == ErrorCode::kStopping);
}

TEST_CASE("HelperPool: a stop lets administration wait for its state topic", "[broker][runtime]") {
  HelperPool pool;
  SyncValve valve;
  valve.Close();
  // The one thread of kState is busy, so that what administration waits for is queued behind.
  pool.Submit(HelperKind::kState, [&valve](const absl::Status&) { valve.Pass(); });
  valve.WaitForFlusher();
  std::promise<absl::Status> followed;
  Answer<absl::Status> admin;
  pool.Submit(HelperKind::kAdmin, [&, taker = admin.Taker()](const absl::Status&) mutable {
    pool.Submit(HelperKind::kState,
                [&followed](absl::Status status) { followed.set_value(std::move(status)); });
    taker(followed.get_future().get());
  });
  std::thread stopper([&pool] { pool.Stop(); });
  valve.Open();
  CHECK(admin.Wait().ok());
  stopper.join();
}

TEST_CASE("Gate: it lets nobody in once closed, and waits for those inside", "[broker][runtime]") {
  Gate gate;
  std::atomic<bool> left{false};
  Gate::Pass pass = gate.Enter();
  REQUIRE(pass);
  gate.Close();
  CHECK_FALSE(gate.Enter());
  std::thread leaver([&left, inside = std::move(pass)]() mutable {
    left = true;
    inside = Gate::Pass();
  });
  gate.Wait();
  CHECK(left);
  leaver.join();
}

TEST_CASE("Published: a reader sees whole values only, and the newest soon", "[broker][runtime]") {
  struct Pair {
    int a = 0, b = 0;
  };
  Published<Pair> published(std::make_shared<const Pair>());
  std::atomic<bool> torn{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      Published<Pair>::Reader reader(published);
      int last = 0;
      while (last < 1000) {
        const Pair& pair = reader.Get();
        if (pair.a != pair.b || pair.a < last) torn = true;
        last = pair.a;
      }
    });
  }
  for (int i = 1; i <= 1000; ++i) published.Store(std::make_shared<const Pair>(Pair{i, i}));
  for (std::thread& reader : readers) reader.join();
  CHECK_FALSE(torn);
}

TEST_CASE("Workers: sockets are dealt round robin, and a handler runs on its worker's thread",
          "[broker][runtime]") {
  Workers workers(3);
  workers.Start();
  std::set<int> dealt;
  for (int i = 0; i < 3; ++i) {
    Worker& worker = workers.Next();
    dealt.insert(worker.index());
    Answer<bool> answer;
    asio::post(worker.context(),
               [&worker, taker = answer.Taker()]() mutable { taker(worker.OnThisThread()); });
    CHECK(answer.Wait());
    CHECK_FALSE(worker.OnThisThread());
  }
  CHECK(dealt.size() == 3);
  workers.StopAndJoin();
}

TEST_CASE("ForEachInParallel: every index is visited once", "[broker][runtime]") {
  std::vector<std::atomic<int>> visits(1000);
  ForEachInParallel(visits.size(), 4, [&](std::size_t i) { ++visits[i]; });
  for (const auto& count : visits) CHECK(count == 1);
}

}  // namespace
}  // namespace cairn::broker
