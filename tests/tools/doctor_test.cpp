// hearth doctor as a command: it is quick, honest about what failed, and what it writes is read.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "kernels/gpu/backend.h"
#include "kernels/weight_format.h"
#include "profiler/machine_toml.h"
#include "tests/profiler/support/machines.h"
#include "tests/tools/support/expect_error.h"
#include "tools/hearth/doctor_cpu.h"
#include "tools/hearth/doctor_report.h"

namespace hearth::tools {
namespace {

namespace fs = std::filesystem;
using namespace testing;

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// Of this test, on the disk of the build, because a temporary folder may lie in memory.
fs::path disk_folder() {
  const std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
  const fs::path folder = fs::path(HEARTH_BINARY).parent_path() / ("doctor-test-" + test);
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

bool has_gpu() {
  for (const kernels::GpuBackend& backend : kernels::gpu_backends())
    if (!backend.find().devices.empty()) return true;
  return false;
}

void expect_plausible(const profiler::Machine& machine) {
  EXPECT_TRUE(machine.measured);
  EXPECT_TRUE(machine.source.starts_with("measured by hearth doctor --quick"));
  EXPECT_EQ(machine.cpu.kernels.size(), kernels::kWeightFormatCount);
  EXPECT_EQ(machine.cpu.memory_read.front().threads, 1u);
  EXPECT_GT(machine.cpu.layer_overhead.count(), 0);
  EXPECT_GT(machine.cpu.token_overhead.count(), 0);
  EXPECT_EQ(machine.gpu.has_value(), has_gpu());
}

TEST(Doctor, MeasuresWritesAndLeavesNothingBehind) {
  const fs::path folder = disk_folder();
  const std::string path = temporary_path("doctor.toml");
  const CommandResult result =
      run_hearth({"doctor", "--quick", "--memory", "64M", "--disk", folder, "-o", path});
  if (contains(result.errors, "lies in memory")) GTEST_SKIP() << "the build is not on a disk";
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const profiler::Machine machine = profiler::load_machine(path);
  expect_plausible(machine);
  ASSERT_TRUE(machine.disk);
  EXPECT_EQ(machine.disk->random_reads.size(), 6u);
  EXPECT_EQ(read_file(path), profiler::to_toml(machine));
  EXPECT_TRUE(fs::is_empty(folder));
  EXPECT_TRUE(contains(result.errors, "writing a test file of 256 MiB")) << result.errors;
  for (const char* title :
       {"machine ", "memory ", "kernels ", "overhead ", "disk ", "io_uring ", "pages ", "limits ",
        "gpu ", "limit ", "decode ", "offload ", "written "})
    EXPECT_TRUE(contains(result.output, title)) << title << " is not in " << result.output;
  fs::remove(folder);
}

// So that none is left by a process that is killed.
TEST(Doctor, TheTestFileHasNoName) {
  const fs::path folder = disk_folder();
  const int possible = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (possible < 0) GTEST_SKIP() << "the file system has only files with names";
  close(possible);
  bool seen = false;
  const CommandResult result = run_hearth(
      {.arguments = {"doctor", "--quick", "--memory", "64M", "-t", "1", "--disk", folder, "-o",
                     "-"},
       .input = {},
       .environment = {},
       .meanwhile = [&](pid_t child) {
         siginfo_t info{};
         while (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                info.si_pid == 0) {
           seen = seen || !fs::is_empty(folder);
           std::this_thread::sleep_for(std::chrono::milliseconds(1));
         }
       }});
  if (contains(result.errors, "lies in memory")) GTEST_SKIP() << "the build is not on a disk";
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_TRUE(profiler::parse_machine(result.output, "standard output").disk);
  EXPECT_FALSE(seen);
}

TEST(Doctor, WithoutADiskItSaysSoAndTheRestIsWritten) {
  const CommandResult result =
      run_hearth({"doctor", "--quick", "--memory", "64M", "--threads", "1", "-o", "-"});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const profiler::Machine machine = profiler::parse_machine(result.output, "standard output");
  expect_plausible(machine);
  EXPECT_FALSE(machine.disk);
  EXPECT_EQ(machine.cpu.memory_read.size(), 1u);
  EXPECT_TRUE(contains(result.errors, "not measured; models larger than memory need it"));
}

// A folder where no file can be written, which is found out while the disk is measured.
CommandResult doctor_with_a_full_disk(const fs::path& config, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"doctor",    "--quick", "--memory", "64M",
                                        "--threads", "1",       "--disk",   disk_folder()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_hearth({.arguments = arguments,
                     .input = {},
                     .environment = {{"XDG_CONFIG_HOME", config}},
                     .prepare = [] {
                       const rlimit limit{.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
                       setrlimit(RLIMIT_FSIZE, &limit);
                       signal(SIGXFSZ, SIG_IGN);
                     }});
}

TEST(Doctor, AProbeThatFailsIsALineAndAnExitCode) {
  const std::string path = temporary_path("partly.toml");
  const CommandResult result = doctor_with_a_full_disk(temporary_path("no-config"), {"-o", path});
  if (contains(result.errors, "lies in memory")) GTEST_SKIP() << "the build is not on a disk";
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.errors, "failed    ")) << result.errors;
  EXPECT_TRUE(contains(result.errors, "the test file cannot be written")) << result.errors;
  const profiler::Machine machine = profiler::load_machine(path);
  expect_plausible(machine);
  EXPECT_FALSE(machine.disk);
}

// The file of --machine auto holds a disk, which the new one would not.
TEST(Doctor, AProbeThatFailsReplacesNoFileThatWasNotNamed) {
  const fs::path config = temporary_path("measured");
  const std::string path = config / "hearth/machine.toml";
  fs::create_directories(config / "hearth");
  profiler::save_machine(path, profiler::complete_machine());
  const CommandResult result = doctor_with_a_full_disk(config);
  if (contains(result.errors, "lies in memory")) GTEST_SKIP() << "the build is not on a disk";
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(contains(result.output, "kept      " + path)) << result.output;
  EXPECT_EQ(profiler::load_machine(path), profiler::complete_machine());
}

TEST(Doctor, TheDiskThatWasMeasuredBeforeStaysInTheFile) {
  const fs::path config = temporary_path("config-with-disk");
  const fs::path file = config / "hearth" / "machine.toml";
  fs::create_directories(file.parent_path());
  profiler::Machine before = profiler::complete_machine();
  before.name = "before";
  profiler::save_machine(file, before);
  ASSERT_TRUE(before.disk);
  const CommandResult result =
      run_hearth({.arguments = {"doctor", "--quick", "--memory", "64M", "--threads", "1"},
                  .input = {},
                  .environment = {{"XDG_CONFIG_HOME", config}}});
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const profiler::Machine after = profiler::load_machine(file);
  EXPECT_NE(after.name, "before");
  EXPECT_EQ(after.disk, before.disk);
  EXPECT_TRUE(contains(result.output, "with the disk as it was measured before")) << result.output;
}

TEST(Doctor, LooksAtTheDiskBeforeItMeasures) {
  const std::string path = temporary_path("unmeasured.toml"), small = temporary_path("small");
  write_file(small, "a few bytes");
  for (const std::string& disk : {std::string("/no/such/place"), small}) {
    const CommandResult result = run_hearth({"doctor", "--quick", "--disk", disk, "-o", path});
    expect_error(result, kFailed, {disk, "--disk"});
    EXPECT_EQ(result.output, "");
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(Doctor, SenselessFlagsAreRefused) {
  expect_error(run_hearth({"doctor", "--memory", "1M"}), kMisused, {"--memory", "at least 64"});
  expect_error(run_hearth({"doctor", "--threads", "0"}), kMisused, {"--threads"});
  expect_error(run_hearth({"doctor", "--presets", "--quick"}), kMisused, {"--presets"});
  expect_error(run_hearth({"doctor", "-o", "/no/such/folder/machine.toml"}), kFailed,
               {"/no/such/folder"});
}

TEST(Doctor, ListsThePresets) {
  const CommandResult result = run_hearth({"doctor", "--presets"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(contains(result.output, "rtx3060-12g-ddr4"));
}

TEST(Doctor, ThreadCountsDoubleUpToAll) {
  EXPECT_EQ(thread_counts(1, false), (std::vector<std::uint32_t>{1}));
  EXPECT_EQ(thread_counts(8, false), (std::vector<std::uint32_t>{1, 2, 4, 8}));
  EXPECT_EQ(thread_counts(12, false), (std::vector<std::uint32_t>{1, 2, 4, 8, 12}));
  EXPECT_EQ(thread_counts(12, true), (std::vector<std::uint32_t>{1, 12}));
}

std::string verdict(const profiler::Machine& machine, double load = 0) {
  const DoctorFindings findings{.system = {.load = load}, .machine = machine};
  std::string text;
  for (const std::string& line : verdict_lines(findings)) text += line + "\n";
  return text;
}

TEST(DoctorReport, SaysWhatLimitsTheMachine) {
  profiler::Machine machine = profiler::complete_machine();
  const auto measured = [&](double one, double four, double eight, double kernel) {
    machine.cpu.memory_read = {
        {.threads = 1, .rate = one}, {.threads = 4, .rate = four}, {.threads = 8, .rate = eight}};
    machine.cpu.kernels = {{.format = "Q4_K", .rates = {{.threads = 8, .rate = kernel}}}};
    return verdict(machine);
  };
  EXPECT_TRUE(contains(measured(20e9, 45e9, 48e9, 40e9), "limit     memory: 8 threads"));
  EXPECT_TRUE(contains(measured(6e9, 24e9, 48e9, 40e9), "limit     the number of cores"));
  EXPECT_TRUE(contains(measured(20e9, 45e9, 48e9, 12e9), "limit     the CPU's arithmetic"));
}

TEST(DoctorReport, JudgesNothingWhileTheMachineIsBusy) {
  EXPECT_TRUE(contains(verdict(profiler::complete_machine(), 3.0), "limit     not judged"));
}

TEST(DoctorReport, SaysWhatADiskCosts) {
  profiler::Machine machine = profiler::complete_machine();
  machine.cpu.kernels = {{.format = "Q4_K", .rates = {{.threads = 8, .rate = 40e9}}}};
  const std::string text = verdict(machine);
  // 1 GB at 40 GB/s; 100 MB at 4 GB/s; a tenth of the rate.
  EXPECT_TRUE(contains(text, "1 GB of Q4_K takes 25 ms")) << text;
  EXPECT_TRUE(contains(text, "cannot exceed 20.0 tokens/s")) << text;
  EXPECT_TRUE(contains(text, "10 times slower")) << text;
  EXPECT_TRUE(contains(text, "25 ms for every 100 MB")) << text;
  machine.disk.reset();
  EXPECT_FALSE(contains(verdict(machine), "offload"));
}

TEST(DoctorReport, SaysWhatTheSystemLacks) {
  DoctorFindings findings{.machine = profiler::complete_machine()};
  findings.machine.gpu.reset();
  findings.system.huge_pages = "never";
  findings.system.locked_memory = 8 * kMiB;
  findings.system.gpus = {"NVIDIA GeForce RTX 3060"};
  findings.io_uring_refusal = "not available (it is forbidden): a pool of threads reads instead";
  std::string text;
  for (const std::string& line : report_lines(findings)) text += line + "\n";
  EXPECT_TRUE(contains(text, "transparent huge pages are off")) << text;
  EXPECT_TRUE(contains(text, "8.00 MiB of locked memory")) << text;
  EXPECT_TRUE(contains(text, "RTX 3060 found, but this build has no GPU back end")) << text;
  EXPECT_TRUE(contains(text, "io_uring  not available")) << text;
}

std::string report(const DoctorFindings& findings) {
  std::string text;
  for (const std::string& line : report_lines(findings)) text += line + "\n";
  return text;
}

TEST(DoctorReport, SaysWhyThereIsNoGpu) {
  DoctorFindings findings{.machine = profiler::complete_machine()};
  findings.machine.gpu.reset();
  EXPECT_TRUE(contains(report(findings), "gpu       no driver of a GPU found")) << report(findings);
  findings.gpu.missing = "CUDA: no NVIDIA device";
  EXPECT_TRUE(contains(report(findings), "gpu       CUDA: no NVIDIA device; everything is"));
  findings.gpu = {.about = "sm_89, CUDA 13.0"};
  EXPECT_TRUE(contains(report(findings), "one was found (sm_89, CUDA 13.0), but measuring it"));
}

TEST(DoctorReport, SaysWhatACardReaches) {
  DoctorFindings findings{.machine = profiler::complete_machine()};
  findings.gpu = {.about = "sm_89, CUDA 13.0", .pinned = 8 * kGiB};
  const std::string refused = report(findings);
  EXPECT_TRUE(contains(refused, "a card (sm_89, CUDA 13.0), 12.0 GiB of memory")) << refused;
  EXPECT_TRUE(contains(refused, "copies at 25.0 GB/s to the card and 24.0 GB/s back")) << refused;
  EXPECT_TRUE(contains(refused, "lets 9.00 GiB of memory be pinned for it and no more")) << refused;
  findings.machine.gpu->pinnable.reset();
  findings.gpu.stream_memory_operations = false;
  findings.gpu.launches_overlap = true;
  EXPECT_TRUE(contains(report(findings), "8.00 GiB of memory were pinned"));
  EXPECT_TRUE(contains(report(findings), "in a graph, one begun while another ends; a layer"));
  EXPECT_TRUE(contains(report(findings), "which the driver lacks"));
}

TEST(DoctorReport, SaysWhichWayAnExpertThatIsNotOnTheCardIsSoonest) {
  profiler::Machine machine = profiler::complete_machine();
  machine.cpu.kernels = {{.format = "Q4_K", .rates = {{.threads = 8, .rate = 20e9}}}};
  machine.gpu->gather = 25e9;
  machine.gpu->gather_shared = 22e9;
  machine.gpu->cpu_shared = 18e9;
  const std::string both = verdict(machine);
  EXPECT_TRUE(contains(both, "4.0 ms over the link, 5.0 ms on the CPU and 2.5 ms by both")) << both;
  machine.gpu->gather_shared = 12e9;
  machine.gpu->cpu_shared = 12e9;
  EXPECT_TRUE(contains(verdict(machine), "the host's memory is the limit"));
}

}  // namespace
}  // namespace hearth::tools
