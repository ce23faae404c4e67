#include "runtime/scratch.h"

#include "base/units.h"

namespace hearth::runtime {
namespace {

using kernels::ActivationBuffer;

// One list of all pieces serves both the sizing and the carving.
template <typename Visitor>
void visit_pieces(const ScratchShape& s, Scratch* scratch, Visitor&& visit) {
  const auto floats = [&](std::span<float> Scratch::* piece, std::uint64_t count) {
    visit(count * sizeof(float), [=](std::span<std::byte> memory) {
      scratch->*piece = {reinterpret_cast<float*>(memory.data()), count};
    });
  };
  const auto counts = [&](std::span<std::uint32_t> Scratch::* piece, std::uint64_t count) {
    visit(count * sizeof(std::uint32_t), [=](std::span<std::byte> memory) {
      scratch->*piece = {reinterpret_cast<std::uint32_t*>(memory.data()), count};
    });
  };
  const auto buffer = [&](ActivationBuffer* piece, std::uint32_t rows, std::uint32_t columns) {
    visit(ActivationBuffer::bytes_needed(rows, columns).count,
          [=](std::span<std::byte> memory) { *piece = ActivationBuffer(memory, rows, columns); });
  };
  const std::uint32_t pairs = s.rows * s.experts_used;
  const std::uint32_t tile_columns = std::max({s.embedding, s.expert_ff, s.tile_columns});
  floats(&Scratch::hidden, std::uint64_t{s.rows} * s.embedding);
  buffer(scratch ? &scratch->normed : nullptr, s.rows, s.embedding);
  floats(&Scratch::projected, std::uint64_t{s.rows} * s.projections);
  buffer(scratch ? &scratch->attended : nullptr, s.rows, s.attention_width);
  for (std::uint32_t worker = 0; worker < s.threads; ++worker)
    visit(AttentionScratch::bytes_needed(s.key_dim, s.value_dim).count,
          [=](std::span<std::byte> memory) {
            scratch->attention[worker] = AttentionScratch(memory, s.key_dim, s.value_dim);
          });
  floats(&Scratch::attention_states, std::uint64_t{kernels::kMaxAttentionChunks} *
                                         std::min(s.rows, kSideBySideRows) * s.attention_states);
  floats(&Scratch::block_out, std::uint64_t{s.rows} * s.embedding);
  floats(&Scratch::rope_cosine, std::uint64_t{s.rows} * (s.rope_dims / 2));
  floats(&Scratch::rope_sine, std::uint64_t{s.rows} * (s.rope_dims / 2));
  floats(&Scratch::router_scores, std::uint64_t{s.rows} * s.experts);
  floats(&Scratch::router_selection, s.router_selection);
  visit(std::uint64_t{pairs} * sizeof(std::uint16_t), [=](std::span<std::byte> memory) {
    scratch->expert_ids = {reinterpret_cast<std::uint16_t*>(memory.data()), pairs};
  });
  floats(&Scratch::expert_weights, pairs);
  counts(&Scratch::pair_rows, pairs);
  floats(&Scratch::pair_weights, pairs);
  counts(&Scratch::pair_place, pairs);
  counts(&Scratch::expert_place, s.experts);
  buffer(scratch ? &scratch->expert_hidden : nullptr, pairs, s.expert_ff);
  floats(&Scratch::expert_out, std::uint64_t{pairs} * s.embedding);
  for (std::uint32_t worker = 0; worker < s.threads; ++worker) {
    buffer(scratch ? &scratch->tiles[worker] : nullptr, kExpertTileRows, tile_columns);
    const std::uint64_t count = 2ull * kExpertTileRows * kExpertChunk;
    visit(count * sizeof(float), [=](std::span<std::byte> memory) {
      scratch->tile_out[worker] = {reinterpret_cast<float*>(memory.data()), count};
    });
  }
  floats(&Scratch::logits, std::uint64_t{s.logit_rows} * s.vocabulary);
}

constexpr std::size_t kPieceAlignment = 64;

}  // namespace

Bytes Scratch::bytes_needed(const ScratchShape& shape) {
  std::uint64_t total = 0;
  visit_pieces(shape, nullptr,
               [&](std::uint64_t bytes, auto&&) { total += round_up(bytes, kPieceAlignment); });
  return Bytes(total);
}

Scratch::Scratch(const ScratchShape& wanted, io::Arena& arena)
    : shape(wanted),
      attention(wanted.threads),
      tiles(wanted.threads),
      tile_out(wanted.threads),
      expert_work(wanted.experts) {
  visit_pieces(shape, this, [&](std::uint64_t bytes, auto&& bind) {
    bind(arena.take(Bytes(round_up(bytes, kPieceAlignment)), kPieceAlignment));
  });
  ready_work.reserve(shape.experts);
}

}  // namespace hearth::runtime
