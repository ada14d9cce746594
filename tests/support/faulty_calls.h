#pragma once

#include <string>

namespace cairn::faults {

// The storage's system calls, counted and made to fail: for tests that ask what happens when the
// N-th call does not do what it should. A test binary that links cairn_faulty_calls
// has these calls of its libraries led through here (tests/support/CMakeLists.txt names them).
enum class Fault {
  kIoError,     // EIO, from any call
  kNoSpace,     // ENOSPC, from the calls that can say so
  kShortWrite,  // half of a write is done; what follows works
  kTornWrite,   // half of a write is done, and then the disk is full
};

struct FaultPlan {
  Fault fault = Fault::kIoError;
  int at = 1;          // the at-th call that can fail so, counted from when this was armed
  bool stays = false;  // and all after it: a disk that stays bad, or full
};

struct FaultCount {
  int calls = 0;      // that could have failed so
  int failed = 0;     // that did
  std::string first;  // the first of them: "fdatasync /dev/shm/…/orders-0/manifest"
};

// Threads: one test arms and disarms; any thread may make calls meanwhile.
void ArmFaults(const FaultPlan& plan);
FaultCount DisarmFaults();

}  // namespace cairn::faults
