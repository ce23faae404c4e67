// The policies that exist; each is defined in its own file and listed in registry.cpp.
#pragma once

#include <memory>

#include "profiler/cache_policy.h"

namespace hearth::profiler {

std::unique_ptr<CachePolicy> make_lru(const PolicyInput& input);
std::unique_ptr<CachePolicy> make_pin_lru(const PolicyInput& input);

}  // namespace hearth::profiler
