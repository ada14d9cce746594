#pragma once

#include <cstdint>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/messages.h"
#include "protocol/record_batch_builder.h"
#include "protocol/types.h"

// The frames that WIRE.md shows in hex, made with our own builders.
namespace cairn::examples {

inline constexpr TopicId kTopic{{0xc0, 0xff, 0xee, 0x00, 0x12, 0x34, 0x4a, 0xbc, 0x8d, 0xef, 0x00,
                                 0x11, 0x22, 0x33, 0x44, 0x55}};
inline constexpr TopicId kCluster{{0x0b, 0xad, 0xca, 0xfe, 0x00, 0x01, 0x4d, 0xef, 0x9a, 0xbc, 0x10,
                                   0x20, 0x30, 0x40, 0x50, 0x60}};
inline constexpr Timestamp kTime{1'700'000'000'000};
inline constexpr ProducerId kProducer{7};

// One record: key "order-17", value "paid", header source=web.
inline Bytes Batch() {
  RecordBatchBuilder builder;
  const HeaderView header{AsBytes("source"), AsBytes("web")};
  builder.Add({.timestamp = kTime,
               .key = AsBytes("order-17"),
               .value = AsBytes("paid"),
               .headers = std::span(&header, 1)});
  return *builder.Finish({.codec = Codec::kNone,
                          .producer_id = kProducer,
                          .producer_epoch = ProducerEpoch(0),
                          .base_sequence = 0});
}

inline Bytes HelloFrame() {
  flatbuffers::FlatBufferBuilder builder;
  Bytes frame;
  const auto client_id = ToWire(builder, "demo");
  const auto software = ToWire(builder, "by-hand/1");
  FinishFrame(builder, 1, wire::CreateHello(builder, 1, client_id, software), 0, frame);
  return frame;
}

inline Bytes WelcomeFrame() {
  flatbuffers::FlatBufferBuilder builder;
  Bytes frame;
  const auto software = ToWire(builder, "cairnd/0.1.0");
  const wire::Uuid cluster = ToWire(kCluster);
  wire::WelcomeBuilder welcome(builder);
  welcome.add_protocol_version(kProtocolVersion);
  welcome.add_frame_bytes_max(kFrameBytesMax);
  welcome.add_cluster_id(&cluster);
  welcome.add_software(software);
  FinishFrame(builder, 1, welcome.Finish(), 0, frame);
  return frame;
}

inline Bytes ProduceFrame() {
  flatbuffers::FlatBufferBuilder builder;
  Bytes frame;
  const Bytes batch = Batch();
  const wire::Uuid topic = ToWire(kTopic);
  FinishFrame(builder, 2, wire::CreateProduce(builder, &topic, 3, wire::Acks::Durable),
              batch.size(), frame);
  AppendBytes(frame, batch);
  frame.resize(PadTo8(frame.size()));
  return frame;
}

inline Bytes ProducedFrame() {
  flatbuffers::FlatBufferBuilder builder;
  Bytes frame;
  FinishFrame(builder, 2, wire::CreateProduced(builder, 4096, wire::Durability::Durable, false), 0,
              frame);
  return frame;
}

inline Bytes FailureFrame() {
  flatbuffers::FlatBufferBuilder builder;
  Bytes frame;
  const auto message = ToWire(builder, "no such topic");
  FinishFrame(builder, 2, wire::CreateFailure(builder, 5, message), 0, frame);
  return frame;
}

}  // namespace cairn::examples
