// The flags that say how the next token is drawn, for subcommands that generate text.
#pragma once

#include <cstdint>

#include "runtime/sampler/sampler.h"
#include "tools/hearth/command_line.h"

namespace hearth::tools {

class SamplingFlags {
 public:
  void add_to(CommandLine& line);
  void check() const;  // throws Error(kUsage)
  runtime::SamplerOptions options() const;
  bool seed_given() const { return seed_ >= 0; }

 private:
  runtime::SamplerOptions options_;
  std::int64_t seed_ = -1;
};

}  // namespace hearth::tools
