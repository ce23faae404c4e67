// The operations of a device whose streams run beside one another: each finishes at some time after
// all that it comes after, in any order that streams and events allow. Which order is drawn from a
// seed: each time one of those that can be done; or, for half of the seeds, one of the stream that
// comes first in an order of streams. There an operation comes after all of other streams that do
// not wait for it, however many they are.
//
// One thread: it enqueues, and where it waits the schedule goes on, one operation after another.
// Between any two of them `beside` may run, which is everything else in the world, such as another
// thread of the host.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/random.h"
#include "kernels/gpu/emulation/operation.h"

namespace hearth::kernels::emulated {

class Schedule {
 public:
  // `beside` does one thing, and says whether there was any; it does not throw, and may call step()
  // itself. `operate` is told of each operation and may throw; false: the device hangs, and this
  // one is never done, nor is any after it.
  Schedule(std::uint64_t seed, std::function<bool()> beside,
           std::function<bool(const char*)> operate);

  Pending add(Operation operation, std::vector<Pending> after);
  // Does one thing, of the device or beside it; false where nothing can be done.
  bool step();
  // Until this is done, or the device hangs. Throws EmulationError where nothing can be done
  // before: what was enqueued hangs.
  void finish(const Pending& pending);
  void finish_all();
  bool idle() const { return pending_.empty(); }
  // What can be done without anything beside is done, the rest never will be.
  void abandon() noexcept;

 private:
  const Pending& choose(const std::vector<Pending>& can);
  bool run_beside();
  bool can_run(const Pending& pending) const;
  bool run(const Pending& pending);

  Random random_;
  const bool by_stream_;
  std::vector<std::uint64_t> turns_;  // of streams
  std::function<bool()> beside_;
  bool beside_runs_ = false;
  std::function<bool(const char*)> operate_;
  bool hangs_ = false;
  std::vector<Pending> pending_;
};

}  // namespace hearth::kernels::emulated
