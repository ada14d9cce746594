#pragma once

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "bench/limits/limit.h"
#include "bench/limits/measurement.h"

namespace cairn::bench {

// Runs the two halves of a limit program, each in a thread of its own: `serve` on BrokerCore(),
// `ask` on LoadCore(). Each owns its ends of the connections. They are closed when it returns, so
// that the other half meets the end instead of waiting for ever; `serve` ends by that.
//
// Gives the first error of the two: the other one only follows from it.
absl::StatusOr<Measurement> RunHalves(const LimitOptions& options,
                                      absl::AnyInvocable<absl::Status()> serve,
                                      absl::AnyInvocable<absl::Status(Measurement&)> ask);

// For a program that has no asking half: `work` on BrokerCore().
absl::StatusOr<Measurement> RunAlone(const LimitOptions& options,
                                     absl::FunctionRef<absl::Status(Measurement&)> work);

}  // namespace cairn::bench
