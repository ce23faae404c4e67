// How a run works, and why its memory ordering holds:
//
//   caller: body (plain) ; unfinished = tasks ; range of each worker [release] ; epoch + 1
//   anyone: takes a task off a range that is not empty [acquire] ; body(task) ; ... ;
//   unfinished - n [release]         caller: unfinished == 0 [acquire]
//
// - A range is one word, [begin, end). Its worker takes from the front, others from the back once
//   their own is empty: a worker walks through neighbouring tasks, whose weights are neighbours in
//   memory, and all finish together.
// - Taking synchronizes with the store of the run it belongs to: it reads that store, or another
//   take of the same run, and read-modify-writes continue a release sequence. So `body` is read
//   after a take only, and is then that of that run. A worker that slept through a whole run cannot
//   do harm: whatever it takes belongs to the run that is going on.
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
#include "base/spin.h"

namespace hearth::kernels {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Longer than the gap between two operations of a layer, shorter than waking a thread costs twice.
constexpr auto kSpinTime = std::chrono::microseconds(30);
constexpr int kPausesPerClockRead = 16;

// Returns once `word` no longer holds `old`: spins for kSpinTime, then sleeps.
void wait_while_equal(const std::atomic<std::uint32_t>& word, std::uint32_t old) {
  const auto deadline = SteadyClock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      if (word.load(std::memory_order_acquire) != old) return;
      spin_pause();
    }
  } while (SteadyClock::now() < deadline);
  word.wait(old, std::memory_order_acquire);
}

// The tasks [begin, end) that nobody has taken yet of those that one worker begins with. On a cache
// line of its own: taking must not disturb those who take from another range.
class alignas(64) Range {
 public:
  void set(std::uint32_t begin, std::uint32_t end) {
    word_.store(packed(begin, end), std::memory_order_release);
  }
  bool take_first(std::uint32_t& task) {
    return take([&](std::uint32_t begin, std::uint32_t end) {
      task = begin;
      return packed(begin + 1, end);
    });
  }
  bool take_last(std::uint32_t& task) {
    return take([&](std::uint32_t begin, std::uint32_t end) {
      task = end - 1;
      return packed(begin, end - 1);
    });
  }

 private:
  static std::uint64_t packed(std::uint32_t begin, std::uint32_t end) {
    return std::uint64_t{end} << 32 | begin;
  }
  template <typename Rest>
  bool take(Rest rest) {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    while (true) {
      const auto begin = static_cast<std::uint32_t>(word),
                 end = static_cast<std::uint32_t>(word >> 32);
      if (begin >= end) return false;
      if (word_.compare_exchange_weak(word, rest(begin, end), std::memory_order_acquire,
                                      std::memory_order_relaxed))
        return true;
    }
  }

  std::atomic<std::uint64_t> word_{0};
};

}  // namespace

struct WorkerPool::State {
  explicit State(std::uint32_t threads) : ranges(threads) {}
  ~State() {
    stopping.store(true, std::memory_order_relaxed);  // published by the step of `epoch`
    wake();
    for (std::thread& thread : workers) thread.join();
  }

  void wake() {
    epoch.fetch_add(1);
    epoch.notify_all();
  }

  // Runs tasks until none is left. A body that throws ends the program.
  void work(std::uint32_t worker) noexcept {
    const auto count = static_cast<std::uint32_t>(ranges.size());
    std::uint32_t done = 0;
    std::uint32_t task = 0;
    for (; ranges[worker].take_first(task); ++done) (*body)(task, worker);
    for (std::uint32_t i = 1; i < count; ++i)
      for (Range& other = ranges[(worker + i) % count]; other.take_last(task); ++done)
        (*body)(task, worker);
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
  std::vector<Range> ranges;   // of each worker
  std::vector<std::thread> workers;
  std::atomic<bool> running{false};
  std::atomic<bool> stopping{false};
  // On cache lines of their own: counting must not disturb those who spin on another word.
  alignas(64) std::atomic<std::uint32_t> unfinished{0};
  alignas(64) std::atomic<std::uint32_t> epoch{0};
};

WorkerPool::WorkerPool(std::uint32_t threads) {
  CHECK_GE(threads, 1u);
  state_ = std::make_unique<State>(threads);
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
  state.unfinished.store(tasks, std::memory_order_relaxed);
  const std::uint64_t workers = threads();
  const auto share = [&](std::uint64_t worker) {  // the first ones have one task more
    return static_cast<std::uint32_t>((tasks * worker + workers - 1) / workers);
  };
  for (std::uint32_t worker = 0; worker < workers; ++worker)
    state.ranges[worker].set(share(worker), share(worker + 1));
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
