#include "tools/hearth/build_facts.h"

#include <fmt/format.h>

#include <string_view>

#include "kernels/cpu_kernels.h"
#include "tools/hearth/system_facts.h"

namespace hearth::tools {

std::string_view build_commit();  // cmake/build_facts.cmake

namespace {

// "scalar, avx2, avx512"
std::string kernels_text() {
  std::string text;
  for (const auto set : {kernels::InstructionSet::kScalar, kernels::InstructionSet::kAvx2,
                         kernels::InstructionSet::kAvx512})
    if (kernels::supported(set))
      text += fmt::format("{}{}", text.empty() ? "" : ", ", kernels::name_of(set));
  return text;
}

}  // namespace

std::string build_facts() {
  const std::string refusal = io_uring_refusal();
  std::string text = fmt::format("hearth {}\n", HEARTH_VERSION);
  if (!build_commit().empty()) text += fmt::format("commit    {}\n", build_commit());
  text += fmt::format("compiler  {}\n", HEARTH_COMPILER);
  text += fmt::format("flags     {}\n", HEARTH_FLAGS);
  text += fmt::format("options   {}\n", HEARTH_OPTIONS);
  text += fmt::format("kernels   {} run here\n", kernels_text());
  text += fmt::format("disk      io_uring{}\n",
                      refusal.empty() ? " is available" : " is not available: " + refusal);
  return text;
}

}  // namespace hearth::tools
