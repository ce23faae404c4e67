#include "profiler/cost_model.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/profiler/support/machines.h"
#include "tests/profiler/support/needs.h"

namespace hearth::profiler {
namespace {

// ---- The published model of Qwen3.6-35B-A3B at 4 bits on a machine with a GPU: 40 layers, top 8
// of 256 experts of 1.91 MB, 2.15 GB of dense weights a token; 12 us a layer, 15 us to join the
// CPU.

ModelNeeds published_needs() {
  ModelNeeds needs;
  needs.model = {.layers = 40, .experts_per_layer = 256, .experts_used = 8};
  needs.moe_layers = 40;
  needs.dense_read = {{"Q4_K", Bytes(2'150'000'000)}};
  needs.expert_read = {{"Q4_K", Bytes(40 * 8 * 1'910'000ull)}};
  return needs;
}

struct Bandwidths {
  double gpu;  // 80 % of what is printed on the box
  double link;
  double cpu;
  double both;  // link and CPU together, which read the same RAM
};

Machine published_machine(const Bandwidths& gb_s) {
  Machine machine;
  machine.cpu.memory_read = {{.threads = 1, .rate = gb_s.cpu * 1e9}};
  machine.cpu.kernel_efficiency = 1;
  machine.gpu = GpuMachine{.memory_read = gb_s.gpu * 1e9,
                           .host_to_device = gb_s.link * 1e9,
                           .host_to_device_shared = gb_s.link * 1e9,
                           .cpu_shared = (gb_s.both - gb_s.link) * 1e9,
                           .layer_overhead = std::chrono::microseconds(12),
                           .join_overhead = std::chrono::microseconds(15)};
  return machine;
}

constexpr Bandwidths kA{0.8 * 448, 12.6, 50, 58};  // 5060 Ti, PCIe 4 x8, DDR5-5600
constexpr Bandwidths kB{0.8 * 736, 25, 50, 58};    // 4080 S, x16
constexpr Bandwidths kC{0.8 * 360, 24, 34, 40};    // 3060, DDR4-3200
constexpr Bandwidths kD{0.8 * 272, 12.6, 50, 58};  // 4060

struct PublishedRow {
  Bandwidths machine;
  double hits;
  double copy, cpu, split;  // tok/s
};
constexpr PublishedRow kRows[] = {
    {kA, 0, 17.6, 51.8, 55.6},      {kA, .5, 31.6, 75.7, 79.3},    {kA, .7, 46.2, 92.5, 93.6},
    {kA, .8, 59.5, 102.9, 103.3},   {kA, .9, 81.7, 113.8, 113.9},  {kA, .94, 94.9, 117.7, 117.7},
    {kA, .97, 107.2, 120.2, 120.2}, {kB, 0, 33.8, 59.0, 67.0},     {kB, .5, 59.3, 92.2, 103.7},
    {kB, .7, 84.5, 118.7, 129.2},   {kB, .8, 106.4, 138.0, 145.5}, {kB, .9, 140.3, 162.8, 165.9},
    {kB, .94, 158.9, 174.5, 175.8}, {kC, .75, 66, 76, 81},         {kC, .9, 86, 91, 93},
    {kD, .5, 28, 59, 60},           {kD, .75, 43, 70, 70},         {kD, .85, 53, 74, 74},
};

double published_speed(const PublishedRow& row, MissPath path) {
  const DecodeLoad load{.hits = {.vram = row.hits, .ram = 1 - row.hits, .disk = 0}, .misses = path};
  return predict_decode(published_needs(), published_machine(row.machine), load).tokens_per_second;
}

TEST(GpuCostModel, AgreesWithThePublishedTable) {
  for (const PublishedRow& row : kRows) {
    SCOPED_TRACE(row.hits);
    // Rows C and D are printed in whole tokens, and D with rounder figures.
    EXPECT_NEAR(published_speed(row, MissPath::kCopy), row.copy, 0.005 * row.copy + 0.5);
    EXPECT_NEAR(published_speed(row, MissPath::kCpu), row.cpu, 0.012 * row.cpu + 0.5);
    // How the two lanes share the RAM's rate is not published for the split.
    EXPECT_NEAR(published_speed(row, MissPath::kSplit), row.split, 0.055 * row.split);
  }
}

TEST(GpuCostModel, SplittingNeverLosesToOneLane) {
  for (const PublishedRow& row : kRows) {
    const double split = published_speed(row, MissPath::kSplit);
    EXPECT_GE(split * (1 + 1e-12), published_speed(row, MissPath::kCopy));
    EXPECT_GE(split * (1 + 1e-12), published_speed(row, MissPath::kCpu));
  }
}

TEST(GpuCostModel, AllResidentIsWhatMemoryAndLaunchesAllow) {
  const DecodePrediction all = predict_decode(published_needs(), published_machine(kA),
                                              {.hits = {.vram = 1, .ram = 0, .disk = 0}});
  EXPECT_NEAR(all.tokens_per_second, 122, 0.5);  // published; 130 without launches
  EXPECT_EQ(all.binding_link, "GPU memory");
}

// Matrices of large experts are larger than any read that was measured. What a layer waits for is
// the read of the last of them, which no queue delays: at most its latency, the bytes, and the
// expert's computation more than without a disk.
TEST(GpuCostModel, AReadLargerThanAnyMeasuredWaitsInNoQueue) {
  constexpr double kExpert = 9e6, kLayers = 40, kUsed = 8, kOnDisk = 0.1, kLatency = 700e-6;
  ModelNeeds needs = published_needs();
  needs.expert_read = {{"Q4_K", Bytes(static_cast<std::uint64_t>(kLayers * kUsed * kExpert))}};
  Machine machine = published_machine(kA);
  const DiskRate alone{
      .read = Bytes(1 << 20), .depth = 1, .rate = 1.5e9, .latency = std::chrono::microseconds(700)};
  const DiskRate queued{.read = Bytes(1 << 20),
                        .depth = 128,
                        .rate = 6.7e9,
                        .latency = std::chrono::milliseconds(20)};
  machine.disk = DiskMachine{.random_reads = {alone, queued}};
  const auto seconds = [&](double ram, double disk) {
    return 1 / predict_decode(needs, machine, {.hits = {.vram = 0.5, .ram = ram, .disk = disk}})
                   .tokens_per_second;
  };
  EXPECT_LE(seconds(0.5 - kOnDisk, kOnDisk) - seconds(0.5, 0),
            kLayers * (kLatency + kUsed * kOnDisk * kExpert / 6.7e9 + kExpert / 50e9));
}

// ---- 16 layers of Qwen3-30B-A3B on two cores: what was measured at four budgets.

TEST(CpuCostModel, AgreesWithWhatWasMeasured) {
  constexpr double kInMemory = 1 / 32.28;  // seconds a token
  constexpr double kHead = 172e6, kLayers = 189e6, kExperts = 366e6;
  ModelNeeds needs;
  needs.model = {.layers = 16, .experts_per_layer = 128, .experts_used = 8};
  needs.moe_layers = 16;
  needs.dense_read = {{"Q4_K", Bytes(static_cast<std::uint64_t>(kHead + kLayers))}};
  needs.expert_read = {{"Q4_K", Bytes(static_cast<std::uint64_t>(kExperts))}};
  needs.serial_read = {{"Q4_K", Bytes(static_cast<std::uint64_t>(kHead + kLayers / 16))}};
  Machine machine = complete_machine();
  machine.gpu.reset();
  machine.cpu.layer_overhead = machine.cpu.token_overhead = Nanoseconds(0);
  machine.cpu.kernels = {
      {.format = "Q4_K",
       .rates = {{.threads = 2, .rate = (kHead + kLayers + kExperts) / kInMemory}}}};
  const double disk = disk_rate(*machine.disk, Bytes(static_cast<std::uint64_t>(kExperts / 384)));

  const auto predict = [&](double disk_seconds) {
    const double missed = disk_seconds * disk / kExperts / kReadWithPrefetch;
    return predict_decode(needs, machine,
                          {.hits = {.vram = 0, .ram = 1 - missed, .disk = missed}, .threads = 2});
  };
  EXPECT_NEAR(predict(0).tokens_per_second, 32.28, 0.01);
  struct Measured {
    double read, tokens_per_second;  // bytes a token
  };
  for (const Measured& one : {Measured{5.5e6, 30.49}, Measured{39.5e6, 24.14},
                              Measured{113.5e6, 14.05}, Measured{209.1e6, 8.36}}) {
    const DecodePrediction prediction = predict(one.read / 2.055e9);
    EXPECT_NEAR(prediction.tokens_per_second, one.tokens_per_second, 0.06 * one.tokens_per_second);
    EXPECT_LE(prediction.low, one.tokens_per_second);
    EXPECT_GE(prediction.high, one.tokens_per_second);
  }
}

TEST(CpuCostModel, KeysAndValuesAreReadAtEveryDepth) {
  Machine machine = complete_machine();
  machine.gpu.reset();
  const ModelNeeds needs = small_needs();
  const auto seconds_at = [&](std::uint32_t depth) {
    return 1 / predict_decode(needs, machine, {.threads = 2, .depth = depth}).tokens_per_second;
  };
  EXPECT_NEAR(seconds_at(2000) - seconds_at(1000), 1000 * 1000 / 36e9, 1e-9);
}

// ---- Properties

Machine any_machine() {
  Machine machine = complete_machine();
  if (*rc::gen::arbitrary<bool>()) machine.gpu.reset();
  return machine;
}

TierHits hits_of(double vram, double ram, bool gpu) {
  return gpu ? TierHits{.vram = vram, .ram = (1 - vram) * ram, .disk = (1 - vram) * (1 - ram)}
             : TierHits{.vram = 0, .ram = ram, .disk = 1 - ram};
}

double any_share() { return *rc::gen::inRange(0, 1001) / 1000.0; }

double speed(const Machine& machine, const TierHits& hits) {
  return predict_decode(small_needs(), machine, {.hits = hits, .threads = 2}).tokens_per_second;
}

constexpr double kRounding = 1 + 1e-9;

TEST(CostModel, MoreHitsAreNeverSlower) {
  EXPECT_TRUE(rc::check("hits", [] {
    const Machine machine = any_machine();
    const double vram = any_share(), ram = any_share();
    const double more = ram + (1 - ram) * any_share();
    RC_ASSERT(speed(machine, hits_of(vram, ram, machine.gpu.has_value())) <=
              kRounding * speed(machine, hits_of(vram, more, machine.gpu.has_value())));
  }));
}

TEST(CostModel, AFasterLinkIsNeverSlower) {
  EXPECT_TRUE(rc::check("links", [] {
    const Machine machine = any_machine();
    const TierHits hits = hits_of(any_share(), any_share(), machine.gpu.has_value());
    Machine faster = machine;
    const double factor = 1 + any_share();
    switch (*rc::gen::inRange(0, 3)) {
      case 0:
        for (DiskRate& rate : faster.disk->random_reads) rate.rate *= factor;
        break;
      case 1:
        for (ThreadRate& rate : faster.cpu.memory_read) rate.rate *= factor;
        for (KernelRate& kernel : faster.cpu.kernels)
          for (ThreadRate& rate : kernel.rates) rate.rate *= factor;
        break;
      default:
        if (!faster.gpu) return;
        faster.gpu->host_to_device *= factor;
        faster.gpu->host_to_device_shared *= factor;
        faster.gpu->memory_read *= factor;
    }
    RC_ASSERT(speed(machine, hits) <= kRounding * speed(faster, hits));
  }));
}

TEST(CostModel, RangesEncloseTheEstimate) {
  EXPECT_TRUE(rc::check("ranges", [] {
    Machine machine = any_machine();
    machine.measured = *rc::gen::arbitrary<bool>();
    const DecodePrediction prediction =
        predict_decode(small_needs(), machine,
                       {.hits = hits_of(any_share(), any_share(), machine.gpu.has_value())});
    RC_ASSERT(prediction.low < prediction.tokens_per_second);
    RC_ASSERT(prediction.tokens_per_second <= prediction.high);
    RC_ASSERT(!prediction.binding_link.empty());
  }));
}

}  // namespace
}  // namespace hearth::profiler
