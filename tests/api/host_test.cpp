// What the calling program is like has no effect on the library, and the library none on it.
#include <gtest/gtest.h>

#include <cfenv>

#include "tests/api/support/handles.h"

namespace hearth::testing {
namespace {

std::vector<float> logits_of_a_new_engine() { return logits_after(open_engine(), numbers(40)); }

class HostFloats : public ::testing::Test {
 protected:
  HostFloats() { std::fegetenv(&before_); }
  ~HostFloats() override { std::fesetenv(&before_); }

 private:
  std::fenv_t before_;
};

TEST_F(HostFloats, RoundingOfTheProgramChangesNoLogit) {
  const std::vector<float> expected = logits_of_a_new_engine();
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    ASSERT_EQ(std::fesetround(mode), 0);
    EXPECT_EQ(logits_of_a_new_engine(), expected) << mode;
    EXPECT_EQ(std::fegetround(), mode);
  }
}

#if defined(__x86_64__)
TEST_F(HostFloats, TrapsOfTheProgramDoNotEndIt) {
  const std::vector<float> expected = logits_of_a_new_engine();
  constexpr int kTraps = FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW;
  ASSERT_NE(feenableexcept(kTraps), -1);
  EXPECT_EQ(logits_of_a_new_engine(), expected);
  EXPECT_EQ(fegetexcept(), kTraps);
}
#endif

TEST_F(HostFloats, FlagsOfTheProgramStay) {
  ASSERT_EQ(std::feclearexcept(FE_ALL_EXCEPT), 0);
  logits_of_a_new_engine();
  EXPECT_EQ(std::fetestexcept(FE_ALL_EXCEPT), 0);
}

}  // namespace
}  // namespace hearth::testing
