#include <array>

#include "profiler/cache_policy.h"
#include "profiler/policies/policies.h"

namespace hearth::profiler {
namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<CachePolicy> (*make)(const PolicyInput&);
};

constexpr Entry kPolicies[] = {
#define CACHE_POLICY(name, make) {name, make},
#include "profiler/policies/policies.def"
#undef CACHE_POLICY
};

constexpr auto kNames = [] {
  std::array<std::string_view, std::size(kPolicies)> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kPolicies[i].name;
  return names;
}();

}  // namespace

std::span<const std::string_view> policy_names() { return kNames; }

std::unique_ptr<CachePolicy> make_policy(std::string_view name, const PolicyInput& input) {
  for (const Entry& entry : kPolicies)
    if (entry.name == name) return entry.make(input);
  return nullptr;
}

std::string_view recommend_policy() { return "forecast"; }

}  // namespace hearth::profiler
