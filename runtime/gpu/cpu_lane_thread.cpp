#include "runtime/gpu/cpu_lane_thread.h"

#include <chrono>

#include "base/check.h"
#include "base/error.h"

namespace hearth::runtime {
namespace {

// Layers follow each other within fractions of a millisecond; a longer gap is a long prompt or a
// machine that does other things.
constexpr auto kSpinTime = std::chrono::milliseconds(1);
constexpr int kLooksPerClockRead = 64;
constexpr auto kNap = std::chrono::microseconds(50);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

[[noreturn]] void throw_late(const StepBound& bound, std::optional<LayerIndex> layer) {
  if (layer)
    throw_error(ErrorCode::kDevice,
                "GPU: a step waits for the CPU, which has not computed the experts of layer {} "
                "within {} s; the disk or the memory does not answer; see the system's log",
                *layer, seconds(bound.step));
  throw_error(ErrorCode::kDevice,
              "GPU: a step has not finished within {} s, and waits for nothing of the CPU; the "
              "device hangs; see the system's log, and restart it",
              seconds(bound.step));
}

}  // namespace

CpuLaneThread::CpuLaneThread(CpuLane& lane) : lane_(lane), thread_([this] { run(); }) {}

CpuLaneThread::~CpuLaneThread() {
  state_.store(State::kStops);
  state_.notify_all();
  thread_.join();
}

void CpuLaneThread::begin_step() {
  CHECK(state_.load() == State::kSleeps);
  lane_.begin_step();
  state_.store(State::kServes);
  state_.notify_all();
}

void CpuLaneThread::end_step() {
  CHECK(state_.exchange(State::kLeaves) == State::kServes);
  state_.wait(State::kLeaves);
  lane_.rethrow();
}

void CpuLaneThread::run() {
  while (true) {
    state_.wait(State::kSleeps);
    serve_step();
    State left = State::kLeaves;
    if (!state_.compare_exchange_strong(left, State::kSleeps)) return;  // kStops
    state_.notify_all();
  }
}

void CpuLaneThread::serve_step() {
  auto spin_until = std::chrono::steady_clock::now() + kSpinTime;
  while (state_.load(std::memory_order_acquire) == State::kServes) {
    bool served = false;
    for (int look = 0; look < kLooksPerClockRead && !served; ++look) {
      served = lane_.serve();
      pause();
    }
    const auto now = std::chrono::steady_clock::now();
    if (served)
      spin_until = now + kSpinTime;
    else if (now > spin_until)
      std::this_thread::sleep_for(kNap);
  }
  // A step whose waits were ended by a failure may be over before its last doorbell is answered.
  if (state_.load() == State::kLeaves) lane_.serve();
}

void wait_for_step(FunctionRef<bool()> finished, CpuLane& lane, const Clock& clock,
                   const StepBound& bound) {
  const Nanoseconds start = clock.now();
  const auto naps_until = [&](Nanoseconds end, FunctionRef<void()> each) {
    while (clock.now() < end) {
      if (finished()) return true;
      each();
      std::this_thread::sleep_for(kNap);
    }
    return false;
  };
  if (naps_until(start + bound.step, [] {})) return;
  const std::optional<LayerIndex> waits_for = lane.handed_over();
  // More than once: the lane may still answer, and a layer without work for it says so itself.
  naps_until(clock.now() + bound.after_end, [&] { lane.give_up(); });
  throw_late(bound, waits_for);
}

}  // namespace hearth::runtime
