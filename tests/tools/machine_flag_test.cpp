#include "tools/hearth/machine_flag.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "profiler/machine_toml.h"
#include "runtime/machine_file.h"
#include "tests/profiler/support/machines.h"
#include "tests/tools/support/run_command.h"

namespace hearth::tools {
namespace {

namespace fs = std::filesystem;
using profiler::GpuMachine;
using profiler::Machine;

std::string error_of(const std::string& flag) {
  try {
    choose_machine(flag);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

// Sets a variable of the environment for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    const char* const before = std::getenv(name);
    if (before != nullptr) before_ = before;
    value != nullptr ? setenv(name, value, 1) : unsetenv(name);
  }
  ~Variable() { before_ ? setenv(name_, before_->c_str(), 1) : unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST(MachinePresets, AreTheFilesOfTheRepository) {
  std::set<std::string> files;
  for (const auto& entry : fs::directory_iterator(fs::path(HEARTH_SOURCE_DIR) / "configs/machines"))
    if (entry.path().extension() == ".toml") files.insert(entry.path().stem());
  const std::vector<std::string> names = machine_presets();
  EXPECT_EQ(files, std::set<std::string>(names.begin(), names.end()));
  EXPECT_GE(names.size(), 20u);
}

void expect_plausible_gpu(const Machine& machine, const GpuMachine& gpu) {
  const double memory = memory_rate(machine.cpu, machine.cpu.cores);
  const double products = machine.cpu.kernel_efficiency * memory;
  EXPECT_LE(gpu.gather, 1.1 * gpu.host_to_device);
  EXPECT_LE(gpu.host_to_device_shared, gpu.host_to_device);
  EXPECT_LE(gpu.gather_shared, gpu.gather);
  EXPECT_LE(gpu.cpu_shared, products);
  EXPECT_LE(gpu.cpu_shared + gpu.host_to_device_shared, memory * (1 + 1e-3));  // four digits
  EXPECT_GT(gpu.memory_read, memory);
  EXPECT_GE(gpu.memory, 8 * kGiB);
  EXPECT_LE(gpu.reserved, kGiB);
}

TEST(MachinePresets, HoldWhatMustHoldBetweenTheirFigures) {
  for (const std::string& name : machine_presets()) {
    SCOPED_TRACE(name);
    const Machine machine = machine_preset(name);
    EXPECT_FALSE(machine.measured);
    EXPECT_GT(machine.source.size(), 40u);
    EXPECT_TRUE(machine.cpu.kernels.empty());
    EXPECT_LE(machine.cpu.memory_read.back().threads, machine.cpu.cores);
    EXPECT_GT(memory_rate(machine.cpu, machine.cpu.cores), 20e9);
    if (machine.gpu) expect_plausible_gpu(machine, *machine.gpu);

    ASSERT_TRUE(machine.disk);
    double before = 0;
    for (const Bytes read : {16 * kKiB, 64 * kKiB, 256 * kKiB, 512 * kKiB, kMiB, 2 * kMiB}) {
      EXPECT_GE(disk_rate(*machine.disk, read), before) << read.count;
      before = disk_rate(*machine.disk, read);
    }
    EXPECT_LT(before, memory_rate(machine.cpu, machine.cpu.cores) / 2);
    for (const profiler::DiskRate& row : machine.disk->random_reads) {
      // So many reads at once, each of which takes as long as the latency says: within its digits.
      const double rate = static_cast<double>((row.read * row.depth).count) / seconds(row.latency);
      EXPECT_NEAR(rate / row.rate, 1, 0.01) << row.read.count << " x " << row.depth;
    }
  }
}

TEST(MachineFlag, APresetIsFoundByName) {
  const MachineChoice choice = choose_machine("rtx3060-12g-ddr4");
  EXPECT_EQ(choice.machine.gpu->memory, 12 * kGiB);
  EXPECT_EQ(choice.origin, "preset rtx3060-12g-ddr4");
  EXPECT_TRUE(choice.note.empty());
}

TEST(MachineFlag, TheBeginningOfOneNameIsEnough) {
  EXPECT_EQ(choose_machine("rtx4060-laptop-8g").origin, "preset rtx4060-laptop-8g-ddr5");
  EXPECT_NE(error_of("rtx4060").find("unknown name 'rtx4060'"), std::string::npos);  // of several
  EXPECT_NE(error_of("").find("unknown name"), std::string::npos);
}

TEST(MachineFlag, AnUnknownNameHasTheNearestOne) {
  const std::string error = error_of("rtx3060-12gb-ddr4");
  EXPECT_NE(error.find("did you mean 'rtx3060-12g-ddr4'"), std::string::npos) << error;
  EXPECT_NE(error.find("--presets"), std::string::npos) << error;
}

TEST(MachineFlag, AFileIsAFile) {
  const std::string path = testing::temporary_path("some-machine.toml");
  profiler::save_machine(path, profiler::complete_machine());
  const MachineChoice choice = choose_machine(path);
  EXPECT_EQ(choice.machine, profiler::complete_machine());
  EXPECT_NE(choice.note.find("was measured on eight cores"), std::string::npos) << choice.note;
  EXPECT_NE(error_of("absent.toml").find("absent.toml"), std::string::npos);
}

TEST(MachineFlag, AFormatThatDoesNotExistIsRefused) {
  Machine machine = profiler::complete_machine();
  machine.cpu.kernels.front().format = "Q4_L";
  const std::string path = testing::temporary_path("bad-format.toml");
  profiler::save_machine(path, machine);
  EXPECT_NE(error_of(path).find("cpu.kernels.Q4_L: no such weight format"), std::string::npos);
}

TEST(MachineFlag, AutoIsWhatWasMeasured) {
  const fs::path folder = testing::temporary_path("config");
  const Variable config("XDG_CONFIG_HOME", folder.c_str());
  EXPECT_EQ(runtime::saved_machine_path(), folder / "hearth/machine.toml");
  EXPECT_FALSE(saved_machine());
  EXPECT_NE(error_of("auto").find("run hearth doctor"), std::string::npos);
  fs::create_directories(folder / "hearth");
  profiler::save_machine(runtime::saved_machine_path(), profiler::complete_machine());
  EXPECT_EQ(choose_machine("auto").machine, profiler::complete_machine());
}

TEST(MachineFlag, TheSavedFileIsWhereTheEnvironmentSays) {
  const Variable home("HOME", "/home/somebody");
  {
    const Variable config("XDG_CONFIG_HOME", "relative");
    EXPECT_EQ(runtime::saved_machine_path(), "/home/somebody/.config/hearth/machine.toml");
  }
  const Variable config("XDG_CONFIG_HOME", nullptr);
  EXPECT_EQ(runtime::saved_machine_path(), "/home/somebody/.config/hearth/machine.toml");
  const Variable no_home("HOME", nullptr);
  EXPECT_THROW(runtime::saved_machine_path(), Error);
}

// As in a service: what does not ask for the file does without it.
TEST(MachineFlag, WithoutAHomeOnlyAutoFails) {
  const Variable config("XDG_CONFIG_HOME", nullptr);
  for (const char* home : {static_cast<const char*>(nullptr), ""}) {
    const Variable variable("HOME", home);
    EXPECT_FALSE(saved_machine());
    EXPECT_NE(error_of("auto").find("neither XDG_CONFIG_HOME nor HOME"), std::string::npos);
  }
}

}  // namespace
}  // namespace hearth::tools
