#include "runtime/gpu/choose_device.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/error.h"
#include "runtime/machine_file.h"

namespace hearth::runtime {
namespace {

constexpr std::string_view kMissServices[] = {"auto", "link", "cpu"};  // by MissService
constexpr std::string_view kGpuCaches[] = {"device", "host"};          // by GpuCache

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string vram_flag(Bytes vram) {
  if (vram < kMiB) return fmt::format("--vram {} B", vram.count);
  return fmt::format("--vram {} MiB", vram / kMiB);
}

const FoundDevice& device_named(const std::string& name, const FoundDevices& found) {
  const auto at = std::ranges::find(found.devices, lower_case(name), &FoundDevice::name);
  if (at != found.devices.end()) return *at;
  std::vector<std::string_view> names;
  for (const FoundDevice& one : found.devices) names.push_back(one.name);
  throw_error(ErrorCode::kUsage, "--device {}: unknown name; there are auto, none, {}",
              printable(name), fmt::join(names, ", "));
}

void check_needs_none(const DeviceWish& wish) {
  if (wish.misses != MissService::kMeasured)
    throw_error(ErrorCode::kUsage, "--misses {} has no effect where no GPU computes; leave it out",
                name_of(wish.misses));
  if (wish.cache != GpuCache::kDevice)
    throw_error(ErrorCode::kUsage,
                "--gpu-cache {} has no effect where no GPU computes; leave it out",
                name_of(wish.cache));
}

profiler::Machine rates_in(const std::string& path, const std::string& device) {
  profiler::Machine machine = read_machine(path);
  if (machine.gpu && machine.gpu->name == device) return machine;
  throw_error(ErrorCode::kUsage, "{}: it has no rates of {}; measure them with hearth doctor",
              printable(path), printable(device));
}

// What hearth doctor measured, if it was this device.
std::optional<profiler::Machine> saved_rates(const std::string& device,
                                             const DeviceWish& wish) try {
  const std::string path = saved_machine_path();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  profiler::Machine machine = read_machine(path);
  if (!machine.gpu || machine.gpu->name != device) return std::nullopt;
  return machine;
} catch (const Error& error) {
  if (wish.note) wish.note(fmt::format("rates of the GPU are unknown: {}", error.what()));
  return std::nullopt;
}

std::optional<profiler::Machine> rates_of(const std::string& device, const DeviceWish& wish) {
  if (wish.machine_file) return rates_in(*wish.machine_file, device);
  return saved_rates(device, wish);
}

}  // namespace

std::string_view name_of(MissService misses) {
  return kMissServices[static_cast<std::size_t>(misses)];
}

std::optional<MissService> parse_miss_service(std::string_view name) {
  const auto* const at = std::ranges::find(kMissServices, name);
  if (at == std::end(kMissServices)) return std::nullopt;
  return static_cast<MissService>(at - kMissServices);
}

std::string_view name_of(GpuCache cache) { return kGpuCaches[static_cast<std::size_t>(cache)]; }

std::optional<GpuCache> parse_gpu_cache(std::string_view name) {
  const auto* const at = std::ranges::find(kGpuCaches, name);
  if (at == std::end(kGpuCaches)) return std::nullopt;
  return static_cast<GpuCache>(at - kGpuCaches);
}

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

void choose_device(const DeviceWish& wish, EngineOptions& options) {
  const bool wants_memory = wish.vram.value_or(Bytes(0)) > Bytes(0);
  if (wish.device == "none" && wants_memory)
    throw_error(ErrorCode::kUsage, "{} and --device none: give one of them", vram_flag(*wish.vram));
  if (wish.device == "none" || wish.vram == Bytes(0)) return check_needs_none(wish);
  const FoundDevices found = find_devices();
  if (found.devices.empty() && wish.device == "auto" && !wants_memory)
    return check_needs_none(wish);
  if (found.devices.empty())
    throw_error(
        ErrorCode::kDevice, "{}: there is no GPU: {}; leave it out",
        wants_memory ? vram_flag(*wish.vram) : fmt::format("--device {}", printable(wish.device)),
        found.why_none);
  const FoundDevice chosen =
      wish.device == "auto" ? found.devices[0] : device_named(wish.device, found);
  const auto open = [chosen] { return chosen.backend->open(chosen.properties.ordinal); };
  options.device = {.name = chosen.name,
                    .open = open,
                    .kernels = &chosen.backend->kernels(),
                    .misses = wish.misses,
                    .cache = wish.cache,
                    .rates = rates_of(chosen.properties.name, wish),
                    .if_it_fits = wish.device == "auto" && !wants_memory &&
                                  wish.misses == MissService::kMeasured &&
                                  wish.cache == GpuCache::kDevice};
  options.budget.vram = wish.vram;
}

}  // namespace hearth::runtime
