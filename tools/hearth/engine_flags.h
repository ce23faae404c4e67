// The flags every subcommand that runs a model shares: model, memory, threads, I/O.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/engine.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/device_flag.h"
#include "tools/hearth/profile_flag.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {

class EngineFlags {
 public:
  void add_to(CommandLine& line);

  // After parsing. Loads the model with a progress line on stderr and
  // prints what was decided: model, placement, kernels, I/O.
  std::unique_ptr<runtime::Engine> open(bool quiet = false) const;

  runtime::EngineOptions options() const;  // valid as long as the flags

  bool model_required = true;  // by add_to()
  bool takes_plan = true;      // likewise
  bool takes_device = true;    // likewise
  std::string model;
  std::optional<Bytes> ram;
  std::optional<SizeOrShare> expert_ram;
  std::uint32_t context = 0;
  std::string key_format = "f16";
  std::string value_format = "f16";
  std::optional<std::uint32_t> kv_tail;
  std::optional<std::string> kv_rotation;  // "on", "off"
  std::uint32_t batch = 2048;
  std::uint32_t ubatch = 512;
  std::int32_t threads = -1;
  DeviceFlag device;
  std::string policy = "auto";
  ProfileFlag profile;
  std::optional<std::string> plan;
  std::string prefetch = "on";
  std::string io = "auto";
  std::string direct = "auto";

 private:
  void check_left_to_plan(const CommandLine& line) const;
  void set_kv_formats(runtime::EngineOptions& options) const;
};

// "f16", "q8_0/q4_0, tail 128": of keys and of values.
std::string kv_text(const profiler::PlacementPlan& plan);
// "1200 experts stay in VRAM, 300 slots follow what is used; ...", of a plan with VRAM.
std::string tiers_text(const profiler::PlacementPlan& plan);

// What start-up decided, on stderr: one line a subject.
void print_engine(const runtime::Engine& engine);

}  // namespace hearth::tools
