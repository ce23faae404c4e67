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
  // Reads the directory of the file and no weights. Throws Error(kBadInput) for a machine without
  // a disk, from where misses are read.
  ReplayModel(const std::string& path, std::optional<profiler::Machine> machine);

  // Throws Error(kBadInput) unless the trace is of this model. One that was made up need only have
  // its shape.
  void check(const profiler::TraceHeader& header, const std::string& trace) const;

  // Throws Error(kBudget) for less than the experts of one token.
  profiler::ReplayMemory memory(const SizeOrShare& budget) const;
  Bytes slot_bytes(const profiler::ReplayMemory& memory) const;

  // With so many bytes of experts read from disk for a token, all others from RAM; empty without a
  // machine.
  std::optional<double> tokens_per_second(double bytes_read) const;

 private:
  std::string path_;
  profiler::ModelNeeds needs_;
  std::optional<profiler::Machine> machine_;
};

}  // namespace hearth::tools
