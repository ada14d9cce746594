#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"

#include "client/core.h"
#include "protocol/status.h"

// What Admin's calls have in common.
namespace cairn::client {

// One question and its answer: `make` builds the request's table, `take` reads the reply's.
template <typename Reply, typename Make, typename Take>
absl::Status Ask(Core& core, Core::Retry retry, Duration timeout, Make make, Take take) {
  return core.CallAndWait(
      [make = std::move(make)](flatbuffers::FlatBufferBuilder& builder, std::uint64_t correlation,
                               Bytes& head) {
        const auto request = make(builder);
        FinishFrame(builder, correlation, request, 0, head);
      },
      retry, timeout,
      [&](const wire::Message& message) -> absl::Status {
        ASSIGN_OR_RETURN(const Reply* reply, ReplyAs<Reply>(message));
        take(*reply);
        return absl::OkStatus();
      });
}

inline Duration TimeLeft(Core::Clock::time_point deadline) {
  return std::chrono::duration_cast<Duration>(deadline - Core::Clock::now());
}

inline constexpr auto kRead = Core::Retry::kUntilDeadline;
inline constexpr auto kChange = Core::Retry::kNever;

inline std::string Text(const flatbuffers::String* text) { return std::string(FromWire(text)); }

// Calls `take` for each element; an absent vector is an empty one.
template <typename Vector, typename Take>
void ForEach(const Vector* vector, Take take) {
  if (vector == nullptr) return;
  for (const auto* element : *vector) take(*element);
}

}  // namespace cairn::client
