#include "profiler/machine_toml.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/profiler/support/machines.h"

namespace hearth::profiler {
namespace {

std::string minimal() {
  return R"(version = 1
name = "m"
source = "s"
measured = false
[cpu]
name = "c"
instruction_set = "avx2"
cores = 4
memory_mib = 16384
kernel_efficiency = 0.85
layer_overhead_us = 40
token_overhead_us = 0
memory_read = [ { threads = 4, gb_s = 40 } ]
)";
}

const std::string kDisk = R"([disk]
name = "d"
io_uring = true
direct = true
random_reads = [
  { read_kib = 64, depth = 8, gb_s = 2.5, latency_us = 200 },
]
)";

const std::string kGpu = R"([gpu]
name = "g"
memory_mib = 8192
reserved_mib = 700
memory_read_gb_s = 200
host_to_device_gb_s = 12.6
device_to_host_gb_s = 12.6
gather_gb_s = 12.6
host_to_device_shared_gb_s = 12
gather_shared_gb_s = 11
cpu_shared_gb_s = 30
layer_overhead_us = 12
fetch_overhead_us = 5
join_overhead_us = 15
)";

std::string complete() { return minimal() + kDisk + kGpu; }

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::optional<Error> error_of(const std::string& text) {
  try {
    parse_machine(text, "machine.toml");
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

TEST(MachineToml, WhatIsWrittenIsReadBack) {
  const Machine machine = complete_machine();
  EXPECT_EQ(parse_machine(to_toml(machine), "text"), machine);
}

TEST(MachineToml, PartsMayBeAbsent) {
  const Machine machine = parse_machine(minimal(), "text");
  EXPECT_FALSE(machine.disk);
  EXPECT_FALSE(machine.gpu);
  EXPECT_TRUE(machine.cpu.kernels.empty());
  EXPECT_EQ(machine.cpu.memory_read, (std::vector<ThreadRate>{{.threads = 4, .rate = 40e9}}));
  EXPECT_EQ(parse_machine(to_toml(machine), "text"), machine);
}

TEST(MachineToml, UnitsAreThoseOfTheKeys) {
  const Machine machine = parse_machine(complete(), "text");
  EXPECT_EQ(machine.cpu.memory, 16 * kGiB);
  EXPECT_EQ(machine.cpu.layer_overhead, std::chrono::microseconds(40));
  EXPECT_EQ(machine.disk->random_reads.front(),
            (DiskRate{.read = 64 * kKiB,
                      .depth = 8,
                      .rate = 2.5e9,
                      .latency = std::chrono::microseconds(200)}));
  EXPECT_EQ(machine.gpu->host_to_device, 12.6e9);
  EXPECT_EQ(machine.gpu->reserved, 700 * kMiB);
  EXPECT_EQ(machine.gpu->gather_shared, 11e9);
  EXPECT_EQ(machine.gpu->fetch_overhead, std::chrono::microseconds(5));
}

TEST(MachineToml, WhatIsKnownOfMeasuredCardsIsOptional) {
  const GpuMachine bare = *parse_machine(complete(), "text").gpu;
  EXPECT_EQ(bare.launch.count() + bare.graph_node.count() + bare.host_call.count(), 0);
  EXPECT_FALSE(bare.pinnable);
  Machine machine = complete_machine();
  machine.gpu->launch = machine.gpu->graph_node = machine.gpu->host_call = Nanoseconds(0);
  machine.gpu->pinnable.reset();
  const std::string text = to_toml(machine);
  EXPECT_EQ(parse_machine(text, "text"), machine);
  EXPECT_EQ(text.find("launch_us"), std::string::npos);
  EXPECT_EQ(text.find("pinnable"), std::string::npos);
}

TEST(MachineToml, AnyRatesAndNamesAreReadBack) {
  EXPECT_TRUE(rc::check([] {
    Machine machine = complete_machine();
    machine.name = *rc::gen::container<std::string>(rc::gen::inRange<char>(' ', '\x7f'));
    machine.cpu.memory_read.clear();
    std::uint32_t threads = 0;
    for (int i = *rc::gen::inRange(1, 8); i > 0; --i) {
      threads += *rc::gen::inRange<std::uint32_t>(1, 9);
      const auto rate = *rc::gen::inRange<std::int64_t>(100'000, 1'000'000'000'000'000);
      machine.cpu.memory_read.push_back({.threads = threads, .rate = static_cast<double>(rate)});
    }
    machine.cpu.layer_overhead = Nanoseconds(*rc::gen::inRange<std::int64_t>(0, 10'000'000'000));
    RC_ASSERT(parse_machine(to_toml(machine), "text") == machine);
  }));
}

struct BadText {
  std::string_view from, to;
  std::string_view message;  // a part of it
};

TEST(MachineToml, WhatIsSenselessIsRefusedWithKeyAndLine) {
  const BadText rows[] = {
      {"cores = 4", "coers = 4", "line 5: cpu.cores is missing"},
      {"cores = 4\n", "", "line 5: cpu.cores is missing"},
      {"cores = 4", "cores = 0", "line 8: cpu.cores is 0, outside 1 to 4096"},
      {"cores = 4", "cores = -4", "line 8: cpu.cores is -4"},
      {"cores = 4", "cores = 4.0", "line 8: cpu.cores is not an integer"},
      {"cores = 4", "cores = \"4\"", "line 8: cpu.cores is not an integer"},
      {"cores = 4", "cores = 4\ncores = 4", "line 9"},
      {"name = \"c\"", "name = 3", "line 6: cpu.name is not a string"},
      {"name = \"c\"", "name = \"a\\nb\"", "line 6: cpu.name holds a control character"},
      {"measured = false", "measured = 0", "line 4: measured is neither true nor false"},
      {"0.85", "1.5", "cpu.kernel_efficiency is 1.5"},
      {"0.85", "nan", "cpu.kernel_efficiency is nan"},
      {"gb_s = 40", "gb_s = inf", "line 13: cpu.memory_read[0].gb_s is inf"},
      {"gb_s = 40", "gb_s = -40", "line 13: cpu.memory_read[0].gb_s is -40"},
      {"gb_s = 40", "gb_s = 0", "line 13: cpu.memory_read[0].gb_s is 0"},
      {"gb_s = 40", "gb_s = 40000000000", "line 13: cpu.memory_read[0].gb_s is 40000000000"},
      {"gb_s = 40", "gb_s = 40, note = 1", "line 13: cpu.memory_read[0].note is not known"},
      {"cores = 4", "cores = 4\nthreads = 8", "line 9: cpu.threads is not known"},
      {"gb_s = 40", "mb_s = 40", "line 13: cpu.memory_read[0].gb_s is missing"},
      {"[ { threads = 4, gb_s = 40 } ]", "[]", "cpu.memory_read has 0 rows"},
      {"[ { threads = 4, gb_s = 40 } ]", "40", "cpu.memory_read is not an array"},
      {"[ { threads = 4, gb_s = 40 } ]", "[ 40 ]", "cpu.memory_read is not a table"},
      {"{ threads = 4, gb_s = 40 }", "{ threads = 4, gb_s = 40 }, { threads = 4, gb_s = 41 }",
       "cpu.memory_read[1].threads is not above that of the row before"},
      {"latency_us = 200 },",
       "latency_us = 200 },\n { read_kib = 32, depth = 8, gb_s = 1, "
       "latency_us = 1 }",
       "line 20: disk.random_reads[1].read_kib and depth do not come after"},
      {"[disk]", "[disks]", "disks is not known"},
      {"reserved_mib = 700", "reserved_mib = 8192", "leaves nothing of gpu.memory_mib"},
      {"[gpu]", "[gpu", "line 21: Error while parsing"},
      {"version = 1\n", "", "version is missing"},
      {"version = 1", "version = 0", "line 1: version is 0"},
  };
  for (const BadText& row : rows) {
    const auto error = error_of(replaced(complete(), row.from, row.to));
    ASSERT_TRUE(error) << row.to;
    EXPECT_EQ(error->code(), ErrorCode::kBadFile) << row.to;
    EXPECT_NE(std::string(error->what()).find(row.message), std::string::npos) << error->what();
    EXPECT_TRUE(std::string(error->what()).starts_with("machine.toml: ")) << error->what();
    EXPECT_EQ(std::string(error->what()).find('\n'), std::string::npos) << error->what();
  }
}

TEST(MachineToml, ANewerVersionIsRefusedBeforeItsKeys) {
  const auto error = error_of("version = 2\nmeasures = true\n");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::kUnsupported);
}

TEST(MachineToml, AValueInThePlaceOfATableIsRefused) {
  const auto error = error_of("version = 1\nname = 'm'\nsource = 's'\nmeasured = true\ncpu = 4\n");
  ASSERT_TRUE(error);
  EXPECT_TRUE(
      std::string_view(error->what()).starts_with("machine.toml: line 5: cpu is not a table"))
      << error->what();
}

TEST(MachineToml, EveryKeyIsNeeded) {
  const std::string text = complete();
  std::size_t lines = 0;
  for (std::size_t begin = 0; begin < text.size(); ++lines) {
    const std::size_t end = text.find('\n', begin);
    const std::string line = text.substr(begin, end - begin);
    const bool is_value =
        line.find(" = ") != std::string::npos && !line.ends_with("[") && line[0] != ' ';
    if (is_value) {
      EXPECT_TRUE(error_of(std::string(text).erase(begin, end + 1 - begin))) << line;
    }
    begin = end + 1;
  }
  EXPECT_GT(lines, 30u);
}

TEST(MachineToml, NestingWithoutEndIsRefused) {
  std::string dots;
  for (int i = 0; i < 50'000; ++i) dots += "a.";
  EXPECT_TRUE(error_of(dots + "a = 1\n"));
  EXPECT_TRUE(error_of("[" + dots.substr(0, 4000) + "a]\n"));
  EXPECT_TRUE(error_of("x = " + std::string(3000, '[')));
  EXPECT_TRUE(error_of(std::string(300 << 10, '\n')));
}

TEST(MachineToml, LettersBeyondAsciiAreForQuotes) {
  EXPECT_FALSE(error_of(replaced(complete(), "\"c\"", "\"für\"  # übrig")));
  const auto error = error_of(replaced(complete(), "cores = 4", "cores = 4 \u00fc"));
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("line 8: a character that is not ASCII"),
            std::string::npos)
      << error->what();
}

TEST(MachineToml, EveryCutOffFileIsRefusedOrWhole) {
  const std::string text = complete();
  for (std::size_t size = 0; size + 1 < text.size(); ++size) {
    if (text[size] == '\n') continue;
    const std::string cut = text.substr(0, size);
    if (error_of(cut)) continue;  // else it is a whole machine without its last parts
    const Machine machine = parse_machine(cut, "text");
    EXPECT_EQ(parse_machine(to_toml(machine), "text"), machine);
  }
}

}  // namespace
}  // namespace hearth::profiler
