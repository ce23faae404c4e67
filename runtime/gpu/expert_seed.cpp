#include "runtime/gpu/expert_seed.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace hearth::runtime {
namespace {

bool put_from_ram(ExpertArena& arena, const ExpertLease& lease, Uploader& uploader) {
  return arena.put(lease.id(), {{lease.part(0), lease.part(1), lease.part(2)}}, uploader);
}

bool put_from_disk(ExpertArena& arena, const ExpertStore& store, ExpertId id, Uploader& uploader) {
  std::byte* const slot = arena.give_slot(id);
  if (slot == nullptr) return false;
  const LayerExperts& layer = store.catalog().layer(id.layer);
  const kernels::SlotLayout& layout = arena.experts().layout_of_layer[id.layer];
  for (std::uint32_t index = 0; index < kernels::kExpertParts; ++index) {
    const ExpertPart part = layer.part(id.index, index);
    uploader.read(slot + layout.offsets[index],
                  {.file = part.file,
                   .offset = part.offset,
                   .bytes = part.bytes,
                   .path = store.path(part.file),
                   .what = fmt::format("expert {} of layer {}", id.index, id.layer)});
  }
  return true;
}

}  // namespace

std::vector<ExpertId> most_wanted_first(const ExpertCatalog& catalog,
                                        std::span<const ExpertId> seed) {
  std::vector<bool> listed(catalog.space().size());
  std::vector<ExpertId> wanted;
  const auto add = [&](ExpertId id) {
    const std::uint32_t flat = catalog.space().flat(id);
    if (!listed[flat] && catalog.has(id)) wanted.push_back(id);
    listed[flat] = true;
  };
  std::ranges::for_each(seed, add);
  for (std::uint32_t flat = 0; flat < catalog.space().size(); ++flat) add(catalog.space().id(flat));
  return wanted;
}

std::uint32_t seed(ExpertArena& arena, ExpertStore& store,
                   std::span<const ExpertId> most_wanted_first, Uploader& uploader) {
  CHECK(!store.reading());
  std::uint32_t put = 0;
  try {
    for (const ExpertId id : most_wanted_first) {
      const bool in_ram = store.state(id) == profiler::ExpertState::kReady;
      const bool has_room = in_ram ? put_from_ram(arena, store.lease(id), uploader)
                                   : put_from_disk(arena, store, id, uploader);
      if (has_room) ++put;
    }
    uploader.finish();
  } catch (...) {
    for (const ExpertId id : most_wanted_first)
      if (arena.address(id) != nullptr) arena.take_slot(id);
    throw;
  }
  return put;
}

}  // namespace hearth::runtime
