#include "kernels/gpu/embed.h"

#include "kernels/gpu/unpack_grids.cuh"
#include "kernels/gpu/unpack_k.cuh"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kEmbedThreads = 64;
constexpr unsigned kEmbedBlock = 32;  // values of a thread, where the format has blocks

template <WeightFormat format>
HEARTH_DEVICE void decode_block(const std::uint8_t* row, unsigned b, float scale, float* out) {
  using C = Codec<format>;
  Weights32 w;
  unpack(Format<format>{}, row, b, w);
  for (unsigned i = 0; i < kEmbedBlock; ++i) {
    const unsigned part = C::kPart == 16 ? i / 16 : 0;
    const int code = static_cast<std::int8_t>(w.codes[i / 4] >> (8 * (i % 4))) - w.offset;
    float value = w.d * static_cast<float>(w.scales[part]) * static_cast<float>(code);
    if constexpr (C::kHasMinimum) value = value + w.m * static_cast<float>(w.minima[part]);
    out[i] = value * scale;
  }
}

// Block (x, row): a thread has a value of a float format, else a block of 32.
template <WeightFormat format>
HEARTH_KERNEL(kEmbedThreads)
embed_rows(EmbedTask task) {
  wait_for_previous();
  constexpr unsigned kValues = traits(format).values_per_block > 1 ? kEmbedBlock : 1;
  const std::uint32_t column = (block_x() * block_threads() + thread_index()) * kValues;
  const TokenId id = task.ids[block_y()];
  const bool known = id >= 0 && static_cast<std::uint32_t>(id) < task.vocabulary;
  if (!known && column == 0 && task.unknown != nullptr) atomic_add(task.unknown, 1u);
  if (column >= task.columns) return;
  float* const out = task.out + block_y() * task.out_stride + column;
  if (!known) {
    for (unsigned i = 0; i < kValues; ++i) out[i] = 0;
    return;
  }
  const std::uint64_t row_bytes = std::uint64_t{task.columns} / traits(format).values_per_block *
                                  traits(format).bytes_per_block;
  const auto* const row = reinterpret_cast<const std::uint8_t*>(task.table) +
                          static_cast<std::uint32_t>(id) * row_bytes;
  if constexpr (kValues == 1)
    *out = load_value<format>(row, column) * task.scale;
  else
    decode_block<format>(row, column / kEmbedBlock, task.scale, out);
}

namespace {

using EmbedKernel = void (*)(EmbedTask);

constexpr EmbedKernel kEmbedKernels[] = {
#define WEIGHT_FORMAT(Name, text, values, bytes, id) embed_rows<WeightFormat::k##Name>,
#include "kernels/quant/formats.def"
#undef WEIGHT_FORMAT
};

}  // namespace

void launch_embed(const EmbedTask& task, NativeStream stream) {
  if (task.rows == 0 || task.columns == 0) return;
  const unsigned values = traits(task.format).values_per_block > 1 ? kEmbedBlock : 1;
  const unsigned threads = (task.columns + values - 1) / values;
  launch(kEmbedKernels[static_cast<unsigned>(task.format)],
         {.blocks_x = (threads + kEmbedThreads - 1) / kEmbedThreads,
          .blocks_y = task.rows,
          .threads = kEmbedThreads},
         stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
