#pragma once

#include <cstdint>

#include <CLI/CLI.hpp>

namespace cairn::tools {

// Lets an option take decimal digits only, for a number within [min, max]. CLI11 alone reads 0x1a
// and 017 too, and takes what is too large for the largest there is.
CLI::Validator WholeNumber(std::int64_t min, std::int64_t max);

}  // namespace cairn::tools
