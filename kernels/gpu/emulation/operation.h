// What a stream of the emulation is given, and in what order such things may be done.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/gpu/emulation/queue.h"

namespace hearth::kernels::emulated {

struct Operation {
  const char* name = "";
  Queue::Work first_part = {};            // of a long one, between which and the rest others run
  Queue::Work work = {};                  // may be empty
  std::function<bool()> ready = nullptr;  // may be empty: when all it comes after is done
  std::uint32_t stream = 0;               // its number
};

// An operation that was enqueued; done once the schedule has come to it.
struct PendingOperation {
  Operation operation;
  std::vector<std::shared_ptr<PendingOperation>> after;
  bool done = false;
};
using Pending = std::shared_ptr<PendingOperation>;

inline bool is_done(const Pending& pending) { return pending == nullptr || pending->done; }

// An operation of a graph comes after others of it, of smaller numbers; those after none come after
// what is in front of the graph.
struct GraphOperation {
  Operation operation;
  std::vector<std::size_t> after;
};

}  // namespace hearth::kernels::emulated
