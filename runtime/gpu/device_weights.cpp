#include "runtime/gpu/device_weights.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/error.h"
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

void DeviceWeights::fill(const WeightTable& table, Uploader& uploader) const {
  table.for_each_tensor([&](const io::GgufTensor& tensor, const kernels::WeightMatrix& matrix) {
    std::byte* const place = places_.at(&matrix);
    if (matrix.data != nullptr) return uploader.copy(place, {matrix.data, matrix.bytes()});
    uploader.read(place, {.file = tensor.file,
                          .offset = tensor.offset,
                          .bytes = matrix.bytes(),
                          .path = table.file().paths()[tensor.file],
                          .what = fmt::format("tensor {}", printable(tensor.name))});
  });
  uploader.finish();
  table.for_each_made(uploader.reader(),
                      [&](const kernels::WeightMatrix& matrix, std::span<const std::byte> bytes) {
                        uploader.copy(places_.at(&matrix), bytes);
                      });
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
