#include "runtime/available_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string_view>

#include "tests/runtime/support/made_up_root.h"
#include "tests/sanitized.h"

namespace hearth::runtime {
namespace {

namespace fs = std::filesystem;

class Root : public MadeUpRoot {
 public:
  // A group of version 2.
  void group(const fs::path& folder, std::string_view limit, std::string_view usage,
             std::string_view stat = "") const {
    write(folder / "memory.max", limit);
    write(folder / "memory.current", usage);
    write(folder / "memory.stat", stat);
  }
  Bytes left() const { return left_by_cgroups(path()); }
};

constexpr Bytes kUnlimited = Bytes(~std::uint64_t{0});

TEST(LeftByCgroups, WithoutCgroupsIsUnlimited) {
  const Root root;
  EXPECT_EQ(root.left(), kUnlimited);
  root.write("proc/self/cgroup", "0::/user.slice\n");
  EXPECT_EQ(root.left(), kUnlimited);
  root.write("proc/self/mountinfo",
             "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(root.left(), kUnlimited);
}

TEST(LeftByCgroups, TheTightestGroupAboveTheProcessCounts) {
  const Root root;
  root.write("proc/self/cgroup", "0::/user.slice/app.scope\n");
  root.write("proc/self/mountinfo",
             "22 1 0:21 / /proc rw - proc proc rw\n"
             "30 23 0:26 / /sys/fs/cgroup rw shared:4 master:1 - cgroup2 cgroup2 rw\n");
  const fs::path top = "sys/fs/cgroup", slice = top / "user.slice", scope = slice / "app.scope";
  root.group(scope, "max\n", "700\n");
  root.group(slice, "max\n", "700\n");
  EXPECT_EQ(root.left(), kUnlimited);
  root.group(slice, "1000\n", "700\n");
  EXPECT_EQ(root.left(), Bytes(300));
  root.group(scope, "750\n", "700\n");
  EXPECT_EQ(root.left(), Bytes(50));
  root.group(scope, "650\n", "700\n");  // lowered below what is taken
  EXPECT_EQ(root.left(), Bytes(0));
}

TEST(LeftByCgroups, TheProcessIsThrottledAboveMemoryHigh) {
  const Root root;
  root.write("proc/self/cgroup", "0::/\n");
  root.write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  root.group("sys/fs/cgroup", "1000\n", "100\n");
  root.write("sys/fs/cgroup/memory.high", "500\n");
  EXPECT_EQ(root.left(), Bytes(400));
}

TEST(LeftByCgroups, ThePageCacheIsFree) {
  const Root root;
  root.write("proc/self/cgroup", "0::/\n");
  root.write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  root.group("sys/fs/cgroup", "1000\n", "900\n",
             "anon 300\nfile 600\ninactive_anon 1\ninactive_file 400\nactive_file 150\n");
  EXPECT_EQ(root.left(), Bytes(650));
}

// As systems have it whose cgroup2 is there without a memory controller.
TEST(LeftByCgroups, VersionOneIsRead) {
  const Root root;
  root.write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/box\n0::/\n");
  root.write("proc/self/mountinfo",
             "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpuacct\n"
             "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,cpu,memory\n"
             "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
  const fs::path box = "sys/fs/cgroup/memory/box";
  root.write(box / "memory.limit_in_bytes", "1000\n");
  root.write(box / "memory.usage_in_bytes", "800\n");
  root.write(box / "memory.stat",
             "inactive_file 1\ntotal_inactive_file 30\ntotal_active_file 20\n");
  EXPECT_EQ(root.left(), Bytes(250));
}

// A container sees its own group as the mounted one, and may be told the name it has outside.
TEST(LeftByCgroups, TheMountedGroupOfAContainerIsItsOwn) {
  for (const char* group : {"0::/\n", "0::/docker/12ab\n", "0::/../other\n"}) {
    const Root root;
    root.write("proc/self/cgroup", group);
    root.write("proc/self/mountinfo",
               "30 23 0:26 /docker/12ab /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    root.group("sys/fs/cgroup", "1000\n", "400\n");
    EXPECT_EQ(root.left(), Bytes(600)) << group;
  }
}

TEST(AvailableMemory, IsWhatTheAddressSpaceMayGrowBy) {
  if (hearth::testing::kSanitized) GTEST_SKIP() << "a sanitizer takes the address space for itself";
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{std::uint64_t{1} << 30, std::uint64_t{1} << 30};
    setrlimit(RLIMIT_AS, &limit);
    const Bytes available = available_memory();
    _exit(available > Bytes(0) && available < kGiB ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(AvailableMemory, IsUnknownWhereTheSystemDoesNotTell) {
  if (hearth::testing::kSanitized) GTEST_SKIP() << "a sanitizer asks the system with a pipe";
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_NOFILE, &none);
    _exit(available_memory(kGiB) == Bytes(0) ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace hearth::runtime
