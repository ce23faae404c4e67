// Which profile guides a run: a file that was named, the one beside the model, or none.
#pragma once

#include <memory>
#include <string>

#include "profiler/expert_profile.h"
#include "runtime/engine.h"
#include "tools/hearth/command_line.h"

namespace hearth::tools {

struct ProfileFlag {
  void add_to(CommandLine& line);

  // The file that would be read for this model, whether it exists or not; empty for none.
  std::string path(const std::string& model_path) const;
  // A profile that was named and is not the model's is an error; one that was only found is refused
  // in a line on stderr. Throws Error.
  std::shared_ptr<const profiler::ExpertProfile> find(const io::GgufFile& file,
                                                      const runtime::Model& model,
                                                      const std::string& model_path) const;

  std::string profile = "auto";
};

// "profile   FILE: 12,345 tokens of prose, code; 73 experts (7.7 MiB) loaded"
void print_profile(const runtime::Engine& engine, const std::string& path);

}  // namespace hearth::tools
