#include "runtime/blocks/latent_attention.h"

#include <algorithm>

#include "runtime/blocks/linear.h"

namespace hearth::runtime {

using kernels::KvPart;

namespace {

// body(head, rows, worker) for all heads and pieces of the step's rows that fit into the private
// tile of a worker.
template <typename Body>
void for_heads(const Step& step, std::uint32_t heads, Body&& body) {
  step.experts.collect(io::AsyncReader::Wait::kNow);  // keeps the disk's queue filled
  const std::uint32_t pieces = (step.rows() + kExpertTileRows - 1) / kExpertTileRows;
  step.pool.run(heads * pieces, [&](std::uint32_t task, std::uint32_t worker) {
    const std::uint32_t begin = task / heads * kExpertTileRows;
    body(task % heads, kernels::RowRange{begin, std::min(begin + kExpertTileRows, step.rows())},
         worker);
  });
}

// `columns` values of each row from `first` on, `stride` apart, as the input of a product.
kernels::Activations gather(const Step& step, std::uint32_t worker, const float* first,
                            std::size_t stride, std::uint32_t rows, std::uint32_t columns) {
  kernels::ActivationBuffer& tile = step.scratch.tiles[worker];
  tile.set_shape(rows, columns);
  for (std::uint32_t i = 0; i < rows; ++i) {
    std::copy_n(first + i * stride, columns, tile.values(i));
    step.kernels.quantize(tile.values(i), columns, tile.codes(i), tile.scales(i), tile.sums(i));
  }
  return tile.view();
}

void multiply(const Step& step, const HeadMatrices& matrices, std::uint32_t head,
              const kernels::Activations& x, float* out, std::size_t stride) {
  const auto format = static_cast<std::size_t>(matrices.weights->format);
  step.kernels.matmul[format](*matrices.weights, matrices.of(head), x, out, stride);
}

}  // namespace

void LatentAttentionBlock::state_needs(ScratchShape& scratch, KvLayer& kv) const {
  ScratchShape::raise(scratch.projections, projected_width());
  ScratchShape::raise(scratch.attention_width, std::max(o_.heads * o_.value_dim, o_.query_rank));
  ScratchShape::raise(scratch.attention_states, o_.heads * (o_.latent_dim + 2));
  ScratchShape::raise(scratch.key_dim, cached_width());
  ScratchShape::raise(scratch.value_dim, o_.latent_dim);
  ScratchShape::raise(scratch.tile_columns, std::max(o_.plain_dim, o_.latent_dim));
  kv = {.heads = 1, .key_dim = cached_width(), .value_dim = o_.latent_dim, .values_in_keys = true};
}

void LatentAttentionBlock::run(Step& step) const {
  const Nanoseconds start = step.clock.now();
  normalize(step, weights_.norm.data(), epsilon_, {0, step.rows()});
  project_queries_and_latents(step);
  for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) { prepare_row(step, row); });
  fill_cache(step);
  absorb_keys(step);
  float* const queries = absorbed(step, 0, 0);
  attend(step, layer_,
         {.heads = o_.heads,
          .kv_heads = 1,
          .key_dim = cached_width(),
          .value_dim = o_.latent_dim,
          .scale = o_.scale,
          .values_in_keys = true},
         {queries, projected_width()}, {queries, projected_width(), cached_width()});
  multiply_values(step);
  quantize_rows(step, step.scratch.attended);
  project(step, step.scratch.attended.view(), {{weights_.output, step.scratch.block_out.data()}},
          step.scratch.shape.embedding);
  add_block_out(step);
  step.times.attention += step.clock.now() - start;
}

kernels::KvRotation LatentAttentionBlock::rotation(const Step& step) const {
  return step.kv.formats().latent_rotation(cached_width(), o_.latent_dim);
}

// Queries of lower rank lie in `attended` until attention needs it.
void LatentAttentionBlock::project_queries_and_latents(const Step& step) const {
  const bool direct = weights_.query_a == nullptr;
  float* const first = projected(step, 0);
  float* const queries = first + o_.query_rank;
  project(step, step.scratch.normed.view(),
          {{direct ? weights_.query : weights_.query_a, first},
           {weights_.latent, first + cached_begin()}},
          projected_width());
  if (direct) return;
  kernels::ActivationBuffer& low = step.scratch.attended;
  low.set_shape(step.rows(), o_.query_rank);
  for_rows(step, step.rows(), [&](std::uint32_t row, std::uint32_t) {
    step.kernels.rms_norm(projected(step, row), weights_.query_a_norm.data(), o_.query_rank,
                          epsilon_, low.values(row));
  });
  quantize_rows(step, low);
  project(step, low.view(), {{weights_.query, queries}}, projected_width());
}

