// A daemon on a disk of 64 MiB that its producers fill: who waits, who goes on, and what is there
// when room comes back, over a kill -9 on the full disk. No part of it is timed; what took how long
// is printed.
//
//   disk_full_test CAIRND ext4|tmpfs

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "client/admin.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "tests/storage/temp_dir.h"
#include "tests/support/loop_mount.h"
#include "tests/support/skip.h"

namespace cairn::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{120};
constexpr std::int64_t kDiskBytes = 64 << 20;
constexpr std::size_t kValueBytes = 8 << 10;
constexpr int kPartitions = 2;
constexpr char kTopic[] = "orders";

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
  std::exit(1);
}
void Require(bool holds, const std::string& what) {
  if (!holds) Fail(what);
}
template <typename T>
T Get(absl::StatusOr<T> value, const std::string& doing) {
  if (!value.ok()) Fail(doing + ": " + std::string(value.status().message()));
  return *std::move(value);
}
void Require(const absl::Status& status, const std::string& doing) {
  if (!status.ok()) Fail(doing + ": " + std::string(status.message()));
}
void Await(const std::string& what, const std::function<bool()>& fact) {
  const auto begun = Clock::now();
  while (!fact()) {
    if (Clock::now() - begun > kPatience) Fail("waited in vain until " + what);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const std::chrono::duration<double> took = Clock::now() - begun;
  std::printf("%6.2f s until %s\n", took.count(), what.c_str());
}

// A small disk, which only this process and those that it starts can see.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& kind) {
    if (kind == "ext4") {
      loop_ = Get(LoopMount::Make(LoopMount::Kind::kExt4, kDiskBytes), "a small disk");
      return;
    }
    Require(::unshare(CLONE_NEWNS) == 0 &&
                ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                ::mount("tmpfs", temp_.path().c_str(), "tmpfs", 0, "size=64m") == 0,
            "mounting a tmpfs");
    is_tmpfs_ = true;
  }
  ~SmallDisk() {
    if (is_tmpfs_) ::umount2(temp_.path().c_str(), MNT_DETACH);
  }
  std::filesystem::path path() const { return loop_ ? loop_->path() : temp_.path(); }

 private:
  storage::TempDir temp_;
  std::unique_ptr<LoopMount> loop_;
  bool is_tmpfs_ = false;
};

class Daemon {
 public:
  Daemon(std::string program, std::filesystem::path data)
      : program_(std::move(program)), data_(std::move(data)) {
    Start();
  }
  ~Daemon() {
    if (pid_ > 0) Kill();
  }

