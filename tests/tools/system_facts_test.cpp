#include "tools/hearth/system_facts.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/tools/support/run_command.h"

namespace hearth::tools {
namespace {

namespace fs = std::filesystem;

// A root directory with the files that are given.
class FakeRoot {
 public:
  explicit FakeRoot(const std::string& name) : path_(testing::temporary_path(name)) {
    fs::create_directories(path_);
  }
  void put(const std::string& path, const std::string& content) {
    const fs::path file = path_ / path;
    fs::create_directories(file.parent_path());
    testing::write_file(file, content);
  }
  std::string path() const { return path_; }

 private:
  fs::path path_;
};

TEST(SystemFacts, CountsPhysicalCores) {
  FakeRoot root("cores");
  std::string text;
  for (int socket = 0; socket < 2; ++socket)
    for (int thread = 0; thread < 8; ++thread)
      text += "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nphysical id\t: " +
              std::to_string(socket) + "\ncore id\t\t: " + std::to_string(thread / 2) + "\n\n";
  root.put("proc/cpuinfo", text);
  root.put("proc/meminfo", "MemTotal:       32768000 kB\nHugePages_Total:      12\n");
  root.put("proc/loadavg", "3.25 2.00 1.00 1/100 1\n");
  root.put("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  root.put("sys/devices/system/cpu/cpu0/cache/index0/size", "32K\n");
  root.put("sys/devices/system/cpu/cpu0/cache/index3/size", "32768K\n");
  const SystemFacts facts = system_facts(root.path());
  EXPECT_EQ(facts.cpu, "Some CPU @ 3 GHz");
  EXPECT_EQ(facts.cores, 8u);
  EXPECT_EQ(facts.memory, 32768000 * kKiB);
  EXPECT_EQ(facts.reserved_huge_pages, 12u);
  EXPECT_EQ(facts.huge_pages, "madvise");
  EXPECT_EQ(facts.last_level_cache, 32 * kMiB);
  EXPECT_EQ(facts.load, 3.25);
  EXPECT_TRUE(facts.gpus.empty());
}

TEST(SystemFacts, AnEmptySystemIsNoError) {
  const SystemFacts facts = system_facts(FakeRoot("empty").path());
  EXPECT_EQ(facts.cores, 1u);
  EXPECT_EQ(facts.memory, Bytes(0));
  EXPECT_EQ(facts.huge_pages, "");
  EXPECT_FALSE(facts.cpu.empty());
}

TEST(SystemFacts, FindsGpusWithADriver) {
  FakeRoot root("gpus");
  root.put("proc/driver/nvidia/gpus/0000:01:00.0/information",
           "Model: \t\t NVIDIA GeForce RTX 3060\nIRQ:   \t\t 171\n");
  root.put("sys/class/drm/card0/device/vendor", "0x1002\n");
  root.put("sys/class/drm/renderD128/device/vendor", "0x10de\n");
  root.put("sys/class/drm/renderD129/device/vendor", "0x1002\n");
  root.put("sys/class/drm/renderD130/device/vendor", "0x8086\n");
  EXPECT_EQ(system_facts(root.path()).gpus,
            (std::vector<std::string>{"NVIDIA GeForce RTX 3060", "an AMD GPU", "an Intel GPU"}));
}

TEST(SystemFacts, FindsADriverWithoutDetails) {
  FakeRoot root("devices");
  root.put("dev/nvidia0", "");
  root.put("dev/kfd", "");
  EXPECT_EQ(system_facts(root.path()).gpus,
            (std::vector<std::string>{"an NVIDIA GPU", "an AMD GPU"}));
}

TEST(SystemFacts, ThisMachineHasWhatEveryMachineHas) {
  const SystemFacts facts = system_facts();
  EXPECT_GE(facts.cores, 1u);
  EXPECT_GT(facts.memory, 256 * kMiB);
  EXPECT_FALSE(storage_name("/").empty());
  EXPECT_EQ(storage_name("/proc/no such thing"), "a disk without a name");
}

}  // namespace
}  // namespace hearth::tools
