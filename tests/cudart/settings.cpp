#include "tests/cudart/settings.h"

#include <atomic>
#include <cstdlib>

#include "base/random.h"

namespace hearth::cudart {
namespace {

std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

const Settings& settings() {
  static const Settings from_environment{
      .memory = Bytes(number_of("HEARTH_CUDART_MEMORY", 1024) << 20),
      .capability = static_cast<int>(number_of("HEARTH_CUDART_CAPABILITY", 90)),
      .seed = number_of("HEARTH_CUDART_SEED", 1),
      .failing_kernel = number_of("HEARTH_CUDART_FAIL_AT", 0),
      .memory_operations = number_of("HEARTH_CUDART_NO_MEMOPS", 0) == 0,
      .captures_early_launches = number_of("HEARTH_CUDART_NO_EARLY", 0) == 0,
      .weak_memory = number_of("HEARTH_CUDART_WEAK", 0) != 0,
      .one_by_one = number_of("HEARTH_CUDART_ONE_BY_ONE", 0) != 0,
      .fails_on_leaks = number_of("HEARTH_CUDART_LEAKS", 0) != 0,
      .explains_refusals = number_of("HEARTH_CUDART_EXPLAIN", 0) != 0};
  return from_environment;
}

std::uint64_t draw() {
  static std::atomic<std::uint64_t> drawn = 0;
  return Random(settings().seed + (drawn++ << 32)).next();
}

}  // namespace hearth::cudart
