// The model that a trace is replayed for: real sizes of experts, and predicted speed.
#pragma once

#include <optional>
#include <string>

#include "profiler/machine.h"
#include "profiler/model_needs.h"
#include "profiler/replay.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {

class ReplayModel {
 public:
  // Reads the directory of the file and no weights. Throws Error(kBadInput) for a machine that has
  // neither a GPU nor a disk.
  ReplayModel(const std::string& path, std::optional<profiler::Machine> machine);

  // Throws Error(kBadInput) unless the trace is of this model. One that was made up need only have
  // its shape.
  void check(const profiler::TraceHeader& header, const std::string& trace) const;

  // Throws Error(kBudget) for less than the experts of one token.
  profiler::ReplayMemory memory(const SizeOrShare& budget) const;
  Bytes slot_bytes(const profiler::ReplayMemory& memory) const;

  // With so many bytes of experts missed by a token; empty without a machine.
  std::optional<double> tokens_per_second(double bytes_missed) const;
  // What the memory is then, and where a miss is found: in VRAM and RAM with a GPU, else in RAM and
  // on disk. Empty without a machine.
  std::string speed_basis() const;

 private:
  std::string path_;
  profiler::ModelNeeds needs_;
  std::optional<profiler::Machine> machine_;
};

}  // namespace hearth::tools