// Norm and rotations of one token's projections.
void LatentAttentionBlock::prepare_row(const Step& step, std::uint32_t row) const {
  const kernels::CpuKernels& k = step.kernels;
  const std::size_t angles =
      std::size_t{row} * (step.scratch.shape.rope_dims / 2) + o_.rotary.begin;
  const auto turn = [&](float* x) {
    k.rope_pairs(x, step.scratch.rope_cosine.data() + angles,
                 step.scratch.rope_sine.data() + angles, o_.rotary.half);
  };
  float* const queries = projected(step, row) + o_.query_rank;
  for (std::uint32_t h = 0; h < o_.heads; ++h) turn(queries + h * query_width() + o_.plain_dim);
  float* const cached = projected(step, row) + cached_begin();
  k.rms_norm(cached, weights_.latent_norm.data(), o_.latent_dim, epsilon_, cached);
  turn(cached + o_.latent_dim);
  rotate(k, rotation(step), cached_width(), cached);
}

// Stores the rows of each tile in order, then encodes the tiles that rows of this step are the
// first to read in the format.
void LatentAttentionBlock::fill_cache(const Step& step) const {
  const std::uint32_t end = step.position + step.rows();
  const std::uint32_t tile = step.position / kernels::kKvTile;
  for_rows(step, (end - 1) / kernels::kKvTile + 1 - tile, [&](std::uint32_t i, std::uint32_t) {
    const std::uint32_t from = std::max(step.position, (tile + i) * kernels::kKvTile);
    const std::uint32_t to = std::min(end, (tile + i + 1) * kernels::kKvTile);
    for (std::uint32_t position = from; position < to; ++position)
      step.kv.store(layer_, KvPart::kKeys, 0, position,
                    projected(step, position - step.position) + cached_begin());
  });
  const TileRange due = step.kv.due(KvPart::kKeys, step.position, step.rows());
  if (due.count() == 0) return;
  step.pool.run(due.count(), [&](std::uint32_t i, std::uint32_t worker) {
    step.kv.encode(layer_, KvPart::kKeys, 0, due.begin + i,
                   step.scratch.attention[worker].tile.data());
  });
}

// Queries of the heads in the space of cached rows: the plain part times the key matrix of the
// head, the rotated part as it is.
void LatentAttentionBlock::absorb_keys(const Step& step) const {
  for_heads(step, o_.heads, [&](std::uint32_t head, kernels::RowRange rows, std::uint32_t worker) {
    const float* const query =
        projected(step, rows.begin) + o_.query_rank + std::size_t{head} * query_width();
    multiply(step, weights_.key, head,
             gather(step, worker, query, projected_width(), rows.end - rows.begin, o_.plain_dim),
             absorbed(step, rows.begin, head), projected_width());
    for (std::uint32_t row = rows.begin; row < rows.end; ++row) {
      const float* const own =
          query + std::size_t{row - rows.begin} * projected_width() + o_.plain_dim;
      float* const to = absorbed(step, row, head);
      std::copy_n(own, o_.rotated_dim, to + o_.latent_dim);
      rotate(step.kernels, rotation(step), cached_width(), to);
    }
  });
}

// What attention gave, latents, times the value matrix of each head.
void LatentAttentionBlock::multiply_values(const Step& step) const {
  kernels::ActivationBuffer& attended = step.scratch.attended;
  attended.set_shape(step.rows(), o_.heads * o_.value_dim);
  for_heads(step, o_.heads, [&](std::uint32_t head, kernels::RowRange rows, std::uint32_t worker) {
    multiply(step, weights_.value, head,
             gather(step, worker, absorbed(step, rows.begin, head), projected_width(),
                    rows.end - rows.begin, o_.latent_dim),
             attended.values(rows.begin) + std::size_t{head} * o_.value_dim, attended.stride());
  });
}

}  // namespace hearth::runtime
