#include "runtime/gpu/device_weights.h"

#include "base/check.h"
#include "kernels/gpu/product.h"

namespace hearth::runtime {

// The word that the end of a matrix reaches into can be read: pieces are whole multiples of it.
static_assert(DeviceArena::kAlignment % kernels::kMatrixAlignment == 0);

Bytes DeviceWeights::bytes_needed(const WeightTable& table) {
  DeviceArena counted;
  table.for_each([&](const io::GgufTensor&, const kernels::WeightMatrix& matrix) {
    counted.take(Bytes(matrix.bytes()));
  });
  return counted.taken();
}

DeviceWeights::DeviceWeights(const WeightTable& table, kernels::Device& device)
    : memory_(device, bytes_needed(table), "dense weights") {
  table.for_each([&](const io::GgufTensor&, const kernels::WeightMatrix& matrix) {
    places_[&matrix] = memory_.take(Bytes(matrix.bytes()));
  });
}

void DeviceWeights::fill(Uploader& uploader) const {
  for (const auto& [matrix, place] : places_) uploader.copy(place, {matrix->data, matrix->bytes()});
}

const std::byte* DeviceWeights::of(const kernels::WeightMatrix& matrix) const {
  const auto found = places_.find(&matrix);
  CHECK(found != places_.end());
  return found->second;
}

const float* DeviceWeights::of(const WeightVector& vector) const {
  return vector.present() ? reinterpret_cast<const float*>(of(*vector.matrix)) : nullptr;
}

}  // namespace hearth::runtime
