#include "tools/hearth/device_flag.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "runtime/gpu/choose_device.h"
#include "runtime/gpu/device_model.h"
#include "tools/hearth/engine_flags.h"

namespace hearth::tools {

using runtime::GpuCache;
using runtime::MissService;

namespace {

void list_devices() {
  const runtime::FoundDevices found = runtime::find_devices();
  if (found.devices.empty()) fmt::print("no devices: {}\n", found.why_none);
  for (const auto& [name, backend, properties] : found.devices)
    fmt::print("{}: {} ({}, {}), {}\n", name, printable(properties.name), properties.architecture,
               properties.driver, format_size(properties.memory));
}

std::string_view lanes_text(const runtime::Engine& engine) {
  switch (engine.miss_service()) {
    case MissService::kLink:
      return "what is not in VRAM is fetched";
    case MissService::kCpu:
      return "the CPU computes what is not in VRAM";
    case MissService::kMeasured:
      break;
  }
  if (!engine.device_rates())
    return "the CPU computes what is not in VRAM: hearth doctor measures when to fetch it";
  return "what is not in VRAM is fetched or computed by the CPU, as was measured";
}

}  // namespace

void DeviceFlag::add_to(CommandLine& line) {
  line.add(
      {.names = "--device",
       .value = "auto|none|NAME",
       .help = "what computes: a GPU of --list-devices, the CPU (none), or the first GPU if the "
               "model fits it and else the CPU (auto)"},
      device);
  line.add_question(
      {.names = "--list-devices", .help = "print the names of the GPUs that are here, and exit"},
      list_devices);
  line.add(
      {.names = "--vram",
       .value = "SIZE",
       .help = "budget for all that this program takes of the GPU, the part of the driver included "
               "(what is free if not given; 0: the CPU computes)"},
      vram);
  line.add({.names = "--misses",
            .value = "NAME",
            .help = "who serves experts that are in RAM and not on the GPU: the link, which "
                    "fetches them, the CPU, which computes them, or both as hearth doctor "
                    "measured, and the CPU alone where it did not (auto)",
            .choices = {"auto", "link", "cpu"}},
           misses);
  line.add({.names = "--gpu-cache",
            .value = "NAME",
            .help = "who decides which experts the GPU fetches, and into which slots: its kernels, "
                    "or the host in each layer, with the same logits, which is slow and there to "
                    "find faults",
            .choices = {"device", "host"}},
           cache);
}

void DeviceFlag::choose(runtime::EngineOptions& options) const {
  runtime::choose_device(
      {.device = device,
       .vram = vram,
       .misses = *runtime::parse_miss_service(misses),
       .cache = *runtime::parse_gpu_cache(cache),
       .machine_file = {},
       .note = [](const std::string& line) { fmt::print(stderr, "note      {}\n", line); }},
      options);
}

namespace {

std::string_view prefetch_text(const runtime::Engine& engine) {
  if (engine.prefetching()) return "on, in the time in which the link is idle";
  if (!engine.plan().prefetch) return "off";
  if (engine.gpu_cache() == GpuCache::kHost) return "off: the host decides about slots";
  if (engine.miss_service() == MissService::kCpu)
    return "off: the CPU computes what is not in VRAM";
  return "off: hearth doctor measures how much the link carries";
}

std::size_t layers_with_experts(const runtime::Engine& engine) {
  const std::vector<std::uint32_t> counts = engine.model().experts.counts();
  return counts.size() - static_cast<std::size_t>(std::ranges::count(counts, 0u));
}

}  // namespace

void print_device(const runtime::Engine& engine) {
  if (!engine.why_no_device().empty())
    fmt::print(stderr, "note      the CPU computes; {}\n", engine.why_no_device());
  if (engine.device_model() == nullptr) return;
  const kernels::DeviceProperties& device = engine.device_model()->device().properties();
  const profiler::TierPlan& vram = *engine.plan().vram;
  const std::string state = vram.state == Bytes(0)
                                ? std::string()
                                : fmt::format("recurrent state {}, ", format_size(vram.state));
  const std::string positions =
      vram.positions == 0
          ? std::to_string(engine.plan().context)
          : fmt::format("the first {} of {}", vram.positions, engine.plan().context);
  fmt::print(stderr, "device    {}, {} ({}, {}), {} tokens of a prompt at once\n",
             engine.device_name(), printable(device.name), device.architecture, device.driver,
             engine.plan().batch);
  for (const std::string& note : engine.plan().notes) fmt::print(stderr, "note      {}\n", note);
  fmt::print(
      stderr,
      "vram      {} of {}: dense {}, KV {} for {} tokens, {}, {}scratch {}, {} of {} experts "
      "{}, driver {}\n",
      format_size(vram.total()), format_size(engine.vram_budget()), format_size(vram.dense),
      format_size(vram.kv), positions, kv_text(engine.plan()), state, format_size(vram.scratch),
      vram.slots(), engine.plan().experts, format_size(vram.experts), format_size(vram.process));
  if (engine.plan().all_in_vram()) {
    if (engine.miss_service() != MissService::kMeasured)
      fmt::print(stderr, "note      --misses has no effect: all experts are in VRAM\n");
    if (engine.gpu_cache() == GpuCache::kHost)
      fmt::print(stderr, "note      --gpu-cache has no effect: all experts are in VRAM\n");
    return;
  }
  fmt::print(stderr, "tiers     {}\n", tiers_text(engine.plan()));
  fmt::print(stderr, "lanes     {} experts have room in RAM; {}\n", engine.plan().ram.slots(),
             lanes_text(engine));
  if (engine.gpu_cache() == GpuCache::kHost)
    fmt::print(stderr,
               "cache     the host decides, and waits for the GPU in each of {} layers of a step; "
               "how many misses are fetched is not tried out\n",
               layers_with_experts(engine));
  fmt::print(stderr, "prefetch  {}\n", prefetch_text(engine));
}

}  // namespace hearth::tools
