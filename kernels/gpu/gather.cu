#include "kernels/gpu/gather.h"

#include "kernels/gpu/port.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

constexpr unsigned kGatherThreads = 256;
constexpr unsigned kGroupLanes = 32;
// Loads of a thread that are under way together.
constexpr unsigned kLoads = 4;
constexpr std::uint32_t kPieceBytes = kGatherThreads * kLoads * sizeof(Word4);

// One part of an expert.
struct Part {
  const std::uint8_t* from;
  std::uint8_t* to;
  std::uint64_t bytes;
};

HEARTH_DEVICE std::uint32_t pieces_of(std::uint64_t bytes) {
  return static_cast<std::uint32_t>((bytes + kPieceBytes - 1) / kPieceBytes);
}

// A word that begins at byte `at` of `bytes`, with zeros past their end.
HEARTH_DEVICE std::uint32_t keep(std::uint32_t word, std::uint64_t at, std::uint64_t bytes) {
  if (at + sizeof(word) <= bytes) return word;
  return at >= bytes ? 0 : word & ((1u << 8 * (bytes - at)) - 1);
}

HEARTH_DEVICE void copy_aligned(const Part& part, std::uint64_t first) {
  Word4 words[kLoads];
  for (unsigned i = 0; i < kLoads; ++i) {
    const std::uint64_t at = first + (i * kGatherThreads + thread_index()) * sizeof(Word4);
    if (at < part.bytes) words[i] = load_16<Word4>(part.from + at);
  }
  for (unsigned i = 0; i < kLoads; ++i) {
    const std::uint64_t at = first + (i * kGatherThreads + thread_index()) * sizeof(Word4);
    if (at >= part.bytes) continue;
    for (unsigned k = 0; k < 4; ++k)
      words[i].word[k] = keep(words[i].word[k], at + 4 * k, part.bytes);
    *aligned<Word4>(part.to + at) = words[i];
  }
}

// From anywhere: each word is put together from the two aligned ones it lies in, of which a lane
// loads one and has the other from its neighbour, so that nothing crosses the link twice but for
// the last of a group.
HEARTH_DEVICE void copy_shifted(const Part& part, std::uint64_t first) {
  const auto skipped = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(part.from) % 4);
  const std::uint8_t* aligned = part.from - skipped;
  const std::uint8_t* end = part.from + part.bytes;
  const std::uint64_t padded = (part.bytes + sizeof(Word4) - 1) / sizeof(Word4) * sizeof(Word4);
  const auto load = [&](const std::uint8_t* at) { return at < end ? load_word(at) : 0u; };
  const unsigned lane = thread_index() % kGroupLanes;
  for (std::uint32_t piece = 0; piece < kPieceBytes; piece += kGatherThreads * 4) {
    const std::uint64_t at = first + piece + thread_index() * 4;
    const std::uint32_t low = load(aligned + at);
    const std::uint32_t of_neighbour = shuffle(low, (lane + 1) % kGroupLanes, kGroupLanes);
    const std::uint32_t high = lane + 1 < kGroupLanes ? of_neighbour : load(aligned + at + 4);
    if (at < padded)
      *reinterpret_cast<std::uint32_t*>(part.to + at) =
          keep(shift_right(low, high, skipped * 8), at, part.bytes);
  }
}

// The part that a piece of an expert lies in; `piece` counts in the part then.
HEARTH_DEVICE Part find_part(const SlotLayout& layout, const ExpertFetch& fetch,
                             std::uint32_t& piece) {
  std::uint32_t index = 0;
  std::uint64_t bytes = layout.bytes[0], offset = 0;
  for (std::uint32_t next = 1; next < kExpertParts; ++next) {
    if (piece < pieces_of(bytes)) break;
    piece -= pieces_of(bytes);
    index = next;
    bytes = layout.bytes[next];
    offset = layout.offsets[next];
  }
  return {reinterpret_cast<const std::uint8_t*>(fetch.from.parts[index]),
          reinterpret_cast<std::uint8_t*>(fetch.to) + offset, bytes};
}

HEARTH_DEVICE void copy_piece(const SlotLayout& layout, const ExpertFetch& fetch,
                              std::uint32_t piece) {
  const Part part = find_part(layout, fetch, piece);
  const std::uint64_t first = std::uint64_t{piece} * kPieceBytes;
  if (reinterpret_cast<std::uintptr_t>(part.from) % sizeof(Word4) == 0)
    copy_aligned(part, first);
  else
    copy_shifted(part, first);
}

HEARTH_DEVICE std::uint32_t pieces_of_expert(const SlotLayout& layout) {
  std::uint32_t pieces = 0;
  for (const std::uint64_t bytes : layout.bytes) pieces += pieces_of(bytes);
  return pieces;
}

// Blocks take pieces in turn, expert after expert, so that the first is there first.
HEARTH_KERNEL(kGatherThreads) gather_experts(GatherTask task) {
  wait_for_previous();
  const std::uint32_t each = pieces_of_expert(task.layout);
  const std::uint32_t count = *task.count;
  HEARTH_ASSERT(count <= task.most);
  for (std::uint32_t piece = block_x(); piece < count * each; piece += grid_x())
    copy_piece(task.layout, task.fetches[piece / each], piece % each);
}

void launch_gather(const GatherTask& task, NativeStream stream) {
  if (task.most == 0 || task.layout.size == 0) return;
  launch(gather_experts, {.blocks_x = task.blocks, .threads = kGatherThreads}, stream, task);
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
