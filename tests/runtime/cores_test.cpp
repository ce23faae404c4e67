#include "runtime/cores.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <string>
#include <thread>

#include "tests/runtime/support/made_up_root.h"

namespace hearth::runtime {
namespace {

TEST(ProcessorsByCgroups, TheTightestGroupAboveTheProcessCounts) {
  const MadeUpRoot root;
  EXPECT_EQ(processors_by_cgroups(root.path()), std::nullopt);
  root.write("proc/self/cgroup", "0::/user.slice/app.scope\n");
  root.write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(processors_by_cgroups(root.path()), std::nullopt);
  root.write("sys/fs/cgroup/user.slice/app.scope/cpu.max", "max 100000\n");
  EXPECT_EQ(processors_by_cgroups(root.path()), std::nullopt);
  root.write("sys/fs/cgroup/user.slice/cpu.max", "150000 100000\n");
  EXPECT_EQ(processors_by_cgroups(root.path()), 1.5);
  root.write("sys/fs/cgroup/user.slice/app.scope/cpu.max", "25000 50000\n");
  EXPECT_EQ(processors_by_cgroups(root.path()), 0.5);
}

TEST(ProcessorsByCgroups, Version1HasTwoFiles) {
  const MadeUpRoot root;
  root.write("proc/self/cgroup", "5:memory:/other\n4:cpu,cpuacct:/docker/abc\n");
  root.write("proc/self/mountinfo",
             "30 23 0:26 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(processors_by_cgroups(root.path()), std::nullopt);
  root.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n");
  EXPECT_EQ(processors_by_cgroups(root.path()), 4.0);
}

TEST(CoresOf, ProcessorsOfOneCoreCountOnce) {
  const MadeUpRoot root;
  const auto write = [&](int processor, const char* name, const char* siblings) {
    root.write("sys/devices/system/cpu/cpu" + std::to_string(processor) + "/topology/" + name,
               siblings);
  };
  EXPECT_EQ(cores_of({0, 1, 2, 3}, root.path()), 4u);  // nothing is said
  for (int processor = 0; processor < 4; ++processor) {
    write(processor, "core_cpus_list", processor % 2 == 0 ? "0,2\n" : "1,3\n");
    write(processor, "thread_siblings_list", "0-3\n");  // the older name is not asked for
  }
  EXPECT_EQ(cores_of({0, 1, 2, 3}, root.path()), 2u);
  EXPECT_EQ(cores_of({0, 2}, root.path()), 1u);
  EXPECT_EQ(cores_of({2, 3}, root.path()), 2u);
  write(8, "thread_siblings_list", "8-9\n");
  write(9, "thread_siblings_list", "8-9\n");
  EXPECT_EQ(cores_of({8, 9, 10}, root.path()), 2u);
  EXPECT_EQ(cores_of({}, root.path()), 0u);
}

// In a thread of its own: the mask is one of threads.
TEST(AvailableCores, AreThoseThatThreadsMayRunOn) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  const auto most = static_cast<std::uint32_t>(CPU_COUNT(&all));
  EXPECT_GE(available_cores(), 1u);
  EXPECT_LE(available_cores(), most);
  std::uint32_t of_one = 0;
  std::thread([&] {
    int first = 0;
    while (!CPU_ISSET(first, &all)) ++first;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    of_one = available_cores();
  }).join();
  EXPECT_EQ(of_one, 1u);
}

}  // namespace
}  // namespace hearth::runtime
