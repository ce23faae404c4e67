// Any bytes are either a plan that is written and read back unchanged, or a hearth::Error; and a
// plan that was read can be compared with a model.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "profiler/plan_toml.h"
#include "tests/profiler/support/needs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  using namespace hearth::profiler;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    PlacementPlan plan = parse_plan(text, "input");
    if (to_toml(parse_plan(to_toml(plan), "written")) != to_toml(plan)) std::abort();
    const ModelNeeds needs = small_needs();
    plan.model = needs.model;
    for (const ExpertId id : plan.seed)
      if (!needs.space().contains(id)) return 0;
    check_plan_of(plan, needs, "input");
  } catch (const Error&) {
  }
  return 0;
}
