// The limit of every wait of the host for a device: for a step, a chunk of a prompt, a copy, a
// load.
//
// A device hangs when nothing goes on for kDeviceSilence. What counts as going on, however long
// all of it takes:
//   - what is waited for is there. A graph shows nothing before its end: it is a step of a few
//     rows, which reads a model once and takes a second on the slowest of devices;
//   - a mark is reached, an event of any stream. In each of them one follows every
//     kOperationsPerMark operations that are enqueued one by one: of a chunk, about each layer;
//   - in a step that the CPU has a part in, a layer is handed over to it or done by it
//     (runtime/gpu/cpu_lane_thread.h).
// Silence is counted in looks: to a process that was stopped for minutes it is one of them.
//
// Drivers keep about 1000 operations, and who enqueues one more waits inside of them, where no
// limit holds. So kMostMarks are open at most, of all streams, and who is further ahead waits here.
// What else waits inside of a driver (taking and freeing memory) is done with nothing under way.
//
// Any thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "base/function_ref.h"
#include "base/units.h"

namespace hearth::kernels {

class Device;
class Event;
class Stream;

inline constexpr Nanoseconds kDeviceSilence = std::chrono::seconds(30);

// Until `reached` says so; false where `progress` stays the same for the silence. Throws what they
// throw. Takes no core for long: after a moment without a pause it naps.
bool wait_while_it_goes_on(FunctionRef<bool()> reached, FunctionRef<std::uint64_t()> progress,
                           const Clock& clock, Nanoseconds silence);

// Error(kDevice), one line.
[[noreturn]] void throw_device_hangs(Nanoseconds silence);

// Of a device, whose streams tell it what they are given.
class Watchdog {
 public:
  static constexpr std::uint64_t kOperationsPerMark = 32;
  static constexpr std::size_t kMostMarks = 16;

  // Both outlive it.
  explicit Watchdog(Device& device, Nanoseconds silence = kDeviceSilence,
                    const Clock& clock = steady_clock());
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // An operation, not of a capture, is the stream's `count`th, which is counted here. Waits where
  // too many marks are open.
  void enqueued(Stream& stream, std::uint64_t& count);
  // Until `reached` says so. Throws Error(kDevice) where the device hangs, which is abandoned then,
  // and at once where it was before.
  void wait(FunctionRef<bool()> reached);

  void abandon() noexcept { abandoned_ = true; }
  bool abandoned() const { return abandoned_; }

 private:
  struct Mark {
    std::unique_ptr<Event> event;
    bool open = false;  // was recorded, and not seen reached
  };

  bool try_mark(Stream& stream);
  std::uint64_t marks_reached();
  void look_at_marks();

  Device& device_;
  const Clock& clock_;
  const Nanoseconds silence_;
  std::atomic<bool> abandoned_ = false;
  std::mutex mutex_;  // of what follows
  std::array<Mark, kMostMarks> marks_;
  std::uint64_t reached_ = 0;
};

}  // namespace hearth::kernels
