// The policies that exist; each is defined in its own file and listed in registry.cpp.
#pragma once

#include <memory>

#include "profiler/cache_policy.h"

namespace hearth::profiler {

std::unique_ptr<CachePolicy> make_lru(const PolicyInput& input);
std::unique_ptr<CachePolicy> make_slru(const PolicyInput& input);
std::unique_ptr<CachePolicy> make_layer_lru(const PolicyInput& input);
std::unique_ptr<CachePolicy> make_least_stale(const PolicyInput& input);
std::unique_ptr<CachePolicy> make_pin_lru(const PolicyInput& input);
std::unique_ptr<CachePolicy> make_lfu_decay(const PolicyInput& input);
std::unique_ptr<CachePolicy> make_forecast(const PolicyInput& input);

}  // namespace hearth::profiler
