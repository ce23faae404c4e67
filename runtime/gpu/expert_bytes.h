// Where the CPU lane gets the weights of experts from.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "runtime/experts/expert_store.h"
#include "runtime/experts/expert_work.h"

namespace hearth::runtime {

struct ArrivedExpert {
  std::uint32_t place = 0;  // in the list of begin()
  ExpertWeights weights;
};

// Used by one thread at a time; between a begin and its end that is the lane's. Throws Error(kIo)
// or Error(kBadFile) where an expert cannot be read.
class ExpertBytes {
 public:
  virtual ~ExpertBytes() = default;

  // Asks for distinct experts of a layer: those on disk begin to be read, all at once.
  virtual void begin(LayerIndex layer, std::span<const std::uint16_t> experts) = 0;
  // Those that have arrived and were not given yet; waits for one at least. Leased until
  // computed().
  virtual std::span<const ArrivedExpert> arrived() = 0;
  // Keeps the disk's queue filled while what has arrived is computed.
  virtual void poll() = 0;
  // Those that were given last are not read any more.
  virtual void computed() = 0;
  // Gives back what is leased, also after an error.
  virtual void end() = 0;
};

// Those of the store, where they lie in RAM or through its reader. The store's owner leaves it to
// the lane while a step is under way. What a graph under way may gather from is leased by that
// owner, so that nothing read here takes its place.
class StoredExpertBytes final : public ExpertBytes {
 public:
  // `most_experts` of a layer.
  StoredExpertBytes(ExpertStore& store, std::uint32_t most_experts);

  void begin(LayerIndex layer, std::span<const std::uint16_t> experts) override;
  std::span<const ArrivedExpert> arrived() override;
  void poll() override { store_.collect(io::AsyncReader::Wait::kNow); }
  void computed() override;
  void end() override { work_.clear(); }

 private:
  ExpertStore& store_;
  ExpertWorkList work_;
  std::vector<std::uint32_t> place_of_;  // [experts of a layer]
  std::vector<ArrivedExpert> arrived_;
};

}  // namespace hearth::runtime
