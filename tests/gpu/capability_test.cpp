#include "kernels/gpu/vendor/capability.h"

#include <gtest/gtest.h>

namespace hearth::kernels {
namespace {

TEST(Capability, CodeRunsWithinItsMajorNumber) {
  EXPECT_TRUE(runs_on(75, {75, 80}, {}));
  EXPECT_TRUE(runs_on(89, {75, 80}, {}));
  EXPECT_FALSE(runs_on(86, {75, 89}, {}));
  EXPECT_FALSE(runs_on(90, {75, 80}, {}));
  EXPECT_TRUE(runs_on(121, {90, 120}, {}));
}

TEST(Capability, TegraRunsCodeOfItsOwn) {
  EXPECT_FALSE(runs_on(87, {80, 86}, {}));
  EXPECT_FALSE(runs_on(89, {87}, {}));
  EXPECT_TRUE(runs_on(87, {80, 87}, {}));
  EXPECT_TRUE(runs_on(87, {86}, {80}));
}

TEST(Capability, PtxRunsOnAllThatAreNotOlder) {
  EXPECT_TRUE(runs_on(103, {75, 90, 120}, {90, 120}));
  EXPECT_FALSE(runs_on(87, {90}, {90}));
}

TEST(Capability, CardsBeforeAnyHaveNothing) { EXPECT_FALSE(runs_on(61, {75, 80, 90}, {90})); }

TEST(Capability, KernelsForHopperAndLaterWaitForTheOneBefore) {
  EXPECT_TRUE(waits_on(90, {75, 90}, {}));
  EXPECT_TRUE(waits_on(121, {75, 120}, {}));
  EXPECT_TRUE(waits_on(100, {75, 90}, {90, 120}));
  EXPECT_FALSE(waits_on(89, {75, 89, 90}, {90}));
}

// Compiled on a newer device by its driver, and without a word of waiting in it.
TEST(Capability, PtxOfOlderKernelsWaitsForNothing) {
  EXPECT_FALSE(waits_on(90, {75, 80}, {80}));
  EXPECT_FALSE(waits_on(120, {75, 90}, {89}));
}

}  // namespace
}  // namespace hearth::kernels
