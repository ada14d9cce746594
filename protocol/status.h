#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// The two macros that Abseil 20220623 does not bring.

// Returns the status of `expression` from the enclosing function unless it is OK.
#define RETURN_IF_ERROR(expression)                                           \
  do {                                                                        \
    if (absl::Status returned_status = (expression); !returned_status.ok()) { \
      return returned_status;                                                 \
    }                                                                         \
  } while (false)

// Evaluates an expression of type StatusOr<T>; assigns its value to `target` (which may declare a
// variable) or returns its status from the enclosing function.
#define ASSIGN_OR_RETURN(target, expression) \
  CAIRN_ASSIGN_OR_RETURN_(CAIRN_CONCAT_(status_or_, __LINE__), target, expression)

#define CAIRN_CONCAT_INNER_(a, b) a##b
#define CAIRN_CONCAT_(a, b) CAIRN_CONCAT_INNER_(a, b)
#define CAIRN_ASSIGN_OR_RETURN_(temporary, target, expression) \
  auto temporary = (expression);                               \
  if (!temporary.ok()) return std::move(temporary).status();   \
  target = *std::move(temporary)
