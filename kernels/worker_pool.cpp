// How a run works, and why its memory ordering holds:
//
//   caller: body, tasks (plain) ; unfinished = tasks ; unclaimed = tasks [release] ; epoch + 1
//   anyone: unclaimed - 1 where it is above 0 [acquire] ; body(task) ; ... ; unfinished - n
//   [release] caller: unfinished == 0 [acquire]
//
// - A claim synchronizes with the store of the run it belongs to: it reads that store, or another
//   claim of the same run, and read-modify-writes continue a release sequence. So `body` and
//   `tasks` are read after a claim only, and are then those of that run. A worker that slept
//   through a whole run cannot do harm: whatever it claims belongs to the run that is going on.
// - A run ends when `unfinished` is 0, which the last reader of `body` makes it only after its last
//   task. So the caller may write `body` for the next run, and sees all that the tasks wrote.
// - A worker reads `epoch` before it looks for tasks and sleeps only while `epoch` is unchanged, so
//   it cannot miss a run that began in between. Likewise the caller sleeps on `unfinished` itself.
#include "kernels/worker_pool.h"

#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/error.h"

namespace hearth::kernels {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Longer than the gap between two operations of a layer, shorter than waking a thread costs twice.
constexpr auto kSpinTime = std::chrono::microseconds(30);
constexpr int kPausesPerClockRead = 16;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Returns once `word` no longer holds `old`: spins for kSpinTime, then sleeps.
void wait_while_equal(const std::atomic<std::uint32_t>& word, std::uint32_t old) {
  const auto deadline = SteadyClock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      if (word.load(std::memory_order_acquire) != old) return;
      pause();
    }
  } while (SteadyClock::now() < deadline);
  word.wait(old, std::memory_order_acquire);
}

}  // namespace

struct WorkerPool::State {
  ~State() {
    stopping.store(true, std::memory_order_relaxed);  // published by the step of `epoch`
    wake();
    for (std::thread& thread : workers) thread.join();
  }

  void wake() {
    epoch.fetch_add(1);
    epoch.notify_all();
  }

  // Runs tasks until none is left to claim. A body that throws ends the program.
  void work(std::uint32_t worker) noexcept {
    std::uint32_t done = 0;
    std::uint32_t left = unclaimed.load(std::memory_order_relaxed);
    while (left > 0) {
      if (!unclaimed.compare_exchange_weak(left, left - 1, std::memory_order_acquire,
                                           std::memory_order_relaxed))
        continue;
      (*body)(tasks - left, worker);
      ++done;
      left = unclaimed.load(std::memory_order_relaxed);
    }
    if (done > 0 && unfinished.fetch_sub(done) == done) unfinished.notify_one();
  }

  void worker_main(std::uint32_t worker) {
    while (true) {
      const std::uint32_t seen = epoch.load(std::memory_order_acquire);
      if (stopping.load(std::memory_order_relaxed)) return;
      work(worker);
      wait_while_equal(epoch, seen);
    }
  }

  const Body* body = nullptr;  // of the current run, in the frame of run()
  std::uint32_t tasks = 0;
  std::vector<std::thread> workers;
  std::atomic<bool> running{false};
  std::atomic<bool> stopping{false};
  // On cache lines of their own: claims must not disturb those who spin on another word.
  alignas(64) std::atomic<std::uint32_t> unclaimed{0};
  alignas(64) std::atomic<std::uint32_t> unfinished{0};
  alignas(64) std::atomic<std::uint32_t> epoch{0};
};

WorkerPool::WorkerPool(std::uint32_t threads) : state_(std::make_unique<State>()) {
  CHECK_GE(threads, 1u);
  state_->workers.reserve(threads - 1);
  try {
    for (std::uint32_t worker = 1; worker < threads; ++worker)
      state_->workers.emplace_back([state = state_.get(), worker] { state->worker_main(worker); });
  } catch (const std::system_error& error) {
    throw_error(ErrorCode::kBudget, "cannot start worker thread {} of {}: {}; use fewer threads",
                state_->workers.size() + 1, threads - 1, error.what());
  }
}

WorkerPool::~WorkerPool() = default;

void WorkerPool::run(std::uint32_t tasks, Body body) {
  State& state = *state_;
  // One run at a time: a body must not start another, and no two threads may share the caller's
  // role.
  CHECK(!state.running.exchange(true, std::memory_order_acquire));
  state.body = &body;
  state.tasks = tasks;
  state.unfinished.store(tasks, std::memory_order_relaxed);
  state.unclaimed.store(tasks, std::memory_order_release);
  if (tasks > 1 && !state.workers.empty()) state.wake();
  state.work(0);
  while (const std::uint32_t left = state.unfinished.load(std::memory_order_acquire))
    wait_while_equal(state.unfinished, left);
  state.running.store(false, std::memory_order_release);
}

std::uint32_t WorkerPool::threads() const {
  return static_cast<std::uint32_t>(state_->workers.size()) + 1;
}

}  // namespace hearth::kernels
