// What hearth doctor measures of a GPU, on the emulation: every figure is there, nothing of the
// device stays behind, and what fails is one line.
#ifdef HEARTH_EMULATED
#include "tools/hearth/doctor_gpu.h"

#include <gtest/gtest.h>

#include <optional>

#include "base/error.h"
#include "io/arena.h"
#include "kernels/gpu/emulation/device.h"
#include "profiler/machine_toml.h"
#include "tests/tools/support/expect_error.h"

namespace hearth::tools {
namespace {

using kernels::emulated::DeviceOptions;
using kernels::emulated::EmulatedDevice;
using profiler::GpuMachine;
using namespace testing;

constexpr Bytes kDeviceMemory = 32 * kMiB;

GpuMachine measure(const DeviceOptions& options) {
  static const io::Arena memory(64 * kMiB);
  EmulatedDevice device(options);  // which CHECKs in the end that nothing is left on it
  return measure_gpu({.device = device,
                      .kernels = kernels::emulated_kernels(),
                      .cpu = kernels::cpu_kernels(kernels::best_instruction_set()),
                      .memory = memory.bytes(),
                      .threads = 1,
                      .device_memory = 4 * kMiB,
                      .pinned = 4 * kMiB,
                      .time = Nanoseconds(1),
                      .layers = 1,
                      .progress = [](std::string_view) {}});
}

std::optional<Error> error_of(const DeviceOptions& options) {
  try {
    measure(options);
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

TEST(DoctorGpu, MeasuresWhatAMachineFileHolds) {
  const GpuMachine gpu = measure({.memory = kDeviceMemory});
  for (const double rate : {gpu.memory_read, gpu.host_to_device, gpu.device_to_host, gpu.gather,
                            gpu.host_to_device_shared, gpu.gather_shared, gpu.cpu_shared})
    EXPECT_GE(rate, 1e6);
  for (const Nanoseconds cost : {gpu.layer_overhead, gpu.fetch_overhead, gpu.join_overhead,
                                 gpu.launch, gpu.graph_node, gpu.host_call})
    EXPECT_GT(cost.count(), 0);
  EXPECT_GT(gpu.layer_overhead, gpu.graph_node);  // of which it has more than one
  EXPECT_EQ(gpu.name, "emulated");
  EXPECT_EQ(gpu.memory, kDeviceMemory);
  EXPECT_LT(gpu.reserved, gpu.memory);
  EXPECT_FALSE(gpu.pinnable);
}

TEST(DoctorGpu, MeasuresWithTheMemoryThatIsThere) {
  EXPECT_GT(measure({.memory = 16 * kMiB}).memory_read, 0);
  const std::optional<Error> error = error_of({.memory = 4 * kMiB});
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::kBudget);
  EXPECT_STREQ(error->what(),
               "emulated: 2.00 MiB of its memory are free, too little to measure with; close what "
               "uses it");
}

TEST(DoctorGpu, AnyAllocationMayFail) {
  std::uint64_t failing = 1;
  for (; failing < 100; ++failing) {
    const auto error = error_of({.memory = kDeviceMemory, .failing_allocation = failing});
    if (!error) break;
    EXPECT_EQ(error->code(), ErrorCode::kBudget) << error->what();
    EXPECT_NE(std::string(error->what()).find("close what uses it"), std::string::npos);
  }
  EXPECT_GT(failing, 2u);
  EXPECT_LT(failing, 100u);
}

TEST(DoctorGpu, ALostDeviceIsTheDevicesOwnLine) {
  for (const std::uint64_t last : {1, 2, 5, 12, 40, 120, 300, 400}) {
    const auto error = error_of({.memory = kDeviceMemory, .last_operation = last});
    ASSERT_TRUE(error) << last;
    EXPECT_EQ(error->code(), ErrorCode::kDevice) << error->what();
    EXPECT_NE(std::string(error->what()).find("lost at operation"), std::string::npos);
  }
}

TEST(DoctorGpu, ASystemThatPinsNothingIsALine) {
  const auto error = error_of({.memory = kDeviceMemory, .pinnable = Bytes(0)});
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::kBudget);
  EXPECT_NE(std::string(error->what()).find("refuses to pin 4.00 MiB"), std::string::npos)
      << error->what();
}

TEST(DoctorGpu, TheCommandWritesAndSaysIt) {
  const std::string path = temporary_path("gpu.toml");
  const CommandResult result = run_hearth(
      {.arguments = {"doctor", "--quick", "--memory", "64M", "--threads", "1", "-o", path},
       .input = {},
       .environment = {},
       .program = HEARTH_EMULATED});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const profiler::Machine machine = profiler::load_machine(path);
  ASSERT_TRUE(machine.gpu);
  EXPECT_EQ(machine.gpu->name, "emulated");
  EXPECT_EQ(read_file(path), profiler::to_toml(machine));
  for (const char* text : {"gpu       emulated (host, none), 64.0 MiB of memory", "link ",
                           "launches ", "hand-over ", "pinned ", "experts   100 MB"})
    EXPECT_NE(result.output.find(text), std::string::npos) << text << " in " << result.output;
}

}  // namespace
}  // namespace hearth::tools
#endif
