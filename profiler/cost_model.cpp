#include "profiler/cost_model.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "profiler/gpu_step.h"

namespace hearth::profiler {
namespace {

// How far measurements lay from this model.
//
// CPU and disk, measured machine: 16 layers of Qwen3-30B-A3B (6.3 GB, 2 threads) decode in 27 ms in
// memory. With memory for 80, 60, 40 and 25 % of the file they read 5, 38, 109 and 205 MB a token,
// for which the disk alone takes 2, 13, 40 and 80 ms at best; the model says 27, 32, 56 and 97 ms
// where 29, 34, 56 and 96 were measured. From minute to minute the machine itself differs by more.
constexpr double kMeasuredLow = 0.85, kMeasuredHigh = 1.1;
// CPU, from a preset: kernels of one thread per core reach between half and all of what
// kernel_efficiency assumes (a llama.cpp of 2026 46 to 61 % of the memory's rate, two threads).
constexpr double kPresetLow = 0.5, kPresetHigh = 1.05;
// GPU: published speeds are 53 to 66 % of this model (RTX 3060, 4060 and 5060 Ti; llama.cpp forks,
// FreeToken, paddock); the bound itself is the best to be hoped for.
constexpr double kGpuLow = 0.5, kGpuHigh = 1.0;

struct Work {
  double bytes = 0;
  double seconds = 0;
};

Work read_by_kernels(const std::vector<FormatBytes>& formats, const CpuMachine& cpu,
                     std::uint32_t threads) {
  Work work;
  for (const FormatBytes& one : formats) {
    const auto bytes = static_cast<double>(one.bytes.count);
    work.bytes += bytes;
    work.seconds += bytes / kernel_rate(cpu, one.format, threads);
  }
  return work;
}

double sum(const std::vector<FormatBytes>& formats) {
  double bytes = 0;
  for (const FormatBytes& one : formats) bytes += static_cast<double>(one.bytes.count);
  return bytes;
}

Nanoseconds nanoseconds(double seconds) {
  return Nanoseconds(static_cast<std::int64_t>(std::llround(seconds * 1e9)));
}

void add_link(DecodePrediction& prediction, const char* name, const Work& work) {
  if (work.seconds <= 0) return;
  prediction.links.push_back({.link = name,
                              .bytes = Bytes(static_cast<std::uint64_t>(std::llround(work.bytes))),
                              .rate = work.bytes / work.seconds,
                              .time = nanoseconds(work.seconds)});
}

DecodePrediction finished(DecodePrediction prediction, double seconds, double low, double high) {
  prediction.tokens_per_second = 1 / seconds;
  prediction.low = low / seconds;
  prediction.high = high / seconds;
  if (!prediction.links.empty())
    prediction.binding_link = std::ranges::max_element(prediction.links, {}, &LinkTime::time)->link;
  return prediction;
}

// Of the compute and the disk's work that could go on side by side, the part that does. A layer
// waits for the experts that nobody guessed, computes the one that arrives last when nothing is
// left to be read, and is slower while the disk writes to memory (32.0 GB/s were 27.9 while 1.6
// GB/s arrived). The more is read, the more lies in the queue of the disk while a layer computes:
// 0.30 to 0.40 was measured with little to read, 0.60 with most of the time spent reading.
double overlap(double beside, double disk) { return 0.4 + 0.3 * disk / (beside + disk); }

// Serial is the head, and all in front of the first router, when no expert is known that could be
// read; without prefetch, all attention. The rest of compute and the disk work side by side.
DecodePrediction predict_on_cpu(const ModelNeeds& needs, const Machine& machine,
                                const DecodeLoad& load) {
  const CpuMachine& cpu = machine.cpu;
  const Work dense = read_by_kernels(needs.dense_read, cpu, load.threads);
  const Work experts = read_by_kernels(needs.expert_read, cpu, load.threads);
  const double kv = needs.kv.bytes_read(load.depth);
  const double attended = kv / memory_rate(cpu, load.threads);
  const double layers = needs.model.layers;
  const double fixed = layers * seconds(cpu.layer_overhead) + seconds(cpu.token_overhead);
  const double compute = dense.seconds + experts.seconds + attended + fixed;

  const double missed = load.hits.disk;
  Work disk{.bytes = missed * experts.bytes * (load.prefetch ? kReadWithPrefetch : 1)};
  double total = compute;
  if (missed > 0) {
    CHECK(machine.disk.has_value());
    disk.seconds = disk.bytes / disk_rate(*machine.disk, expert_read_size(needs));
    const double before_router =
        read_by_kernels(needs.serial_read, cpu, load.threads).seconds + seconds(cpu.token_overhead);
    const double serial = load.prefetch ? before_router : compute - experts.seconds;
    const double beside = compute - serial;
    const double both = overlap(beside, disk.seconds) * std::min(beside, disk.seconds);
    total = serial + beside + disk.seconds - both;
  }

  DecodePrediction prediction;
  add_link(prediction, "memory",
           {.bytes = dense.bytes + experts.bytes + kv,
            .seconds = dense.seconds + experts.seconds + attended});
  add_link(prediction, "disk", disk);
  add_link(prediction, "fixed costs", {.seconds = fixed});
  return machine.measured ? finished(prediction, total, kMeasuredLow, kMeasuredHigh)
                          : finished(prediction, total, kPresetLow, kPresetHigh);
}

// The latency of a read that finds the disk idle: that of the smallest measured size which is no
// smaller, or of the largest, at the smallest depth.
double idle_latency(const DiskMachine& disk, Bytes read) {
  const DiskRate* found = &disk.random_reads.front();
  for (const DiskRate& rate : disk.random_reads) {  // by size and then by depth
    if (found->read >= read) break;
    if (rate.read > found->read) found = &rate;
  }
  return seconds(found->latency);
}

DecodePrediction predict_on_gpu(const ModelNeeds& needs, const Machine& machine,
                                const DecodeLoad& load) {
  const GpuMachine& gpu = *machine.gpu;
  const Work on_cpu = read_by_kernels(needs.expert_read, machine.cpu, load.threads);
  const double cycle = std::max(needs.cycle(), 1u);
  GpuLayer layer{.experts_used = needs.model.experts_used,
                 .expert_bytes = on_cpu.bytes / cycle,
                 .lanes = lane_costs(gpu, expert_rate(needs, machine.cpu, load.threads))};
  if (load.hits.disk > 0) {
    CHECK(machine.disk.has_value());
    const Bytes read = expert_read_size(needs);
    layer.disk_rate = disk_rate(*machine.disk, read);
    layer.disk_latency = idle_latency(*machine.disk, read);
  }
  const GpuLayerTime one = expected_layer(layer, load.hits, load.misses);
  const double kv = needs.kv.bytes_read(load.depth);
  const double dense = sum(needs.dense_read) + kv;
  const double launches = needs.model.layers * seconds(gpu.layer_overhead);
  const double moe_layers = needs.moe_layers;
  const double total = dense / gpu.memory_read + launches + moe_layers * one.seconds;

  const auto work = [&](double bytes, double rate) {
    return Work{.bytes = moe_layers * bytes, .seconds = bytes > 0 ? moe_layers * bytes / rate : 0};
  };
  DecodePrediction prediction;
  const double on_gpu = dense + moe_layers * (one.hit_bytes + one.copied_bytes);
  add_link(prediction, "GPU memory", {.bytes = on_gpu, .seconds = on_gpu / gpu.memory_read});
  add_link(prediction, "PCIe", work(one.copied_bytes, layer.lanes.link_rate));
  add_link(prediction, "memory", work(one.cpu_bytes, layer.lanes.cpu_rate));
  add_link(prediction, "disk", work(one.disk_bytes, layer.disk_rate));
  add_link(prediction, "fixed costs", {.seconds = launches + moe_layers * one.join_seconds});
  return finished(prediction, total, kGpuLow, kGpuHigh);
}

}  // namespace

DecodePrediction predict_decode(const ModelNeeds& needs, const Machine& machine,
                                const DecodeLoad& load) {
  return machine.gpu ? predict_on_gpu(needs, machine, load) : predict_on_cpu(needs, machine, load);
}

Bytes expert_read_size(const ModelNeeds& needs) {
  const double expert = sum(needs.expert_read) / std::max(needs.cycle(), 1u);
  return Bytes(std::max<std::uint64_t>(static_cast<std::uint64_t>(expert / 3), 1));
}

BytesPerSecond expert_rate(const ModelNeeds& needs, const CpuMachine& cpu, std::uint32_t threads) {
  const Work experts = read_by_kernels(needs.expert_read, cpu, threads);
  return experts.seconds > 0 ? experts.bytes / experts.seconds : 0;
}

}  // namespace hearth::profiler
