// What several functions of the C API are given in the same way; Misuse where it is wrong.
#pragma once

#include <cstdint>
#include <string>

namespace hearth::border {

std::string path_of(const char* given, const char* name);  // neither null nor empty
std::string workload_of(const char* given);                // a short label that can be printed
bool flag(std::int32_t given, const char* name);           // 0 or 1

}  // namespace hearth::border
