#include "api/turns.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "api/status.h"

namespace hearth::border {
namespace {

void wait_for(Turns& turns, std::size_t waiting) {
  while (turns.waiting() != waiting) std::this_thread::yield();
}

TEST(Turns, AreTakenInTheOrderInWhichTheyWereAskedFor) {
  Turns turns;
  std::vector<int> order;
  std::vector<std::thread> threads;
  ASSERT_TRUE(turns.take(nullptr));
  for (int i = 0; i < 5; ++i) {
    threads.emplace_back([&, i] {
      const Turn turn(turns);
      order.push_back(i);
    });
    wait_for(turns, static_cast<std::size_t>(i) + 1);
  }
  turns.end();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(Turns, WhoIsCancelledLeavesTheQueueAndTheOthersStay) {
  Turns turns;
  std::atomic<bool> cancelled{false};
  ASSERT_TRUE(turns.take(nullptr));
  hearth_status first = HEARTH_OK, second = HEARTH_ERROR_INTERNAL;
  std::thread one([&] { first = guarded([&] { const Turn turn(turns, &cancelled); }); });
  wait_for(turns, 1);
  std::thread two([&] { second = guarded([&] { const Turn turn(turns); }); });
  wait_for(turns, 2);
  cancelled = true;
  turns.look_again();
  one.join();
  EXPECT_EQ(first, HEARTH_STOPPED);
  EXPECT_FALSE(cancelled) << "one wish would stop two calls";
  EXPECT_EQ(turns.waiting(), 1u);
  turns.end();
  two.join();
  EXPECT_EQ(second, HEARTH_OK);
}

TEST(Turns, NobodyWaitsForTheirOwn) {
  Turns turns;
  const Turn turn(turns);
  EXPECT_EQ(guarded([&] { const Turn again(turns); }), HEARTH_ERROR_STATE);
  std::thread([&] { EXPECT_FALSE(turns.held()); }).join();
}

}  // namespace
}  // namespace hearth::border
