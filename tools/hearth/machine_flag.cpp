#include "tools/hearth/machine_flag.h"

#include <algorithm>
#include <filesystem>

#include "base/embedded_file.h"
#include "base/error.h"
#include "profiler/machine_toml.h"
#include "runtime/machine_file.h"
#include "tools/hearth/nearest_name.h"
#include "tools/hearth/system_facts.h"

namespace hearth {

std::span<const EmbeddedFile> machine_preset_files();  // tools/CMakeLists.txt

namespace tools {
namespace {

namespace fs = std::filesystem;
using profiler::Machine;

constexpr std::string_view kExtension = ".toml";

MachineChoice from_file(const std::string& path) {
  MachineChoice choice{.machine = runtime::read_machine(path), .origin = path, .note = {}};
  const SystemFacts here = system_facts();
  if (choice.machine.measured && choice.machine.cpu.name != here.cpu)
    choice.note =
        fmt::format("{} was measured on {}, this is {}; for this machine run hearth doctor",
                    printable(path), printable(choice.machine.cpu.name), here.cpu);
  return choice;
}

bool looks_like_a_path(const std::string& flag) {
  return flag.find('/') != std::string::npos || flag.ends_with(kExtension);
}

[[noreturn]] void unknown_machine(const std::string& flag, std::span<const std::string> presets) {
  const std::string_view nearest = nearest_name(flag, presets);
  throw_error(
      ErrorCode::kUsage,
      "--machine: unknown name '{}'; {}'hearth doctor --presets' lists all, a file needs a / "
      "or {}",
      printable(flag),
      nearest.empty() ? std::string() : fmt::format("did you mean '{}'? ", nearest), kExtension);
}

// The preset of this name, or the only one whose name begins like that.
const std::string& preset_named(const std::string& flag, std::span<const std::string> sorted) {
  const auto at = std::ranges::lower_bound(sorted, flag);
  if (flag.empty() || at == sorted.end() || !at->starts_with(flag)) unknown_machine(flag, sorted);
  const bool only_one = at + 1 == sorted.end() || !(at + 1)->starts_with(flag);
  if (*at != flag && !only_one) unknown_machine(flag, sorted);
  return *at;
}

}  // namespace

std::vector<std::string> machine_presets() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : machine_preset_files())
    names.emplace_back(file.name.substr(0, file.name.size() - kExtension.size()));
  std::ranges::sort(names);
  return names;
}

Machine machine_preset(std::string_view name) {
  const std::string file = std::string(name) + std::string(kExtension);
  return profiler::parse_machine(embedded_content(machine_preset_files(), file), file);
}

namespace {

std::optional<MachineChoice> machine_saved_at(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  return from_file(path);
}

// Where doctor writes; nothing where the environment does not say where that is.
std::optional<std::string> saved_path() try {
  return runtime::saved_machine_path();
} catch (const Error&) {
  return std::nullopt;
}

}  // namespace

std::optional<MachineChoice> saved_machine() {
  const std::optional<std::string> path = saved_path();
  return path ? machine_saved_at(*path) : std::nullopt;
}

MachineChoice choose_machine(const std::string& flag) {
  if (flag == "auto") {
    if (auto saved = machine_saved_at(runtime::saved_machine_path())) return *std::move(saved);
    throw_error(ErrorCode::kNotFound,
                "--machine auto: this machine was not measured yet; run hearth doctor, or name one "
                "of 'hearth doctor --presets'");
  }
  if (looks_like_a_path(flag)) return from_file(flag);
  const std::vector<std::string> presets = machine_presets();
  const std::string& name = preset_named(flag, presets);
  return {.machine = machine_preset(name), .origin = "preset " + name, .note = {}};
}

}  // namespace tools
}  // namespace hearth
