#include "kernels/gpu/watchdog.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/punctual_sleep.h"
#include "base/spin.h"
#include "kernels/gpu/device.h"

namespace hearth::kernels {
namespace {

// Copies end within it. Without a yield, which on a busy machine is a time slice of others.
constexpr Nanoseconds kSpinTime = std::chrono::microseconds(100);
// What is waited for is seen half a nap and a wake-up later: at most 0.5 % of a step of 4 ms, and
// of longer waits, for some percent of a core.
constexpr Nanoseconds kLeastNap = std::chrono::microseconds(20);
constexpr Nanoseconds kMostNap = std::chrono::milliseconds(1);
constexpr int kNapsOfAWait = 128;
constexpr int kLooks = 16;  // within the silence

bool is_there_soon(FunctionRef<bool()> reached, const Clock& clock) {
  const Nanoseconds begin = clock.now();
  do {
    if (reached()) return true;
    spin_pause();
  } while (clock.now() < begin + kSpinTime);
  return false;
}

}  // namespace

bool wait_while_it_goes_on(FunctionRef<bool()> reached, FunctionRef<std::uint64_t()> progress,
                           const Clock& clock, Nanoseconds silence) {
  if (is_there_soon(reached, clock)) return true;
  const PunctualSleep punctual;
  const Nanoseconds begin = clock.now(), between_looks = silence / kLooks;
  Nanoseconds now = begin, next_look = begin + between_looks;
  std::uint64_t seen = progress();
  for (int silent_looks = 0; silent_looks < kLooks;) {
    if (reached()) return true;
    std::this_thread::sleep_for(std::clamp((now - begin) / kNapsOfAWait, kLeastNap, kMostNap));
    now = clock.now();
    if (now < next_look) continue;
    next_look = now + between_looks;
    const std::uint64_t progressed = progress();
    silent_looks = std::exchange(seen, progressed) == progressed ? silent_looks + 1 : 0;
  }
  return reached();
}

void throw_device_hangs(Nanoseconds silence) {
  throw_error(ErrorCode::kDevice,
              "GPU: what it was given has not gone on for {} s, and waits for nothing of the CPU; "
              "the device hangs; see the system's log, and restart it",
              seconds(silence));
}

Watchdog::Watchdog(Device& device, Nanoseconds silence, const Clock& clock)
    : device_(device), clock_(clock), silence_(silence) {}

Watchdog::~Watchdog() = default;

void Watchdog::enqueued(Stream& stream, std::uint64_t& count) {
  if (++count % kOperationsPerMark != 0) return;
  wait([&] { return try_mark(stream); });
}

void Watchdog::wait(FunctionRef<bool()> reached) {
  if (abandoned_)
    throw_error(ErrorCode::kDevice, "{}: what it did earlier did not end; start the program again",
                device_.properties().name);
  if (wait_while_it_goes_on(reached, [&] { return marks_reached(); }, clock_, silence_)) return;
  abandon();
  throw_device_hangs(silence_);
}

bool Watchdog::try_mark(Stream& stream) {
  const std::lock_guard lock(mutex_);
  const auto find_free = [&] { return std::ranges::find(marks_, false, &Mark::open); };
  auto free = find_free();
  if (free == marks_.end()) {
    look_at_marks();
    free = find_free();
    if (free == marks_.end()) return false;
  }
  if (free->event == nullptr) free->event = device_.new_event(EventTiming::kNone);
  stream.record(*free->event);
  free->open = true;
  return true;
}

std::uint64_t Watchdog::marks_reached() {
  const std::lock_guard lock(mutex_);
  look_at_marks();
  return reached_;
}

void Watchdog::look_at_marks() {
  for (Mark& mark : marks_) {
    if (!mark.open || !mark.event->reached()) continue;
    mark.open = false;
    reached_ += 1;
  }
}

}  // namespace hearth::kernels
