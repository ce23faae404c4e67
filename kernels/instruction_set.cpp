// Which kernels this processor runs, and which of them the user wants.
#include <cstdlib>
#include <fstream>
#include <string>

#include "base/check.h"
#include "base/error.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {
namespace {

constexpr std::array kSets = {InstructionSet::kScalar, InstructionSet::kAvx2,
                              InstructionSet::kAvx512};

}  // namespace

std::string_view name_of(InstructionSet set) {
  constexpr std::array<std::string_view, kSets.size()> kNames = {"scalar", "avx2", "avx512"};
  return kNames[static_cast<std::size_t>(set)];
}

std::optional<InstructionSet> parse_instruction_set(std::string_view name) {
  for (const InstructionSet set : kSets)
    if (name == name_of(set)) return set;
  return std::nullopt;
}

// Every flag that kernels/CMakeLists.txt compiles a set with is asked for here; the compiler's
// run-time also asks whether the operating system saves the wide registers.
bool supported(InstructionSet set) {
  if (set == InstructionSet::kScalar) return true;
#ifdef HEARTH_SCALAR_ONLY
  return false;
#else
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                           __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  static const bool avx512 =
      avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni");
  return set == InstructionSet::kAvx2 ? avx2 : avx512;
#endif
}

bool gathers_are_fast() {
#ifdef HEARTH_SCALAR_ONLY
  return false;
#else
  std::ifstream file("/sys/devices/system/cpu/vulnerabilities/gather_data_sampling");
  std::string state;
  return __builtin_cpu_is("intel") &&
         !(std::getline(file, state) && state.starts_with("Mitigation"));
#endif
}

bool prefetches_into_first_cache() {
#ifdef HEARTH_SCALAR_ONLY
  return false;
#else
  static const bool amd = __builtin_cpu_is("amd");
  return amd;
#endif
}

InstructionSet best_instruction_set() {
  if (const char* const wanted = std::getenv("HEARTH_CPU")) {
    const std::optional<InstructionSet> set = parse_instruction_set(wanted);
    if (!set)
      throw_error(ErrorCode::kUsage, "HEARTH_CPU={}: unknown; use scalar, avx2 or avx512",
                  printable(wanted));
    if (!supported(*set))
      throw_error(ErrorCode::kUnsupported,
                  "HEARTH_CPU={}: not supported by this processor or build; unset it", wanted);
    return *set;
  }
  InstructionSet best = InstructionSet::kScalar;
  for (const InstructionSet set : kSets)
    if (supported(set)) best = set;
  return best;
}

}  // namespace hearth::kernels
