#include "kernels/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace hearth::kernels {
namespace {

TEST(WorkerPool, RunsEveryTaskOnceForEveryCountOfThreadsAndTasks) {
  for (const std::uint32_t threads : {1u, 2u, 3u, 8u}) {
    WorkerPool pool(threads);
    ASSERT_EQ(pool.threads(), threads);
    for (const std::uint32_t tasks : {0u, 1u, 2u, 3u, 7u, 64u, 1000u}) {
      std::vector<int> runs(tasks, 0);  // not atomic: run() promises that the caller sees them
      pool.run(tasks, [&](std::uint32_t task, std::uint32_t worker) {
        ASSERT_LT(worker, threads);
        ++runs[task];
      });
      EXPECT_EQ(runs, std::vector<int>(tasks, 1)) << threads << " threads";
    }
  }
}

TEST(WorkerPool, ConsecutiveRunsDoNotMix) {
  WorkerPool pool(4);
  std::vector<std::uint32_t> written(16);
  for (std::uint32_t run = 0; run < 20'000; ++run) {
    const std::uint32_t tasks = run % 17;
    pool.run(tasks, [&](std::uint32_t task, std::uint32_t) { written[task] = run + task; });
    for (std::uint32_t task = 0; task < tasks; ++task) ASSERT_EQ(written[task], run + task);
  }
}

TEST(WorkerPool, AWorkerNumberIsUsedByOneThreadAtATime) {
  WorkerPool pool(4);
  std::vector<std::uint32_t> scratch(4, 0);  // a race here is one that ThreadSanitizer reports
  for (int run = 0; run < 200; ++run)
    pool.run(32, [&](std::uint32_t, std::uint32_t worker) { ++scratch[worker]; });
  EXPECT_EQ(std::accumulate(scratch.begin(), scratch.end(), 0u), 200u * 32u);
}

TEST(WorkerPool, WakesWorkersThatSleepAndCallersThatWaitLong) {
  using namespace std::chrono_literals;
  WorkerPool pool(2);
  for (int run = 0; run < 20; ++run) {
    std::this_thread::sleep_for(1ms);  // far beyond the time workers spin
    std::atomic<int> met{0};
    pool.run(2, [&](std::uint32_t, std::uint32_t) {
      ++met;
      // Each waits for the other: only two threads at a time can end this run.
      while (met < 2) std::this_thread::sleep_for(100us);
    });
    EXPECT_EQ(met, 2);
  }
}

TEST(WorkerPool, TheCallerSleepsThroughALongTaskOfAnother) {
  using namespace std::chrono_literals;
  WorkerPool pool(2);
  std::atomic<bool> worker_has_one{false};
  bool finished = false;
  pool.run(2, [&](std::uint32_t, std::uint32_t worker) {
    if (worker == 0) {
      while (!worker_has_one) std::this_thread::yield();
      return;
    }
    worker_has_one = true;
    std::this_thread::sleep_for(20ms);
    finished = true;
  });
  EXPECT_TRUE(finished);
}

TEST(WorkerPool, IsBuiltAndDestroyedManyTimes) {
  std::uint32_t sum = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    WorkerPool pool(1 + i % 4);
    if (i % 3 == 0) continue;  // destroyed without a run
    std::vector<std::uint32_t> out(5);
    pool.run(5, [&](std::uint32_t task, std::uint32_t) { out[task] = task; });
    sum += std::accumulate(out.begin(), out.end(), 0u);
  }
  EXPECT_EQ(sum, 666u * 10u);
}

TEST(WorkerPoolDeathTest, ARunInsideARunIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  WorkerPool pool(1);
  const auto nested = [&](std::uint32_t, std::uint32_t) {
    pool.run(1, [](std::uint32_t, std::uint32_t) {});
  };
  EXPECT_DEATH(pool.run(1, nested), "CHECK failed");
}

}  // namespace
}  // namespace hearth::kernels
