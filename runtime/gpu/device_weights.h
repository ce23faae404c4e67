// The dense weights of a model in the memory of a device: the bytes of the file, once.
#pragma once

#include <cstddef>
#include <unordered_map>

#include "base/units.h"
#include "runtime/gpu/device_arena.h"
#include "runtime/gpu/uploader.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

class DeviceWeights {
 public:
  static Bytes bytes_needed(const WeightTable& table);
  // Takes the memory; the table outlives it. Throws Error(kBudget).
  DeviceWeights(const WeightTable& table, kernels::Device& device);
  // Copies what the table has loaded; all else is read, by an uploader with a reader, and is not in
  // RAM afterwards. Throws Error(kIo).
  void fill(const WeightTable& table, Uploader& uploader) const;

  const std::byte* of(const kernels::WeightMatrix& matrix) const;  // of the table
  const float* of(const WeightVector& vector) const;               // null where there is none
  Bytes size() const { return memory_.size(); }

 private:
  DeviceArena memory_;
  std::unordered_map<const kernels::WeightMatrix*, std::byte*> places_;
};

}  // namespace hearth::runtime
