#include "runtime/blocks/expert_ffn.h"

#include <algorithm>
#include <cstring>

namespace hearth::runtime {

using kernels::ActivationBuffer;
using kernels::Activations;

namespace {

// The layer that a task is part of.
struct Layer {
  const kernels::CpuKernels& kernels;
  const ExpertFfn& ffn;
  const ExpertPairs& pairs;
  const ExpertRoom& room;
};

// The input rows of pairs [begin, begin + count): one row as it lies, several gathered into a tile.
// A weight multiplies values and scales; the codes stay.
Activations gather(const Layer& layer, ActivationBuffer& tile, kernels::RowRange of,
                   bool with_values) {
  const Activations& x = layer.pairs.x;
  const bool weighed = layer.ffn.weighs_inputs;
  const std::uint32_t count = of.end - of.begin;
  if (count == 1 && !weighed) return kernels::slice_rows(x, layer.pairs.x_rows[of.begin], 1);
  tile.set_shape(count, x.columns);
  const std::uint32_t stride = x.stride;
  for (std::uint32_t i = 0; i < count; ++i) {
    const Activations row = kernels::slice_rows(x, layer.pairs.x_rows[of.begin + i], 1);
    if (with_values) std::memcpy(tile.values(i), row.values, stride * sizeof(float));
    std::memcpy(tile.codes(i), row.codes, stride);
    std::memcpy(tile.scales(i), row.scales, stride / 32 * sizeof(float));
    std::memcpy(tile.sums(i), row.sums, stride / 16 * sizeof(std::int16_t));
    if (!weighed) continue;
    const float weight = layer.pairs.x_weights[of.begin + i];
    if (with_values) layer.kernels.scale(weight, stride, tile.values(i));
    layer.kernels.scale(weight, stride / 32, tile.scales(i));
  }
  return tile.view();
}

void multiply(const Layer& layer, const kernels::WeightMatrix& weights, kernels::RowRange rows,
              const Activations& x, float* out, std::size_t stride) {
  layer.kernels.matmul[static_cast<std::size_t>(weights.format)](weights, rows, x, out, stride);
}

// Values [range) of a row of an expert's products.
void apply_terms(const Layer& layer, const WeightVector& scale, const WeightVector& bias,
                 std::uint32_t expert, kernels::RowRange range, float* row) {
  const std::uint32_t width = range.end - range.begin;
  if (scale.present()) layer.kernels.scale(scale.data()[expert], width, row);
  if (bias.present()) layer.kernels.add(bias.row(expert) + range.begin, width, row);
}

// activation(gate · x) × (up · x) for kExpertChunk hidden values of all rows of one expert,
// quantized at once: a chunk is whole activation blocks.
void hidden_chunk(const Layer& layer, const ExpertRows& expert, std::uint32_t chunk,
                  std::uint32_t worker) {
  const kernels::CpuKernels& k = layer.kernels;
  const ExpertFfn& ffn = layer.ffn;
  const kernels::WeightMatrix &gate_weights = expert.weights.gate, &up_weights = expert.weights.up;
  const kernels::RowRange range{chunk * kExpertChunk,
                                std::min((chunk + 1) * kExpertChunk, ffn.width)};
  const std::uint32_t width = range.end - range.begin;
  const bool with_values = !kernels::takes_quantized_activations(gate_weights.format) ||
                           !kernels::takes_quantized_activations(up_weights.format);
  const auto activate = gated(k, ffn.activation);
  ActivationBuffer& hidden = layer.room.hidden;
  float* const gate = layer.room.tile_out[worker].data();
  float* const up = gate + kExpertTileRows * kExpertChunk;
  for (std::uint32_t begin = expert.begin; begin < expert.end; begin += kExpertTileRows) {
    const std::uint32_t end = std::min(begin + kExpertTileRows, expert.end);
    const Activations x = gather(layer, layer.room.tiles[worker], {begin, end}, with_values);
    multiply(layer, gate_weights, range, x, gate, kExpertChunk);
    multiply(layer, up_weights, range, x, up, kExpertChunk);
    for (std::uint32_t row = begin; row < end; ++row) {
      float* const gate_row = gate + (row - begin) * kExpertChunk;
      float* const up_row = up + (row - begin) * kExpertChunk;
      apply_terms(layer, ffn.gate_scale, ffn.gate_bias, expert.index, range, gate_row);
      apply_terms(layer, ffn.up_scale, ffn.up_bias, expert.index, range, up_row);
      float* const values = hidden.values(row) + range.begin;
      activate(gate_row, up_row, width, values);
      k.quantize(values, width, hidden.codes(row) + range.begin,
                 hidden.scales(row) + range.begin / 32, hidden.sums(row) + range.begin / 16);
    }
  }
}

void down_chunk(const Layer& layer, const ExpertRows& expert, std::uint32_t chunk) {
  const ExpertFfn& ffn = layer.ffn;
  const kernels::RowRange range{chunk * kDownChunk,
                                std::min((chunk + 1) * kDownChunk, ffn.embedding)};
  const std::uint32_t count = expert.end - expert.begin;
  float* const out = layer.pairs.out + std::size_t{expert.begin} * ffn.embedding + range.begin;
  multiply(layer, expert.weights.down, range,
           kernels::slice_rows(layer.room.hidden.view(), expert.begin, count), out, ffn.embedding);
  for (std::uint32_t i = 0; i < count; ++i)
    apply_terms(layer, ffn.down_scale, ffn.down_bias, expert.index, range,
                out + std::size_t{i} * ffn.embedding);
}

}  // namespace

void compute_experts(const kernels::CpuKernels& kernels, kernels::WorkerPool& pool,
                     const ExpertFfn& ffn, const ExpertPairs& pairs, const ExpertRoom& room,
                     std::span<const ExpertRows> experts, FunctionRef<void()> between) {
  const Layer layer{kernels, ffn, pairs, room};
  const auto count = static_cast<std::uint32_t>(experts.size());
  const std::uint32_t hidden_chunks = (ffn.width + kExpertChunk - 1) / kExpertChunk;
  pool.run(count * hidden_chunks, [&](std::uint32_t task, std::uint32_t worker) {
    hidden_chunk(layer, experts[task / hidden_chunks], task % hidden_chunks, worker);
  });
  between();
  const std::uint32_t down_chunks = (ffn.embedding + kDownChunk - 1) / kDownChunk;
  pool.run(count * down_chunks, [&](std::uint32_t task, std::uint32_t) {
    down_chunk(layer, experts[task / down_chunks], task % down_chunks);
  });
}

}  // namespace hearth::runtime
