#include "kernels/kv/kv_layout.h"

#include <algorithm>
#include <cstring>

#include "kernels/kv/code_tables.h"

namespace hearth::kernels {

KvLayout kv_layout(KvFormat format, KvPart part, std::uint32_t dim) {
  const KvFormatTraits& row = traits(format);
  KvLayout layout{
      .family = row.family,
      .part = part,
      .bits = row.bits,
      .bf16 = format == KvFormat::kBF16,
      .dim = dim,
      .tile = row.tile(),
      .sink = row.sink(),
      .tile_bytes = static_cast<std::uint32_t>(kv_tile_bytes(format, part, dim)),
      .f16_tile_bytes = static_cast<std::uint32_t>(kv_tile_bytes(KvFormat::kF16, part, dim))};
  if (!row.quantized()) return layout;
  layout.planes = kv_planes(format);
  layout.offset = static_cast<std::uint32_t>(row.code_offset());
  layout.has_table = row.has_table();
  std::memcpy(layout.table, kv_code_table(format), sizeof(layout.table));
  layout.slice = row.slice(dim);
  layout.of_slice = kv_slice_layout(format, part, layout.slice);
  return layout;
}

RotationLayout rotation_layout(const KvRotation& rotation) {
  RotationLayout layout{.size = rotation.size, .signs = rotation.signs};
  if (!rotation.signs) return layout;
  const KvSigns signs = kv_signs();
  std::memcpy(layout.before, signs.before, sizeof(layout.before));
  std::memcpy(layout.after, signs.after, sizeof(layout.after));
  return layout;
}

RotationLayout reversed(const RotationLayout& rotation) {
  RotationLayout back = rotation;
  std::swap_ranges(back.before, std::end(back.before), back.after);
  return back;
}

}  // namespace hearth::kernels
