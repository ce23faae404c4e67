#include "runtime/gpu/expert_arena.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "runtime/gpu/mapped.h"

namespace hearth::runtime {

using kernels::ExpertSlot;
using kernels::ExpertSource;
using profiler::Residency;

namespace {

// Drivers give memory in pages of this size. A chunk is a whole number of slots, and nearly one of
// pages.
constexpr std::uint64_t kDevicePage = 2 * kMiB.count;

std::uint32_t slots_per_chunk(std::uint64_t slot_bytes, Bytes most_bytes) {
  const auto waste = [&](std::uint64_t slots) {
    const std::uint64_t bytes = slots * slot_bytes;
    return static_cast<double>(round_up(bytes, kDevicePage) - bytes) / static_cast<double>(bytes);
  };
  const std::uint64_t most = std::max<std::uint64_t>(most_bytes.count / slot_bytes, 1);
  const std::uint64_t least = (most + 1) / 2;
  std::uint64_t best = least;
  for (std::uint64_t slots = least + 1; slots <= most; ++slots)
    if (waste(slots) < waste(best)) best = slots;
  return static_cast<std::uint32_t>(best);
}

std::uint32_t total(std::span<const std::uint32_t> slots_of_class) {
  std::uint32_t slots = 0;
  for (const std::uint32_t one : slots_of_class) slots += one;
  return slots;
}

// The experts of a layer are alike.
kernels::SlotLayout layout_of(const LayerExperts& layer) {
  if (layer.count == 0) return {};
  std::array<std::uint64_t, kernels::kExpertParts> bytes{};
  for (std::uint16_t expert = 0; expert < layer.count; ++expert) {
    CHECK_EQ(layer.parts(expert), kernels::kExpertParts);
    for (std::uint32_t part = 0; part < kernels::kExpertParts; ++part) {
      CHECK(expert == 0 || bytes[part] == layer.part(expert, part).bytes);
      bytes[part] = layer.part(expert, part).bytes;
    }
  }
  return kernels::slot_layout(bytes[0], bytes[1], bytes[2]);
}

// Nothing where both are one.
template <typename T>
void copy(kernels::Stream& stream, std::span<T> to, std::span<T> from) {
  if (!to.empty() && to.data() != from.data())
    stream.copy(to.data(), from.data(), Bytes(to.size_bytes()));
}

}  // namespace

ExpertSlots expert_slots(const ExpertCatalog& catalog, const SizeClasses& classes) {
  ExpertSlots slots{.space = catalog.space(),
                    .class_of_layer = classes.class_of_layer,
                    .slot_bytes = std::vector<std::uint64_t>(classes.slot_bytes.size())};
  for (std::uint32_t l = 0; l < catalog.layers(); ++l) {
    const LayerExperts& layer = catalog.layer(static_cast<LayerIndex>(l));
    slots.experts_of_layer.push_back(layer.count);
    slots.layout_of_layer.push_back(layout_of(layer));
    if (layer.count == 0) continue;
    std::uint64_t& bytes = slots.slot_bytes[classes.class_of_layer[l]];
    bytes = std::max(bytes, slots.layout_of_layer.back().size);
  }
  return slots;
}

// One list of tables for the device, the host, and the count of their bytes.
template <typename Take>
void ExpertArena::Tables::take_all(const ExpertSlots& experts, std::uint32_t slot_count,
                                   Take&& take) {
  take(slot_of, experts.space.size());
  take(active_in, experts.space.size());
  take(guessed, experts.space.size());
  take(slots, slot_count);
  take(addresses, slot_count);
  take(sources, experts.space.size());
  take(counters, experts.space.layers);
}

ExpertArena::Tables::Tables(const ExpertSlots& experts, std::uint32_t slot_count,
                            DeviceArena& arena) {
  take_all(experts, slot_count, [&]<typename T>(std::span<T>& table, std::uint32_t count) {
    table = {arena.take<T>(count), count};
  });
}

ExpertArena::Tables::Tables(const ExpertSlots& experts, std::uint32_t slot_count,
                            const kernels::MappedMemory& memory) {
  std::byte* next = memory.data();
  take_all(experts, slot_count, [&]<typename T>(std::span<T>& table, std::uint32_t count) {
    table = {reinterpret_cast<T*>(next), count};
    next += round_up(table.size_bytes(), DeviceArena::kAlignment);
  });
}

Bytes ExpertArena::table_bytes(const ExpertSlots& experts, std::uint32_t slots) {
  DeviceArena counted;
  const Tables tables(experts, slots, counted);
  return counted.taken();
}

Bytes ExpertArena::bytes_needed(const ExpertSlots& experts,
                                std::span<const std::uint32_t> slots_of_class) {
  Bytes bytes = table_bytes(experts, total(slots_of_class));
  for (std::size_t c = 0; c < slots_of_class.size(); ++c)
    bytes += Bytes(experts.slot_bytes[c]) * slots_of_class[c];
  return bytes;
}

ExpertArena::ExpertArena(ExpertSlots experts, std::span<const std::uint32_t> slots_of_class,
                         kernels::Device& device, kernels::Stream& stream, Bytes most_chunk)
    : experts_(std::move(experts)),
      device_(device),
      stream_(stream),
      table_memory_(device, table_bytes(experts_, total(slots_of_class)), "tables of experts"),
      of_steps_(experts_, total(slots_of_class), table_memory_),
      host_memory_(mapped_memory(device, table_memory_.size(), "tables of experts")),
      host_(experts_, total(slots_of_class), host_memory_) {
  CHECK_EQ(slots_of_class.size(), experts_.slot_bytes.size());
  std::ranges::fill(host_.slot_of, kernels::kNoSlot);
  std::ranges::fill(host_.active_in, kernels::kNever);
  std::ranges::fill(host_.guessed, 0u);
  std::ranges::fill(host_.slots, ExpertSlot{.owner = kernels::kRetiredSlot});
  std::ranges::fill(host_.sources, ExpertSource{});
  std::ranges::fill(host_.counters, kernels::ExpertCounters{});
  std::uint32_t first = 0;
  for (std::uint8_t c = 0; c < slots_of_class.size(); ++c) {
    classes_.push_back({.first = first, .most = slots_of_class[c]});
    first += slots_of_class[c];
    divide_into_chunks(c, most_chunk);
    set_slots(c, slots_of_class[c], 0);
  }
  copy(stream_, of_steps_.active_in, host_.active_in);
  copy(stream_, of_steps_.counters, host_.counters);
  sources_end_ = experts_.space.size();
  send_sources();
}

void ExpertArena::hold(std::span<const std::uint32_t> slots_of_class) {
  CHECK_EQ(slots_of_class.size(), classes_.size());
  for (std::size_t c = 0; c < classes_.size(); ++c) {
    CHECK_LE(slots_of_class[c], classes_[c].most);
    classes_[c].held = slots_of_class[c];
  }
}

void ExpertArena::keep_tables_on_host() {
  CHECK(changing_);
  of_steps_ = host_;
}

std::uint32_t ExpertArena::following(std::uint8_t size_class) const {
  const SizeClass& of = classes_[size_class];
  return of.slots - std::min(of.slots, of.held);
}

// Of the slots that are held the tables of the host are right at any time.
bool ExpertArena::holds(ExpertId id) const {
  const std::uint32_t slot = host_.slot_of[experts_.space.flat(id)];
  if (slot == kernels::kNoSlot) return false;
  const SizeClass& of = classes_[experts_.class_of_layer[id.layer]];
  return slot - of.first < of.held;
}

kernels::ResolveTask ExpertArena::task(LayerIndex layer) const {
  CHECK_NE(experts_.class_of_layer[layer], Residency::kNoClass);
  const SizeClass& of = classes_[experts_.class_of_layer[layer]];
  const std::uint32_t first_expert = experts_.space.flat({layer, 0}), all = experts_.space.size();
  const std::uint32_t of_a_layer = experts_.space.experts_per_layer;
  return {.tables = {.slot_of = of_steps_.slot_of.data(),
                     .active_in = of_steps_.active_in.data(),
                     .guessed = of_steps_.guessed.data(),
                     .slots = of_steps_.slots.data(),
                     .addresses = of_steps_.addresses.data(),
                     .sources = of_steps_.sources.data(),
                     .counters = of_steps_.counters.data()},
          .layer = layer,
          .first_expert = first_expert,
          .experts = experts_.experts_of_layer[layer],
          .first_slot = of.first + of.held,
          .slots = of.most - of.held,
          .layout = experts_.layout_of_layer[layer],
          .protected_first = (first_expert + of_a_layer) % all,
          .protected_count = of_a_layer,
          .all_experts = all};
}

kernels::PrefetchTask ExpertArena::prefetch_task(LayerIndex layer) const {
  const kernels::ResolveTask of = task(layer);
  return {.tables = of.tables,
          .layer = of.layer,
          .first_expert = of.first_expert,
          .experts = of.experts,
          .first_slot = of.first_slot,
          .slots = of.slots};
}

void ExpertArena::set_source(ExpertId id, const ExpertSource& source) {
  const std::uint32_t expert = experts_.space.flat(id);
  if (sources_begin_ == sources_end_) {
    sources_begin_ = expert;
    sources_end_ = expert + 1;
  }
  sources_begin_ = std::min(sources_begin_, expert);
  sources_end_ = std::max(sources_end_, expert + 1);
  host_.sources[expert] = source;
}

void ExpertArena::send_sources() {
  const std::uint32_t count = sources_end_ - sources_begin_;
  copy(stream_, of_steps_.sources.subspan(sources_begin_, count),
       host_.sources.subspan(sources_begin_, count));
  sources_begin_ = sources_end_ = 0;
}

void ExpertArena::begin_changes() {
  CHECK(!changing_);
  copy(stream_, host_.slots, of_steps_.slots);
  copy(stream_, host_.slot_of, of_steps_.slot_of);
  copy(stream_, host_.guessed, of_steps_.guessed);
  stream_.synchronize();
  changing_ = true;
  for (SizeClass& of : classes_) of.next_free = 0;
}

void ExpertArena::end_changes() {
  CHECK(std::exchange(changing_, false));
  for (std::size_t expert = 0; expert < host_.slot_of.size(); ++expert)
    if (host_.slot_of[expert] == kernels::kNoSlot) host_.guessed[expert] = 0;
  copy(stream_, of_steps_.slots, host_.slots);
  copy(stream_, of_steps_.slot_of, host_.slot_of);
  copy(stream_, of_steps_.guessed, host_.guessed);
  copy(stream_, of_steps_.addresses, host_.addresses);
  stream_.synchronize();
}

std::byte* ExpertArena::give_slot(ExpertId id) {
  CHECK(changing_);
  const std::uint32_t expert = experts_.space.flat(id);
  CHECK_EQ(host_.slot_of[expert], kernels::kNoSlot);
  SizeClass& of = class_of(id);
  const std::span<ExpertSlot> slots = slots_of(of);
  while (of.next_free < of.slots && slots[of.next_free].owner != kernels::kFreeSlot) ++of.next_free;
  if (of.next_free == of.slots) return nullptr;
  const std::uint32_t slot = of.first + of.next_free;
  host_.slots[slot] = {.owner = expert, .last_use = 0 - ++put_age_};
  host_.slot_of[expert] = slot;
  return host_.addresses[slot];
}

void ExpertArena::take_slot(ExpertId id) {
  CHECK(changing_);
  SizeClass& of = class_of(id);
  const std::uint32_t slot =
      std::exchange(host_.slot_of[experts_.space.flat(id)], kernels::kNoSlot);
  CHECK_NE(slot, kernels::kNoSlot);
  host_.slots[slot] = {};
  of.next_free = std::min(of.next_free, slot - of.first);
}

bool ExpertArena::put(ExpertId id, const ExpertSource& parts, Uploader& uploader) {
  std::byte* const slot = give_slot(id);
  if (slot == nullptr) return false;
  const kernels::SlotLayout& layout = experts_.layout_of_layer[id.layer];
  for (std::uint32_t part = 0; part < kernels::kExpertParts; ++part)
    uploader.copy(slot + layout.offsets[part], {parts.parts[part], layout.bytes[part]});
  return true;
}

void ExpertArena::set_slots(std::uint8_t size_class, std::uint32_t slots, std::uint32_t step) {
  CHECK(changing_);
  SizeClass& of = classes_[size_class];
  CHECK_LE(slots, of.most);
  const std::uint64_t bytes = experts_.slot_bytes[size_class];
  take_chunks(of, slots, bytes);
  evict(of, slots, step);
  move_together(of, slots, bytes);
  for (std::uint32_t slot = 0; slot < of.most; ++slot) {
    std::uint32_t& owner = slots_of(of)[slot].owner;
    if (slot >= slots) owner = kernels::kRetiredSlot;
    if (slot < slots && owner == kernels::kRetiredSlot) owner = kernels::kFreeSlot;
  }
  of.slots = slots;
  of.next_free = 0;
  give_chunks_back(of);
  write_addresses(of, bytes);
}

std::vector<ExpertId> ExpertArena::resident() const {
  CHECK(changing_);
  std::vector<ExpertId> experts;
  for (std::uint32_t expert = 0; expert < host_.slot_of.size(); ++expert)
    if (host_.slot_of[expert] != kernels::kNoSlot) experts.push_back(experts_.space.id(expert));
  return experts;
}

const std::byte* ExpertArena::address(ExpertId id) const {
  CHECK(changing_);
  const std::uint32_t slot = host_.slot_of[experts_.space.flat(id)];
  return slot == kernels::kNoSlot ? nullptr : host_.addresses[slot];
}

Bytes ExpertArena::memory() const {
  Bytes bytes = table_memory_.size();
  for (const SizeClass& of : classes_)
    for (const Chunk& chunk : of.chunks) bytes += chunk.memory.size();
  return bytes;
}

Bytes ExpertArena::memory_with(std::span<const std::uint32_t> slots_of_class) const {
  Bytes bytes = table_memory_.size();
  for (std::size_t c = 0; c < classes_.size(); ++c)
    for (const Chunk& chunk : classes_[c].chunks)
      if (chunk.first < slots_of_class[c]) bytes += Bytes(experts_.slot_bytes[c]) * chunk.slots;
  return bytes;
}

void ExpertArena::send_counters() { copy(stream_, host_.counters, of_steps_.counters); }

std::vector<kernels::ExpertCounters> ExpertArena::counters() {
  send_counters();
  stream_.synchronize();
  return {host_.counters.begin(), host_.counters.end()};
}

std::span<ExpertSlot> ExpertArena::slots_of(const SizeClass& of) const {
  return host_.slots.subspan(of.first, of.most);
}

void ExpertArena::divide_into_chunks(std::uint8_t size_class, Bytes most_chunk) {
  SizeClass& of = classes_[size_class];
  const std::uint32_t each = slots_per_chunk(experts_.slot_bytes[size_class], most_chunk);
  for (std::uint32_t first = 0; first < of.most; first += each)
    of.chunks.push_back({.first = first, .slots = std::min(each, of.most - first)});
}

void ExpertArena::take_chunks(SizeClass& of, std::uint32_t slots, std::uint64_t slot_bytes) {
  for (Chunk& chunk : of.chunks) {
    if (chunk.first >= slots || chunk.memory.data() != nullptr) continue;
    auto memory = kernels::DeviceBuffer::try_allocate(device_, Bytes(slot_bytes) * chunk.slots);
    if (!memory) {
      give_chunks_back(of);
      throw_error(
          ErrorCode::kBudget,
          "{}: {} MiB for {} experts are not to be had, {} MiB are free; end other programs "
          "that use it, or give a smaller --vram",
          device_.properties().name, (slot_bytes * chunk.slots >> 20) + 1, chunk.slots,
          device_.memory().free.count >> 20);
    }
    chunk.memory = std::move(*memory);
  }
}

// Those of which no slot is left.
void ExpertArena::give_chunks_back(SizeClass& of) {
  for (Chunk& chunk : of.chunks)
    if (chunk.first >= of.slots) chunk.memory = {};
}

void ExpertArena::write_addresses(const SizeClass& of, std::uint64_t slot_bytes) {
  for (const Chunk& chunk : of.chunks)
    for (std::uint32_t slot = 0; slot < chunk.slots; ++slot)
      host_.addresses[of.first + chunk.first + slot] =
          chunk.memory.data() == nullptr ? nullptr : chunk.memory.data() + slot * slot_bytes;
}

bool ExpertArena::has_expert(const ExpertSlot& slot) const {
  return slot.owner < experts_.space.size();
}

// Those that are held last, and of equals the oldest first.
void ExpertArena::evict(const SizeClass& of, std::uint32_t keep, std::uint32_t step) {
  std::vector<std::uint32_t> taken;
  for (std::uint32_t slot = 0; slot < of.most; ++slot)
    if (has_expert(slots_of(of)[slot])) taken.push_back(slot);
  if (taken.size() <= keep) return;
  std::ranges::stable_sort(taken, std::greater(), [&](std::uint32_t slot) {
    return std::pair(slot >= of.held, step - slots_of(of)[slot].last_use);
  });
  for (const std::uint32_t slot : std::span(taken).first(taken.size() - keep)) {
    ExpertSlot& left = slots_of(of)[slot];
    host_.slot_of[left.owner] = kernels::kNoSlot;
    left = {};
  }
}

// Experts beyond `slots` go to free ones below.
void ExpertArena::move_together(const SizeClass& of, std::uint32_t slots,
                                std::uint64_t slot_bytes) {
  std::uint32_t to = 0;
  for (std::uint32_t from = slots; from < of.slots; ++from) {
    ExpertSlot& moved = slots_of(of)[from];
    if (!has_expert(moved)) continue;
    while (slots_of(of)[to].owner != kernels::kFreeSlot) ++to;
    stream_.copy(host_.addresses[of.first + to], host_.addresses[of.first + from],
                 Bytes(slot_bytes));
    host_.slot_of[moved.owner] = of.first + to;
    slots_of(of)[to] = std::exchange(moved, {});
  }
  stream_.synchronize();  // before memory is given back
}

}  // namespace hearth::runtime
