#include "profiler/machine.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/profiler/support/machines.h"

namespace hearth::profiler {
namespace {

// Relative: a few roundings of a double.
constexpr double kRounding = 1e-14;

TEST(Machine, MemoryRateIsInterpolatedBetweenThreadCounts) {
  const CpuMachine cpu = complete_machine().cpu;
  EXPECT_EQ(memory_rate(cpu, 1), 20e9);
  EXPECT_EQ(memory_rate(cpu, 2), 36e9);
  EXPECT_EQ(memory_rate(cpu, 8), 48'123'456'789.0);
  EXPECT_NEAR(memory_rate(cpu, 5), (36e9 + 48'123'456'789.0) / 2, 48e9 * kRounding);
}

TEST(Machine, MoreThreadsThanWereMeasuredHaveTheLastRate) {
  EXPECT_EQ(memory_rate(complete_machine().cpu, 64), 48'123'456'789.0);
}

TEST(Machine, FewerThreadsThanWereMeasuredHaveTheirShare) {
  const CpuMachine cpu = complete_machine().cpu;
  EXPECT_NEAR(kernel_rate(cpu, "Q4_K", 1), 15e9, 15e9 * kRounding);
}

TEST(Machine, AFormatHasItsOwnRateOrAShareOfMemory) {
  const CpuMachine cpu = complete_machine().cpu;
  EXPECT_NEAR(kernel_rate(cpu, "Q8_0", 2), 24e9, 24e9 * kRounding);
  EXPECT_EQ(kernel_rate(cpu, "Q6_K", 2), 0.85 * 36e9);
}

TEST(Machine, DiskRateIsThatOfTheBestDepth) {
  const DiskMachine disk = *complete_machine().disk;
  EXPECT_NEAR(disk_rate(disk, 64 * kKiB), 2e9, 2e9 * kRounding);
  EXPECT_NEAR(disk_rate(disk, kMiB), 4e9, 4e9 * kRounding);
  EXPECT_NEAR(disk_rate(disk, 100 * kMiB), 4e9, 4e9 * kRounding);
}

TEST(Machine, ASmallReadTakesAsLongAsTheSmallestMeasured) {
  const DiskMachine disk = *complete_machine().disk;
  EXPECT_NEAR(disk_rate(disk, 16 * kKiB), 0.5e9, 0.5e9 * kRounding);
}

TEST(Machine, BetweenTwoSizesTheTimeOfAReadIsInterpolated) {
  const DiskMachine disk = *complete_machine().disk;
  const double small = 65536 / 2e9, large = 1048576 / 4e9;
  const Bytes half_way((65536 + 1048576) / 2);
  const double expected = static_cast<double>(half_way.count) / ((small + large) / 2);
  EXPECT_NEAR(disk_rate(disk, half_way), expected, expected * kRounding);
}

// A disk of a fixed cost and a rate is described exactly by any two sizes.
TEST(Machine, AFixedCostAndARateAreFoundAgain) {
  EXPECT_TRUE(rc::check([] {
    const double fixed = *rc::gen::inRange(1, 1000) * 1e-6;
    const double rate = *rc::gen::inRange(100, 8000) * 1e6;
    const auto reached = [&](Bytes read) {
      const auto bytes = static_cast<double>(read.count);
      return bytes / (fixed + bytes / rate);
    };
    const Bytes small = kKiB * *rc::gen::inRange<std::uint64_t>(1, 100);
    const Bytes large = small + kKiB * *rc::gen::inRange<std::uint64_t>(1, 4000);
    const DiskMachine disk{.random_reads = {{.read = small, .rate = reached(small)},
                                            {.read = large, .rate = reached(large)}}};
    const Bytes read =
        small + kKiB * *rc::gen::inRange<std::uint64_t>(0, (large - small) / kKiB + 1);
    // The difference of two times loses up to their ratio to it: 4000 / 1 sizes, times rounding.
    RC_ASSERT(std::abs(disk_rate(disk, read) / reached(read) - 1) < 1e-9);
  }));
}

TEST(MachineDeathTest, RatesThatAreNotThereAreABug) {
  EXPECT_DEATH(memory_rate(CpuMachine{}, 1), "rates.empty");
  EXPECT_DEATH(disk_rate(DiskMachine{}, kMiB), "random_reads.empty");
}

}  // namespace
}  // namespace hearth::profiler
