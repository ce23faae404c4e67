#include "runtime/machine_file.h"

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "kernels/weight_format.h"
#include "profiler/machine_toml.h"

namespace hearth::runtime {

namespace fs = std::filesystem;

std::string saved_machine_path() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return fs::path(value == nullptr ? "" : value);
  };
  const fs::path config = variable("XDG_CONFIG_HOME"), home = variable("HOME");
  if (config.is_absolute())
    return config / "hearth/machine.toml";  // a relative one is to be ignored
  if (!home.empty()) return home / ".config/hearth/machine.toml";
  throw_error(
      ErrorCode::kUsage,
      "neither XDG_CONFIG_HOME nor HOME says where machine.toml is; set one or name a file");
}

// A rate of a format that does not exist would never be used.
profiler::Machine read_machine(const std::string& path) {
  profiler::Machine machine = profiler::load_machine(path);
  for (const profiler::KernelRate& kernel : machine.cpu.kernels)
    if (!kernels::format_of_name(kernel.format))
      throw_error(ErrorCode::kBadFile, "{}: cpu.kernels.{}: no such weight format; remove it",
                  printable(path), printable(kernel.format));
  return machine;
}

}  // namespace hearth::runtime
