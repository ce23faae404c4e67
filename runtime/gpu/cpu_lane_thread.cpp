#include "runtime/gpu/cpu_lane_thread.h"

#include <chrono>

#include "base/check.h"
#include "base/error.h"
#include "base/own_thread_signals.h"
#include "base/punctual_sleep.h"
#include "base/spin.h"

namespace hearth::runtime {
namespace {

constexpr auto kSpinTime = std::chrono::milliseconds(5);
constexpr int kLooksPerClockRead = 64;
constexpr auto kNap = std::chrono::microseconds(20);

[[noreturn]] void throw_late(const StepBound& bound, std::optional<LayerIndex> layer) {
  if (layer)
    throw_error(ErrorCode::kDevice,
                "GPU: a step waits for the CPU, which has not computed the experts of layer {} "
                "within {} s; the disk or the memory does not answer; see the system's log",
                *layer, seconds(bound.silence));
  kernels::throw_device_hangs(bound.silence);
}

}  // namespace

CpuLaneThread::CpuLaneThread(CpuLane& lane) : lane_(lane) {
  const OwnThreadSignals signals;
  thread_ = std::thread([this] { run(); });
}

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
  if (kernels::wait_while_it_goes_on(
          finished, [&] { return lane.progress(); }, clock, bound.silence))
    return;
  const std::optional<LayerIndex> waits_for = lane.handed_over();
  // More than once: the lane may still answer, and a layer without work for it says so itself.
  const auto give_up = [&] {
    lane.give_up();
    return std::uint64_t{0};
  };
  kernels::wait_while_it_goes_on(finished, give_up, clock, bound.after_end);
  throw_late(bound, waits_for);
}

}  // namespace hearth::runtime
