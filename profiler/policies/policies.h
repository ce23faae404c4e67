// The functions that make the policies of policies.def; each is defined in its own file.
#pragma once

#include <memory>

#include "profiler/cache_policy.h"

namespace hearth::profiler {

#define CACHE_POLICY(name, make) std::unique_ptr<CachePolicy> make(const PolicyInput& input);
#include "profiler/policies/policies.def"
#undef CACHE_POLICY

}  // namespace hearth::profiler
