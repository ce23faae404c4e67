// Any bytes are either a machine that is written and read back unchanged, or a hearth::Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "profiler/machine_toml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  using namespace hearth::profiler;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const Machine machine = parse_machine(text, "input");
    if (parse_machine(to_toml(machine), "written") != machine) std::abort();
    for (const std::uint32_t threads : {1u, 7u, 5000u}) {
      if (!(memory_rate(machine.cpu, threads) > 0)) std::abort();
      if (!(kernel_rate(machine.cpu, "Q4_K", threads) > 0)) std::abort();
    }
    if (machine.disk && !(disk_rate(*machine.disk, Bytes(3'000'000)) > 0)) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
