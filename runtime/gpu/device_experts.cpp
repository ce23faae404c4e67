#include "runtime/gpu/device_experts.h"

#include <algorithm>
#include <deque>

#include "base/check.h"

namespace hearth::runtime {

using kernels::ExpertCounters;
using kernels::ExpertSlot;
using kernels::ExpertSource;

namespace {

kernels::SlotLayout layout_of(const LayerExperts& layer) {
  return kernels::slot_layout(layer.slabs[0].bytes, layer.slabs[1].bytes, layer.slabs[2].bytes);
}

// Every expert of the catalog, in order, while the next ones are being read.
template <typename Visit>
void read_all(ExpertStore& store, Visit&& visit) {
  constexpr std::size_t kAhead = 16;
  std::deque<ExpertLease> leases;
  const auto finish_first = [&] {
    while (!leases.front().ready()) store.collect(io::AsyncReader::Wait::kOne);
    visit(leases.front().id(), leases.front().weights());
    leases.pop_front();
  };
  const ExpertSpace space = store.catalog().space();
  for (std::uint32_t flat = 0; flat < space.size(); ++flat) {
    const ExpertId id = space.id(flat);
    if (!store.catalog().has(id)) continue;
    if (leases.size() == kAhead) finish_first();
    while (store.state(id) == profiler::ExpertState::kAbsent &&
           store.fetch(id, profiler::FillReason::kDemand) != FetchResult::kStarted) {
      CHECK(!leases.empty() || store.reading());  // else there never is room for it
      if (leases.empty())
        store.collect(io::AsyncReader::Wait::kOne);
      else
        finish_first();
    }
    leases.push_back(store.lease(id));
  }
  while (!leases.empty()) finish_first();
}

template <typename T>
void upload(Uploader& uploader, T* to, std::span<const T> values) {
  uploader.copy(reinterpret_cast<std::byte*>(to), std::as_bytes(values));
}

}  // namespace

DeviceExperts::Places::Places(const Model& model, DeviceArena& arena) {
  const ExpertCatalog& catalog = model.experts;
  for (std::uint32_t l = 0; l < catalog.layers(); ++l) {
    const LayerExperts& layer = catalog.layer(static_cast<LayerIndex>(l));
    const std::uint64_t bytes = layout_of(layer).size;
    auto found = std::ranges::find(classes, bytes, &SlotClass::slot_bytes);
    if (found == classes.end()) found = classes.insert(found, {.slot_bytes = bytes});
    found->slots += layer.count;
    class_of_layer.push_back(static_cast<std::uint32_t>(found - classes.begin()));
  }
  for (SlotClass& one : classes) {
    one.first_slot = static_cast<std::uint32_t>(slots.size());
    for (std::uint32_t slot = 0; slot < one.slots; ++slot)
      slots.push_back(arena.take(Bytes(one.slot_bytes)));
  }
  const std::uint32_t experts = catalog.space().size();
  addresses = arena.take<std::byte*>(slots.size());
  sources = arena.take<ExpertSource>(experts);
  tables = {.slot_of = arena.take<std::uint32_t>(experts),
            .active_in = arena.take<std::uint32_t>(experts),
            .slots = arena.take<ExpertSlot>(slots.size()),
            .addresses = addresses,
            .sources = sources,
            .counters = arena.take<ExpertCounters>(catalog.layers())};
}

Bytes DeviceExperts::bytes_needed(const Model& model) {
  DeviceArena counted;
  const Places places(model, counted);
  return counted.taken();
}

DeviceExperts::DeviceExperts(const Model& model, kernels::Device& device)
    : model_(model), memory_(device, bytes_needed(model), "experts"), at_(model, memory_) {}

void DeviceExperts::fill(ExpertStore& store, Uploader& uploader) const {
  const ExpertSpace space = model_.experts.space();
  std::vector<std::uint32_t> slot_of(space.size(), kernels::kNoSlot);
  std::vector<std::uint32_t> owner_of(at_.slots.size(), kernels::kFreeSlot);
  std::vector<std::uint32_t> next;  // slot of each class
  for (const SlotClass& one : at_.classes) next.push_back(one.first_slot);
  read_all(store, [&](ExpertId id, const ExpertWeights& weights) {
    const std::uint32_t slot = next[at_.class_of_layer[id.layer]]++;
    slot_of[space.flat(id)] = slot;
    owner_of[slot] = space.flat(id);
    const kernels::SlotLayout layout = layout_of(layer(id.layer));
    const kernels::WeightMatrix parts[] = {weights.gate, weights.up, weights.down};
    for (std::size_t part = 0; part < std::size(parts); ++part)
      uploader.copy(at_.slots[slot] + layout.offsets[part],
                    {parts[part].data, parts[part].bytes()});
  });
  fill_tables(slot_of, owner_of, uploader);
}

void DeviceExperts::fill_tables(std::span<const std::uint32_t> slot_of,
                                std::span<const std::uint32_t> owner_of, Uploader& uploader) const {
  const auto fill = [&]<typename T>(T* to, std::size_t count, const T& value) {
    const std::vector<T> values(count, value);
    upload<T>(uploader, to, values);
  };
  std::vector<ExpertSlot> slots;
  for (const std::uint32_t owner : owner_of)
    slots.push_back({.owner = owner, .last_use = kernels::kNever});
  upload<std::uint32_t>(uploader, at_.tables.slot_of, slot_of);
  fill(at_.tables.active_in, slot_of.size(), kernels::kNever);
  upload<ExpertSlot>(uploader, at_.tables.slots, slots);
  upload<std::byte*>(uploader, at_.addresses, at_.slots);
  fill(at_.sources, slot_of.size(), ExpertSource{});
  fill(at_.tables.counters, model_.experts.layers(), ExpertCounters{});
}

kernels::ResolveTask DeviceExperts::task(LayerIndex index) const {
  const SlotClass& of_layer = at_.classes[at_.class_of_layer[index]];
  const ExpertSpace space = model_.experts.space();
  return {.tables = at_.tables,
          .layer = index,
          .first_expert = space.flat({index, 0}),
          .experts = layer(index).count,
          .first_slot = of_layer.first_slot,
          .slots = of_layer.slots,
          .layout = layout_of(layer(index)),
          .all_experts = space.size()};
}

}  // namespace hearth::runtime