  void Start() {
    int ready[2];
    Require(::pipe(ready) == 0, "pipe");
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      // A test that fails leaves no daemon behind on a disk that is to be unmounted.
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(127);
      ::dup2(ready[1], STDOUT_FILENO);
      ::close(ready[0]);
      ::close(ready[1]);
      const std::string listen = absl::StrFormat("127.0.0.1:%d", port_);
      ::execl(program_.c_str(), program_.c_str(), "--data-dir", data_.c_str(), "--listen",
              listen.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(ready[1]);
    FILE* out = ::fdopen(ready[0], "r");
    char line[256] = "";
    Require(std::fgets(line, sizeof(line), out) != nullptr, "the daemon did not start");
    std::fclose(out);
    Require(std::sscanf(line, "cairnd ready on 127.0.0.1:%d", &port_) == 1, line);
  }
  void Kill() {
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  int port() const { return port_; }
  // Gives the exit status.
  int Stop() {
    ::kill(pid_, SIGTERM);
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }
  std::shared_ptr<client::Cluster> Connect() const {
    client::ClusterOptions options;
    options.broker = absl::StrFormat("127.0.0.1:%d", port_);
    options.backoff_max = client::Duration(200);
    return Get(client::Cluster::Open(options), "a cluster");
  }

 private:
  const std::string program_;
  const std::filesystem::path data_;
  int port_ = 0;
  pid_t pid_ = -1;
};

// Sends numbered values to all partitions, one after the other, until it is told to stop, and
// remembers what was acknowledged.
class Load {
 public:
  explicit Load(const Daemon& daemon) {
    client::ProducerOptions options;
    options.batch_bytes = 64 << 10;
    options.buffer_bytes_max = 1 << 20;
    options.block_timeout = client::Duration(600'000);
    options.delivery_timeout = client::Duration(600'000);
    producer_ = Get(client::Producer::Open(daemon.Connect(), options), "a producer");
    thread_ = std::thread([this] { Run(); });
  }
  ~Load() { Stop(); }

  void Stop() {
    stop_ = true;
    if (!thread_.joinable()) return;
    thread_.join();
    Require(producer_->Close(client::Duration(kPatience)), "closing the producer");
  }
  std::int64_t acknowledged() const { return acknowledged_; }
  // By partition: offset → number of the value.
  std::map<std::int64_t, std::int64_t> Acknowledged(int partition) const {
    const std::lock_guard lock(mutex_);
    const auto found = offsets_.find(partition);
    return found == offsets_.end() ? std::map<std::int64_t, std::int64_t>() : found->second;
  }

 private:
  void Run() {
    for (std::int64_t number = 0; !stop_; ++number) {
      const std::string value = absl::StrFormat("%d ", number) + std::string(kValueBytes, 'x');
      client::ProduceRecord record;
      record.value = value;
      record.partition = PartitionIndex(static_cast<std::int32_t>(number % kPartitions));
      const absl::Status sent =
          producer_->Send(kTopic, record, [this, number](const client::Delivery& delivery) {
            Require(delivery.status, "a delivery");
            const std::lock_guard lock(mutex_);
            offsets_[delivery.partition.value()][delivery.offset.value()] = number;
            ++acknowledged_;
          });
      Require(sent, "send");
    }
  }

  std::unique_ptr<client::Producer> producer_;
  std::atomic<bool> stop_{false};
  std::atomic<std::int64_t> acknowledged_{0};
  mutable std::mutex mutex_;
  std::map<int, std::map<std::int64_t, std::int64_t>> offsets_;
  std::thread thread_;
};

// Reads a partition to its present end: offset → number. Offsets are dense and numbers rise.
std::map<std::int64_t, std::int64_t> ReadAll(const Daemon& daemon, int partition) {
  auto consumer = Get(client::Consumer::Open(daemon.Connect(), {}), "a consumer");
  client::Assignment assignment;
  assignment.topic = kTopic;
  assignment.partition = PartitionIndex(partition);
  assignment.stop_at_present_end = true;
  Require(consumer->Assign({assignment}, client::Duration(kPatience)), "assign");
  std::map<std::int64_t, std::int64_t> read;
  while (!consumer->finished()) {
    const auto polled = Get(consumer->Poll(client::Duration(kPatience)), "poll");
    Require(!polled.empty() || consumer->finished(), "nothing came");
    for (const client::ConsumerEvent& event : polled.events()) Require(event.status, "an event");
    for (const client::ConsumedRecord& record : polled.records()) {
      const std::int64_t number = std::strtoll(std::string(*record.value).c_str(), nullptr, 10);
      Require(read.empty() || record.offset.value() == read.rbegin()->first + 1,
              "a gap in offsets");
      Require(read.empty() || number > read.rbegin()->second, "repeated or out of order");
      read[record.offset.value()] = number;
    }
  }
  return read;
}

// Everything acknowledged from `log_start` on is there, where it was acknowledged.
void CheckNothingLost(const Daemon& daemon, const Load& load, int partition, Offset log_start) {
  // In this order, for the load goes on.
  const auto acknowledged = load.Acknowledged(partition);
  const auto read = ReadAll(daemon, partition);
  for (const auto& [offset, number] : acknowledged) {
    if (offset < log_start.value()) continue;
    const auto found = read.find(offset);
    Require(found != read.end() && found->second == number,
            absl::StrFormat("value %d was acknowledged at %s:%d offset %d and is not there", number,
                            kTopic, partition, offset));
  }
}

// Asks for everything and takes nothing of it, so that the broker holds mappings for it.
class StalledReader {
 public:
  StalledReader(const Daemon& daemon, const TopicId& topic) {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(daemon.port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Require(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
            "the stalled reader's connection");
    flatbuffers::FlatBufferBuilder builder;
    Bytes out;
    FinishFrame(builder, 1,
                wire::CreateHello(builder, kProtocolVersion, builder.CreateString("stalled")), 0,
                out);
    const wire::Uuid id = ToWire(topic);
    wire::SubscribeBuilder subscribe(builder);
    subscribe.add_subscription(1);
    subscribe.add_topic(&id);
    subscribe.add_start_at(wire::StartAt::Earliest);
    subscribe.add_credit(std::uint64_t{1} << 40);
    FinishFrame(builder, 2, subscribe.Finish(), 0, out);
    Require(
        ::send(socket_, out.data(), out.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(out.size()),
        "the stalled reader's request");
    Await("the stalled reader's socket is full", [this] { return IsFull(); });
  }
  ~StalledReader() { ::close(socket_); }

 private:
  // What can be read does not become more.
  bool IsFull() {
    int waiting = 0;
    Require(::ioctl(socket_, FIONREAD, &waiting) == 0, "FIONREAD");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return waiting > 0 && std::exchange(waiting_, waiting) == waiting;
  }

  int socket_ = -1;
  int waiting_ = 0;
};

// Whoever comes back for what was dropped is told so, and loses nothing that is kept.
void CheckTrimmedIsTold(const Daemon& daemon, Offset log_start) {
  client::ConsumerOptions options;
  options.out_of_range = client::ConsumerOptions::OutOfRange::kEarliest;
  auto consumer = Get(client::Consumer::Open(daemon.Connect(), options), "a consumer");
  client::Assignment assignment;
  assignment.topic = kTopic;
  assignment.partition = PartitionIndex(0);
  assignment.start = client::StartPosition::At(Offset(0));
  Require(consumer->Assign({assignment}, client::Duration(kPatience)), "assign");
  bool told = false;
  for (;;) {
    const auto polled = Get(consumer->Poll(client::Duration(kPatience)), "poll");
    Require(!polled.empty(), "nothing came");
    for (const client::ConsumerEvent& event : polled.events()) {
      told = event.kind == client::ConsumerEvent::Kind::kTrimmed && event.to == log_start;
      Require(told, "another event than trimmed");
    }
    if (polled.records().empty()) continue;
    Require(told && polled.records().front().offset == log_start, "skipped silently");
    return;
  }
}

bool IsCalledFull(client::Admin& admin) {
  for (const std::string& problem : Get(admin.Status(), "status").problems) {
    if (problem.find("the disk is full") != std::string::npos) return true;
  }
  return false;
}

void Run(const std::string& program, const std::string& kind) {
  SmallDisk disk(kind);
  Daemon daemon(program, disk.path() / "data");
  client::Admin admin(daemon.Connect());
  Get(admin.CreateTopic(kTopic, kPartitions, {{"segment.bytes", "4194304"}}), "create a topic");
  Load load(daemon);
  Await("the disk is full", [&] { return IsCalledFull(admin); });

  // Who only reads goes on, and so does administration, on the broker's own topics.
  for (int p = 0; p < kPartitions; ++p) CheckNothingLost(daemon, load, p, Offset(0));
  Get(admin.CreateTopic("late", 1, {}), "create a topic on the full disk");
  Require(admin.DeleteTopic("late"), "delete a topic on the full disk");

  daemon.Kill();
  daemon.Start();
  Await("the full disk is known after a kill", [&] { return IsCalledFull(admin); });
  for (int p = 0; p < kPartitions; ++p) CheckNothingLost(daemon, load, p, Offset(0));

  const StalledReader stalled(daemon, Get(admin.DescribeTopic(kTopic), "describe").id);
  std::map<int, Offset> starts;
  const std::int64_t before = load.acknowledged();
  for (int p = 0; p < kPartitions; ++p) {
    const auto description = Get(admin.DescribeTopic(kTopic), "describe");
    const Offset end = description.partitions[static_cast<std::size_t>(p)].committed_end;
    starts[p] = Get(admin.TrimTopic(kTopic, PartitionIndex(p), Offset(end.value() * 3 / 4)),
                    "trim on the full disk");
  }
  Await("producers went on by themselves", [&] { return load.acknowledged() > before + 100; });
  CheckTrimmedIsTold(daemon, starts[0]);
  load.Stop();
  for (int p = 0; p < kPartitions; ++p) CheckNothingLost(daemon, load, p, starts[p]);
  Require(daemon.Stop() == 0, "the daemon did not stop well");
  std::printf("%s: %d records acknowledged, none lost, repeated or out of order\n", kind.c_str(),
              static_cast<int>(load.acknowledged()));
}

std::optional<std::string> Unavailable(const std::string& kind) {
  if (kind == "ext4") return LoopMount::Unavailable(LoopMount::Kind::kExt4);
  if (::geteuid() != 0) return "mounting a tmpfs needs root";
  return std::nullopt;
}

}  // namespace
}  // namespace cairn::test

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: disk_full_test CAIRND ext4|tmpfs\n");
    return 2;
  }
  if (const auto why = cairn::test::Unavailable(argv[2])) return cairn::test::Skip(*why);
  cairn::test::Run(argv[1], argv[2]);
  return 0;
}
