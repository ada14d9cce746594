#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "protocol/compression.h"
#include "protocol/limits.h"
#include "protocol/types.h"

namespace cairn::client {

using Duration = std::chrono::milliseconds;  // Duration::max(): without end

// How to reach the broker. Connections are made when first needed and again whenever they break.
struct ClusterOptions {
  std::string broker = "127.0.0.1:7654";  // HOST:PORT; an IPv6 host stands in brackets
  std::string client_id = "cairn-client";
  Duration connect_timeout{5'000};
  Duration backoff_min{20};  // between attempts to reconnect or retry; doubles up to backoff_max
  Duration backoff_max{1'000};
};

// When a send counts as done.
enum class Acks {
  kDefault,  // the durability of the topic
  kNone,     // handed to the socket; a loss is not noticed
  kWritten,
  kDurable,
};

// What Producer::Send does while buffer_bytes_max is in use.
enum class WhenFull {
  kBlock,  // wait up to block_timeout for room
  kFail,   // return kResourceExhausted at once
};

struct ProducerOptions {
  Acks acks = Acks::kDefault;
  Codec codec = Codec::kNone;
  std::size_t batch_bytes = 256u << 10;  // a batch is sent when it reaches this, at the latest
  Duration linger{5};  // … or when its oldest record is this old; at once if nothing is in flight
  std::size_t buffer_bytes_max = 64u << 20;  // records accepted and not yet answered
  WhenFull when_full = WhenFull::kBlock;
  Duration block_timeout{60'000};
  Duration delivery_timeout{120'000};  // from Send to the delivery result, retries included
  int in_flight_max = 5;               // batches per partition; at most kProducerBatchesKept
};

struct ConsumerOptions {
  std::size_t prefetch_bytes = 1u << 20;  // per assigned partition: the credit given to the broker
  // What to do when the wanted offset is outside the log, or records were trimmed before they were
  // read: an error from Poll, or going on at the start or the end of the log.
  enum class OutOfRange { kError, kEarliest, kLatest } out_of_range = OutOfRange::kError;
};

}  // namespace cairn::client
