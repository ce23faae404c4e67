#include "tools/hearth/device_flag.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "base/error.h"
#include "runtime/gpu/device_model.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/machine_flag.h"

namespace hearth::tools {
namespace {

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

void list_devices() {
  const FoundDevices found = find_devices();
  if (found.devices.empty()) fmt::print("no devices: {}\n", found.why_none);
  for (const auto& [name, backend, properties] : found.devices)
    fmt::print("{}: {} ({}, {}), {}\n", name, printable(properties.name), properties.architecture,
               properties.driver, format_size(properties.memory));
}

const FoundDevice& device_named(const std::string& name, const FoundDevices& found) {
  const auto at = std::ranges::find(found.devices, lower_case(name), &FoundDevice::name);
  if (at != found.devices.end()) return *at;
  std::vector<std::string_view> names;
  for (const FoundDevice& one : found.devices) names.push_back(one.name);
  throw_error(ErrorCode::kUsage, "--device {}: unknown name; there are auto, none, {}",
              printable(name), fmt::join(names, ", "));
}

// What hearth doctor measured, if it was this device.
std::optional<profiler::Machine> rates_of(const std::string& device) try {
  const std::optional<MachineChoice> saved = saved_machine();
  if (!saved || !saved->machine.gpu || saved->machine.gpu->name != device) return std::nullopt;
  return saved->machine;
} catch (const Error& error) {
  fmt::print(stderr, "note      rates of the GPU are unknown: {}\n", error.what());
  return std::nullopt;
}

}  // namespace

FoundDevices find_devices() {
  FoundDevices found;
  std::vector<std::string> missing;
  for (const kernels::GpuBackend& backend : kernels::gpu_backends()) {
    const kernels::GpuDevices of_backend = backend.find();
    for (const kernels::DeviceProperties& properties : of_backend.devices)
      found.devices.push_back(
          {.name = fmt::format("{}{}", lower_case(std::string(backend.name)), properties.ordinal),
           .backend = &backend,
           .properties = properties});
    if (of_backend.devices.empty())
      missing.push_back(fmt::format("{}: {}", backend.name, of_backend.why_none));
  }
  found.why_none = missing.empty() ? "this program was built without a GPU back end"
                                   : fmt::format("{}", fmt::join(missing, "; "));
  return found;
}

void DeviceFlag::add_to(CommandLine& line) {
  line.add({.names = "--device",
            .value = "auto|none|NAME",
            .help = "GPU that computes, one of --list-devices; auto: the first, if the model fits"},
           device);
  line.add_question(
      {.names = "--list-devices", .help = "print the names of the GPUs that are here, and exit"},
      list_devices);
  line.add({.names = "--vram",
            .value = "SIZE",
            .help = "budget for everything on the GPU (0: compute without it)"},
           vram);
}

void DeviceFlag::choose(runtime::EngineOptions& options) const {
  const bool wants_memory = vram.value_or(Bytes(0)) > Bytes(0);
  if (device == "none" && wants_memory)
    throw_error(ErrorCode::kUsage, "--vram {} and --device none: give one of them",
                format_size(*vram));
  if (device == "none" || vram == Bytes(0)) return;
  const FoundDevices found = find_devices();
  if (found.devices.empty() && device == "auto" && !wants_memory) return;
  if (found.devices.empty())
    throw_error(ErrorCode::kDevice, "{}: there is no GPU: {}; leave it out",
                wants_memory ? fmt::format("--vram {}", format_size(*vram))
                             : fmt::format("--device {}", printable(device)),
                found.why_none);
  const FoundDevice chosen = device == "auto" ? found.devices[0] : device_named(device, found);
  const auto open = [chosen] { return chosen.backend->open(chosen.properties.ordinal); };
  options.device = {.name = chosen.name,
                    .open = open,
                    .kernels = &chosen.backend->kernels(),
                    .rates = rates_of(chosen.properties.name),
                    .if_it_fits = device == "auto" && !wants_memory};
  options.budget.vram = vram;
}

void print_device(const runtime::Engine& engine) {
  if (!engine.why_no_device().empty())
    fmt::print(stderr, "note      the CPU computes; {}\n", engine.why_no_device());
  if (engine.device_model() == nullptr) return;
  const kernels::DeviceProperties& device = engine.device_model()->device().properties();
  const profiler::TierPlan& vram = *engine.plan().vram;
  const std::string state = vram.state == Bytes(0)
                                ? std::string()
                                : fmt::format("recurrent state {}, ", format_size(vram.state));
  fmt::print(stderr, "device    {}, {} ({}, {}), {} tokens a step\n", engine.device_name(),
             printable(device.name), device.architecture, device.driver, engine.plan().batch);
  fmt::print(stderr,
             "vram      {}: dense {}, KV {} for {} tokens, {}, {}scratch {}, {} of {} experts {}, "
             "driver {}\n",
             format_size(vram.total()), format_size(vram.dense), format_size(vram.kv),
             engine.plan().context, kv_text(engine.plan()), state, format_size(vram.scratch),
             vram.slots(), engine.plan().experts, format_size(vram.experts),
             format_size(vram.process));
  if (vram.slots() < engine.plan().experts)
    fmt::print(stderr, "lanes     {} experts have room in RAM; {}\n", engine.plan().ram.slots(),
               engine.has_rates()
                   ? "what is not in VRAM is fetched or computed by the CPU, as was measured"
                   : "the CPU computes what is not in VRAM: hearth doctor measures when to fetch "
                     "it");
}

}  // namespace hearth::tools
