#include "base/punctual_sleep.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

TEST(PunctualSleep, LeavesTheThreadAsItWas) {
  const int before = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
  {
    const PunctualSleep punctual;
    EXPECT_EQ(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 1);
  }
  EXPECT_EQ(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), before);
}

}  // namespace
}  // namespace hearth
