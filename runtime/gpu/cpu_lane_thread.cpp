#include "runtime/gpu/cpu_lane_thread.h"

#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/punctual_sleep.h"
#include "base/spin.h"

namespace hearth::runtime {
namespace {

constexpr auto kSpinTime = std::chrono::milliseconds(5);
constexpr int kLooksPerClockRead = 64;
// A step ends, for the conductor, half of this and a wake-up later: 0.5 % of one of 4 ms, for some
// percent of a core.
constexpr auto kNap = std::chrono::microseconds(20);

[[noreturn]] void throw_late(const StepBound& bound, std::optional<LayerIndex> layer) {
  if (layer)
    throw_error(ErrorCode::kDevice,
                "GPU: a step waits for the CPU, which has not computed the experts of layer {} "
                "within {} s; the disk or the memory does not answer; see the system's log",
                *layer, seconds(bound.silence));
  throw_error(ErrorCode::kDevice,
              "GPU: a step has not gone on for {} s, and waits for nothing of the CPU; the device "
              "hangs; see the system's log, and restart it",
              seconds(bound.silence));
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
  const PunctualSleep punctual;
  auto spin_until = std::chrono::steady_clock::now() + kSpinTime;
  while (state_.load(std::memory_order_acquire) == State::kServes) {
    bool served = false;
    for (int look = 0; look < kLooksPerClockRead && !served; ++look) {
      served = lane_.serve();
      spin_pause();
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
  const PunctualSleep punctual;
  Nanoseconds end = clock.now() + bound.silence;
  const auto naps_until_end = [&](FunctionRef<void()> each) {
    while (clock.now() < end) {
      if (finished()) return true;
      each();
      std::this_thread::sleep_for(kNap);
    }
    return false;
  };
  std::uint64_t seen = lane.progress();
  const auto look = [&] {
    if (const std::uint64_t now = lane.progress(); std::exchange(seen, now) != now)
      end = clock.now() + bound.silence;
  };
  if (naps_until_end(look)) return;
  const std::optional<LayerIndex> waits_for = lane.handed_over();
  // More than once: the lane may still answer, and a layer without work for it says so itself.
  end = clock.now() + bound.after_end;
  naps_until_end([&] { lane.give_up(); });
  throw_late(bound, waits_for);
}

}  // namespace hearth::runtime
